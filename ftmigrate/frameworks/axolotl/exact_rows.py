"""The key `exact_rows`: what a row becomes, as the dataset type of the companion module reads it (pieces/rows.py).

A form is either messages in turns or one text. `form` writes it for a rendering, `rendering` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftmigrate.document.model import Value
from ftmigrate.frameworks.axolotl.strategies import Undecodable
from ftmigrate.run.rendering import (
    ChatFormat,
    Column,
    Conversation,
    Loss,
    Rendering,
    Segment,
    Text,
    Turn,
    TurnFormat,
    When,
)

_AS_TURN = "as the turn before it"
_NOTE = "rows as exact_rows says"
Form = dict[str, Value]


class _NotSaid(Exception):
    """The rendering has something that a form cannot say."""


def form(wanted: Rendering, tokens: Mapping[str, str]) -> Form | None:
    """The form that renders as wanted; None where there is none."""
    try:
        match wanted.segments:
            case (Conversation() as talk,):
                found = _turns(talk)
            case segments:
                found = _text(segments)
    except _NotSaid:
        return None
    whole = _filled(found, tokens)
    return None if "{bos}" in repr(whole) or "{eos}" in repr(whole) else whole  # type: ignore[return-value]


def _filled(value: Value, tokens: Mapping[str, str]) -> Value:
    """`{bos}` and `{eos}` as the tokenizer's own text."""
    if isinstance(value, str):
        for name, token in tokens.items():
            value = value.replace("{" + name + "}", token)
        return value
    if isinstance(value, list):
        return [_filled(item, tokens) for item in value]
    return {key: _filled(item, tokens) for key, item in value.items()} if isinstance(value, dict) else value


def _turns(talk: Conversation) -> Form:
    shape, loss = talk.format, talk.loss
    plain = ChatFormat(shape.roles, shape.prefix, shape.suffix, last=shape.last)
    usual = Conversation(
        shape, loss, talk.turns, talk.column, talk.role_key, talk.content_key, talk.roles, talk.system,
        talk.replace_system, talk.skip_system, ordered=talk.ordered,
    )  # fmt: skip
    if shape != plain or talk != usual or loss.contents or loss.ends or loss.last_only or loss.lead:
        raise _NotSaid
    if not (loss.header and loss.footer) or loss.prefix:
        raise _NotSaid
    turns: Form = {role: _turn(turn) for role, turn in shape.roles.items()}
    last: Form = {role: _turn(turn) for role, turn in shape.last.items()}
    found: Form = {"start": shape.prefix, "turns": turns, **({"last": last} if last else {}), "end": shape.suffix}
    found["train"] = [role for role in shape.roles if role in loss.roles]
    if loss.edges_as_turn or loss.suffix:
        found["train_end"] = _AS_TURN if loss.edges_as_turn else True
    if talk.system is not None:
        found["system"] = talk.system
    if talk.skip_system or (talk.replace_system and talk.system is not None):
        found["drop_system"] = True
    if talk.turns:
        found["messages"] = [{turn.role: _parts(turn.content)} for turn in talk.turns]
    else:
        names: Form = {name: role for name, role in talk.roles.items() if name != role}
        found["messages"] = {
            "column": talk.column, "role": talk.role_key, "content": talk.content_key, **({"names": names} if names else {})
        }  # fmt: skip
    return {key: value for key, value in found.items() if value != ""}


def _turn(turn: TurnFormat) -> Form:
    """What stands around a content; `strip`: true for both its ends, a text for these characters at its end."""
    if turn.empty_footer is not None or turn.thinking:
        raise _NotSaid
    return {"before": turn.header, "after": turn.footer, **({"strip": turn.strip} if turn.strip else {})}


def _text(segments: Sequence[Segment]) -> Form:
    """One text between a beginning and an end, all of it trained."""
    match segments:
        case (When(_, (Text(start, _), *content, Text(end, True))),):
            pass
        case (Text(start, _), *content, Text(end, True)):
            pass
        case _:
            raise _NotSaid
    if any(getattr(part, "trained", True) is False for part in content):
        raise _NotSaid
    found: Form = {"start": start, "text": _parts(content), "end": end}
    return {key: value for key, value in found.items() if value != ""}


def _parts(segments: Sequence[Segment]) -> list[Value]:
    out: list[Value] = []
    for segment in segments:
        match segment:
            case Text(text):
                out.append(text)
            case Column(name, strip=strip, optional=False):
                out.append({"column": name, **({"strip": True} if strip else {})})
            case When(column, then, otherwise, None):
                out.append({"when": column, "then": _parts(then), "else": _parts(otherwise)})
            case _:
                raise _NotSaid
    return out


# --- reading ----------------------------------------------------------------------------------------------------


def rendering(given: object, packed: bool = False) -> Rendering:
    """What a form renders; packed: where rows share a sequence. Raises Undecodable."""
    if not isinstance(given, Mapping):
        raise Undecodable("a dataset type that takes its form from exact_rows, where there is none for it")
    try:
        return _read(given, packed)
    except (KeyError, TypeError, AttributeError):
        raise Undecodable("a form under exact_rows that is not one of ours") from None


def _read(given: Mapping[str, Any], packed: bool) -> Rendering:
    start, end = given.get("start") or "", given.get("end") or ""
    if given.get("text"):
        parts = _segments(given["text"], True)
        whole = (Text(start, True), *parts, Text(end, True))
        columns = [part.name for part in parts if isinstance(part, Column)]
        if len(parts) == len(columns) == 1:
            nothing = (Column(columns[0]),)
            whole = (When(columns[0], whole, nothing if packed else (Text(start), *nothing, Text(end))),)
        return Rendering(whole, _NOTE)
    roles, last = (
        {
            role: TurnFormat(turn.get("before") or "", turn.get("after") or "", turn.get("strip") or False)
            for role, turn in (given.get(key) or {}).items()
        }
        for key in ("turns", "last")
    )
    trained = given.get("train_end")
    loss = Loss(frozenset(given["train"]), suffix=trained is True, edges_as_turn=trained == _AS_TURN)
    listed = given["messages"]
    about: dict[str, Any] = {"system": given.get("system"), "skip_system": bool(given.get("drop_system"))}
    if isinstance(listed, list):
        about["turns"] = tuple(Turn(role, _segments(parts)) for one in listed for role, parts in one.items())
    else:
        names = listed.get("names") or {}
        about |= {"column": listed["column"], "role_key": listed["role"], "content_key": listed["content"]}
        about["roles"] = {**{role: role for role in roles if role not in names}, **names}
    return Rendering((Conversation(ChatFormat(roles, start, end, last=last), loss, **about),), _NOTE)


def _segments(parts: Sequence[Any], trained: bool = False) -> tuple[Segment, ...]:
    out: list[Segment] = []
    for part in parts:
        if isinstance(part, str):
            out.append(Text(part, trained))
        elif "column" in part:
            out.append(Column(part["column"], trained, bool(part.get("strip"))))
        else:
            both = (_segments(part.get(key) or (), trained) for key in ("then", "else"))
            out.append(When(part["when"], *both))
    return tuple(out)
