"""Dataset entries that may say a wanted rendering, from the rendering's structure alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from ftmigrate.document.model import Value
from ftmigrate.frameworks.axolotl import jinja
from ftmigrate.frameworks.axolotl.entries import ROLE_NAMES, decode
from ftmigrate.frameworks.axolotl.formats import formats
from ftmigrate.frameworks.axolotl.prompts import TYPES
from ftmigrate.frameworks.axolotl.strategies import SPECIAL
from ftmigrate.run.closeness import weight
from ftmigrate.run.columns import columns
from ftmigrate.run.likeness import compare, outcomes
from ftmigrate.run.rendering import (
    ChatFormat,
    Column,
    Conversation,
    Rendering,
    Segment,
    Stripped,
    Text,
    TurnFormat,
    When,
)
from ftmigrate.run.sample_rows import samples

Tokens = Mapping[str, str]
Entry = dict[str, Value]


class Proposal(NamedTuple):
    """An entry (without its place) with the global keys that it needs. odd: nothing to write unasked."""

    entry: Entry
    config: Entry
    odd: bool = False


def propose(wanted: Rendering, tokens: Tokens) -> Iterator[Proposal]:
    """Candidate entries, the most natural first."""
    match wanted.segments:
        case (Conversation(column=column) as talk,) if column:
            yield from _chats(talk, wanted, tokens)
        case (Conversation() as talk,):
            yield from _prompts(wanted, _flat(talk), tokens)
        case segments:
            yield from _texts(segments, tokens)
            yield from _prompts(wanted, _plain(segments), tokens)


# --- conversations in a list column -----------------------------------------------------------------------------


def _chats(talk: Conversation, wanted: Rendering, tokens: Tokens) -> Iterator[Proposal]:
    entry = _chat_entry(talk)
    end = _end_token(_closing(talk))
    config: Entry = {"train_on_inputs": False}
    if end and end not in ("{eos}", tokens.get("eos")):
        config["eot_tokens"] = [end]
    if not talk.loss.footer:
        entry["train_on_eos"] = "none"
    named = [Proposal({**entry, "chat_template": name}, config) for name in formats()]
    shape = _joined(talk.format)
    if talk.system is not None and (talk.replace_system or shape.default_system is None):
        shape = replace(shape, default_system=talk.system)
    shape = _with_names(shape, tokens)
    untrained = not (talk.loss.suffix or talk.loss.edges_as_turn)  # an EOS behind all would be trained if written
    template = jinja.write(replace(shape, suffix="") if untrained else shape)
    fitting = [proposal for proposal in named if _fits(wanted, proposal, tokens)]
    yield from fitting if fitting or template is not None else named
    if template is None:
        return
    entry = {**entry, "chat_template": "jinja"}
    yield Proposal({**entry, "chat_template_jinja": template}, config)
    marked = jinja.write(shape, marked=True)
    if talk.loss.header and marked is not None:
        more: Entry = {} if talk.loss.edges_as_turn and shape.suffix else {"train_on_eos": "none"}
        yield Proposal({**entry, **more, "chat_template_jinja": marked}, config, odd=True)


def _fits(wanted: Rendering, proposal: Proposal, tokens: Tokens) -> bool:
    """Whether ordinary rows have the same text."""
    got = decode(proposal.entry, proposal.config, tokens=tokens)["text"].value
    return isinstance(got, Rendering) and not weight(compare(wanted, got, tokens))[0]


def _chat_entry(talk: Conversation) -> Entry:
    entry: Entry = {
        "type": "chat_template",
        "field_messages": talk.column,
        "message_property_mappings": {"role": talk.role_key, "content": talk.content_key},
    }
    names: dict[str, Value] = {}
    if any(ROLE_NAMES.get(name, name) != role for name, role in talk.roles.items()):
        for role in dict.fromkeys(talk.roles.values()):
            names[role] = [name for name, known in talk.roles.items() if known == role]
        entry["roles"] = names
    if talk.loss.roles != frozenset({"assistant"}):
        roles = talk.loss.roles - ({"system"} if talk.format.system_in_every_user else set())
        entry["roles_to_train"] = [role for role in ("system", "user", "assistant", "tool") if role in roles]
    if talk.skip_system or (talk.replace_system and talk.system is not None):
        entry["drop_system_message"] = True
    return entry


def _joined(shape: ChatFormat) -> ChatFormat:
    """The format without `separate`: each part with the space that it is led by.

    Not the same for empty messages, nor for a user turn that follows a system turn.
    """
    if shape.separate is None:
        return shape
    user = shape.roles.get("user", TurnFormat("", ""))

    def turn(role: str, found: TurnFormat) -> TurnFormat:
        opens = role != "assistant"
        lead = shape.separate if opens or user.footer.endswith(" ") else ""
        header = found.header.rstrip(" ")
        parts = [f"{lead}{header}{lead}" if header else f"{lead}", f"{lead}{found.footer.rstrip(' ')}"]
        return TurnFormat(
            parts[0].removeprefix(lead or "") if opens else parts[0], parts[1] if found.footer.strip(" ") else "", " "
        )

    around = None
    if shape.system_in_user is not None:
        before, after = (text.rstrip(" ") for text in shape.system_in_user)
        around = (f"{before}{shape.separate}", f"{shape.separate}{after}{shape.separate}")
    roles = {role: turn(role, found) for role, found in shape.roles.items()}
    return replace(shape, roles=roles, separate=None, system_in_user=around, system_strip=" ")


def _closing(talk: Conversation) -> str:
    """What stands behind a reply, as far as it may be trained."""
    turn = talk.format.roles.get("assistant", TurnFormat("", ""))
    return turn.footer + (talk.format.suffix if not turn.footer else "")


def _end_token(text: str) -> str:
    found = SPECIAL.search(text)
    return found.group() if found else ""


def _with_names(shape: ChatFormat, tokens: Tokens) -> ChatFormat:
    """The format with BOS at its start written as the tokenizer's own, where that is known to be the same."""
    bos = tokens.get("bos")
    return replace(shape, prefix="{bos}") if bos and shape.prefix == bos else shape


# --- turns built from columns -----------------------------------------------------------------------------------


def _flat(talk: Conversation) -> tuple[Segment, ...] | None:
    """The turns written out as text and columns; masks are left out, and stripping where only the rows can tell."""
    shape = _joined(talk.format)
    turns = [(turn.role, turn.content) for turn in talk.turns]
    system = talk.system if talk.system is not None else shape.default_system
    if system is not None and (not turns or turns[0][0] != "system"):
        turns.insert(0, ("system", (Text(system),)))
    folded: tuple[Segment, ...] = ()
    if shape.system_in_user is not None and turns and turns[0][0] == "system":
        before, after = shape.system_in_user
        folded = (Text(before), *turns.pop(0)[1], Text(after))
    out: list[Segment] = [Text(shape.prefix)]
    seen: set[str] = set()
    for index, (role, content) in enumerate(turns):
        last = index == len(turns) - 1
        turn = (shape.last.get(role) if last else None) or (shape.first.get(role) if role not in seen else None)
        turn = turn or shape.roles.get(role)
        if turn is None:
            return None
        inside = folded if role == "user" and (shape.system_in_every_user or role not in seen) else ()
        out += [Text(turn.header), *inside, *_trimmed(content, turn.strip), Text(turn.footer)]
        if role == "assistant" if shape.keep_prefix_per_exchange else last:
            out.append(Text(shape.suffix))
        seen.add(role)
    return _plain(tuple(out))


def _plain(segments: Sequence[Segment]) -> tuple[Segment, ...] | None:
    """Text, columns and alternatives only, adjacent text joined; None where there is more."""
    out: list[Segment] = []
    for segment in segments:
        match segment:
            case Text(text):
                if out and isinstance(out[-1], Text):
                    text = out.pop().text + text  # type: ignore[union-attr]
                if text:
                    out.append(Text(text))
            case Column(name):
                out.append(Column(name))
            case When(column, then, otherwise, None):
                inner = [_plain(part) for part in (then, otherwise)]
                if inner[0] is None or inner[1] is None:
                    return None
                out.append(When(column, inner[0], inner[1]))
            case Stripped(inside):
                inner_plain = _plain(_trimmed(inside, True))
                if inner_plain is None:
                    return None
                out += inner_plain
            case _:
                return None
    return tuple(out)


def _trimmed(segments: tuple[Segment, ...], strip: bool | str) -> tuple[Segment, ...]:
    """Outer white space taken off constant text."""
    out = list(segments)
    if strip is True and out:
        out[0] = _cut(out[0], str.lstrip)
    if strip and out:
        chars = None if strip is True else str(strip)
        out[-1] = _cut(out[-1], lambda text: text.rstrip(chars))
    return tuple(out)


def _cut(segment: Segment, cut: Any) -> Segment:
    match segment:
        case Text(text):
            return Text(cut(text))
        case When(column, then, otherwise, missing):
            at = 0 if cut is str.lstrip else -1
            parts = []
            for part in (then, otherwise):
                changed = list(part)
                if changed:
                    changed[at] = _cut(changed[at], cut)
                parts.append(tuple(changed))
            return When(column, parts[0], parts[1], missing)
        case _:
            return segment


def _prompts(wanted: Rendering, flat: tuple[Segment, ...] | None, tokens: Tokens) -> Iterator[Proposal]:
    """The named types over the same columns, then the prompt as a format of its own."""
    reply = _reply(flat) if flat is not None else None
    tail = _tail(flat, reply) if flat is not None and reply is not None else ""
    config: Entry = {"train_on_inputs": _trains_prompt(wanted, tokens)}
    end = _end_token(tail)
    if end and end not in ("{eos}", tokens.get("eos")):
        config["special_tokens"] = {"eos_token": end}
    names = set(columns(wanted.segments))
    for name, kind in TYPES.items():
        for style in ("", *kind.styles):
            entry: Entry = {"type": f"{name}:{style}" if style else name}
            got = decode(entry, config, tokens=tokens)["text"].value
            if isinstance(got, Rendering) and set(columns(got.segments)) == names:
                yield Proposal(entry, config)
    if flat is None or reply is None:
        return
    made = _custom(flat[: flat.index(reply)], reply.name, tokens)
    if made is not None:
        yield Proposal({"type": made}, config)


def _reply(flat: tuple[Segment, ...]) -> Column | None:
    last = [segment for segment in flat if not isinstance(segment, Text)][-1:]
    return last[0] if last and isinstance(last[0], Column) and flat.count(last[0]) == 1 else None


def _tail(flat: tuple[Segment, ...], reply: Column) -> str:
    return "".join(segment.text for segment in flat[flat.index(reply) :] if isinstance(segment, Text))


def _trains_prompt(wanted: Rendering, tokens: Tokens) -> bool:
    match wanted.segments:
        case (Conversation(loss=loss),):
            return "user" in loss.roles
        case _:  # whether the first text after BOS is
            pieces = outcomes(wanted, wanted, samples(wanted)[0].row, tokens)[0] or ()
            bos = tokens.get("bos") or "{bos}"
            return next((piece.trained for piece in pieces if piece.text != bos), False)


def _custom(prompt: tuple[Segment, ...], reply: str, tokens: Tokens) -> dict[str, Value] | None:
    """A user-defined type: one column, or one and a second that may be empty; a system column may come first."""
    out: dict[str, Value] = {}
    prompt = _without_bos(prompt, tokens)
    choices = [segment for segment in prompt if isinstance(segment, When)]
    if choices and prompt[0] is choices[0] and not choices[0].otherwise and len(choices[0].then) > 1:
        system = choices.pop(0)
        prompt = prompt[1:]
        text = _format(system.then, {system.column: "system"}, tokens)
        if text is None:
            return None
        out |= {"field_system": system.column, "system_format": text}
    else:
        out["field_system"] = ""  # else a column of that name would be read
    if len(choices) > 1:
        return None
    given, without = (_chosen(prompt, part) for part in (True, False))
    first = [segment.name for segment in without if isinstance(segment, Column)]
    if len(set(first)) != 1:
        return None
    fields = {first[0]: "instruction"}
    if choices:
        fields.setdefault(choices[0].column, "input")
    texts = [_format(part, fields, tokens) for part in (given, without)]
    if texts[0] is None or texts[1] is None:
        return None
    for key, name in {"field_instruction": first[0], "field_output": reply}.items():
        if name != key.removeprefix("field_"):
            out[key] = name
    if choices and choices[0].column != "input":
        out["field_input"] = choices[0].column
    return {**out, "format": texts[0], "no_input_format": texts[1]}


def _without_bos(prompt: tuple[Segment, ...], tokens: Tokens) -> tuple[Segment, ...]:
    """The tokenizer itself puts BOS before a prompt."""
    if not prompt or not isinstance(prompt[0], Text):
        return prompt
    text = prompt[0].text
    for bos in ("{bos}", tokens.get("bos") or "{bos}"):
        text = text.removeprefix(bos)
    return (Text(text), *prompt[1:]) if text else prompt[1:]


def _chosen(prompt: tuple[Segment, ...], given: bool) -> tuple[Segment, ...]:
    out: list[Segment] = []
    for segment in prompt:
        if isinstance(segment, When):
            out += segment.then if given else segment.otherwise
        else:
            out.append(segment)
    return tuple(out)


def _format(segments: Sequence[Segment], fields: Mapping[str, str], tokens: Tokens) -> str | None:
    out = ""
    for segment in segments:
        match segment:
            case Text(text):
                for name, token in tokens.items():
                    text = text.replace("{" + name + "}", token)
                if "{bos}" in text or "{eos}" in text:
                    return None
                out += text.replace("{", "{{").replace("}", "}}")
            case Column(name) if name in fields:
                out += "{" + fields[name] + "}"
            case _:
                return None
    return out


# --- raw text ---------------------------------------------------------------------------------------------------


def _texts(segments: tuple[Segment, ...], tokens: Tokens) -> Iterator[Proposal]:
    match segments:
        case (When(_, then),):
            segments = then
        case _:
            pass
    flat = _plain(segments)
    found = [segment for segment in flat or () if isinstance(segment, Column)]
    if flat is None or len(found) != 1 or any(isinstance(segment, When) for segment in flat):
        return
    name = found[0].name
    end = _end_token(_tail(flat, found[0]))
    config: Entry = {}
    if end and end not in ("{eos}", tokens.get("eos")):
        config["special_tokens"] = {"eos_token": end}
    field: Entry = {"field": name} if name != "text" else {}
    yield Proposal({"type": "completion", **field}, config)
    text = _format(_without_bos(flat, tokens), {name: "instruction"}, tokens)
    if text is not None:  # no EOS but what the format has
        made: dict[str, Value] = {
            "field_instruction": name,
            "field_output": "",
            "format": text,
            "no_input_format": text,
        }
        yield Proposal({"type": made}, {"train_on_inputs": True}, odd=bool(end))
