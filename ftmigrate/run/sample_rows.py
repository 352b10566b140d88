"""Rows made to tell renderings apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ftmigrate.run.columns import columns, optional_columns
from ftmigrate.run.rendering import (
    THOUGHT_CLOSES,
    THOUGHT_OPENS,
    ChatFormat,
    Conversation,
    Item,
    Labelled,
    Listed,
    Loss,
    Rendering,
    Row,
    Segment,
    Steps,
    Tokens,
)

_TALKS: tuple[tuple[str, ...], ...] = (
    ("user", "assistant"),
    ("system", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant"),
)


PLAIN, PADDED, TRAILING = "plain", "outer blanks", "blanks at the end"
UNREAD = "a column that the source does not read:"


class Sample(NamedTuple):
    """A row to compare renderings on; `kind` is PLAIN, PADDED (outer white space), TRAILING (blanks only, at the end) or names
    what is special."""

    kind: str
    row: dict[str, object]


def samples(*renderings: Rendering) -> list[Sample]:
    """Rows that tell renderings apart: all columns filled, each one empty, outer white space, blanks at the end (some
    tokenizers take off no other white space), several turns.

    Columns that a rendering reads only where they are there are filled in rows of their own, for the first rendering.
    """
    names: dict[str, Listed | None] = {}
    for rendering in renderings:
        for name, talk in columns(rendering.segments).items():
            if name not in names or (names[name] is None and not _takes_text(talk, name)):
                names[name] = talk
            elif talk is None and _takes_text(names[name], name):
                names[name] = None
    said = dict(names)
    names = {name: _known_to_all(name, talk, renderings) for name, talk in names.items()}
    text = [name for name, talk in names.items() if talk is None]
    full: dict[str, object] = {name: f"<{name} 1>\nline two" for name in text}
    talks = {name: talk for name, talk in names.items() if talk is not None}
    out: list[Sample] = []
    for turns in _TALKS if talks else ((),):
        row = dict(full)
        for name, talk in talks.items():
            row[name] = _talk(talk, name, turns, last=name if len(talks) > 1 else "")
        kind = PLAIN if turns in ((), _TALKS[0]) else "turns: " + ", ".join(turns)
        out.append(Sample(kind, row))
    for kind, before, after in ((PADDED, " ", " \n"), (TRAILING, "", "  ")):
        padded = {**out[0].row, **{name: f"{before * 2}<{name} 1>{after}" for name in text}}
        padded |= {
            name: _talk(talk, name, _TALKS[0], before, after, last=name if len(talks) > 1 else "")
            for name, talk in talks.items()
        }
        out.append(Sample(kind, padded))
    other = {
        name: _talk(talk, name, _TALKS[0], last=name if len(talks) > 1 else "")
        for name, talk in said.items()
        if talk is not None and talk != names[name]
    }
    if other:
        out.append(Sample("other names of roles", {**out[0].row, **other}))
    if any(_thinks(rendering.segments) for rendering in renderings):
        out += [Sample("thoughts", _thoughtful(sample.row, talks)) for sample in out[:3:2]]
    out += [Sample(f"empty {name}", {**out[0].row, name: ""}) for name in text]
    extra = optional_columns(renderings[0].segments) - set(names) if renderings else set()
    out += [Sample(f"a column {name}", {**out[0].row, name: f"<{name} 1>\nline two"}) for name in sorted(extra)]
    return out


def unread(wanted: Rendering, got: Rendering, row: Row) -> list[Sample]:
    """The row with a column that only `got` reads, and only where a row has it."""
    extra = optional_columns(got.segments) - optional_columns(wanted.segments) - set(columns(wanted.segments))
    return [Sample(f"{UNREAD} {name}", {**row, name: f"<{name} 1>"}) for name in sorted(extra - set(row))]


def _known_to_all(name: str, talk: Listed | None, renderings: Sequence[Rendering]) -> Listed | None:
    """How a column is filled: with those names of roles that all of its readers know, where there is one for each role."""
    if not isinstance(talk, Conversation):
        return talk
    readers = [columns(rendering.segments).get(name) for rendering in renderings]
    known = [one.roles for one in readers if isinstance(one, Conversation)]
    roles = {word: role for word, role in talk.roles.items() if all(one.get(word) == role for one in known)}
    needed = {role for turns in _TALKS for role in turns} & set(talk.roles.values())
    return replace(talk, roles=roles) if roles != talk.roles and needed <= set(roles.values()) else talk


def _thinks(segments: Sequence[Segment]) -> bool:
    turns = [
        turn
        for segment in segments
        if isinstance(segment, Conversation)
        for turn in (*segment.format.roles.values(), *segment.format.last.values())
    ]
    return any(turn.thinking for turn in turns)


def _thoughtful(row: Row, talks: Mapping[str, Listed]) -> dict[str, object]:
    """The row with a thought in front of each message."""
    out = dict(row)
    for name, talk in talks.items():
        listed = row[name]
        if isinstance(talk, Conversation) and isinstance(listed, list):
            key = talk.content_key
            out[name] = [
                {**item, key: f"{THOUGHT_OPENS}\n<thought>\n{THOUGHT_CLOSES}\n\n{item[key]}"} for item in listed
            ]
    return out


def _takes_text(talk: Listed | None, name: str) -> bool:
    """Whether a column that is read as messages may hold a text as well."""
    return talk is None or (isinstance(talk, Conversation) and talk.or_text and name in (talk.column, talk.reply))


def _marked(listed: Tokens | Steps, name: str, turns: Sequence[str], before: str, after: str) -> list[object]:
    """Two tokens or one step a turn, or their labels."""
    if isinstance(listed, Steps):
        return [role == "assistant" if name == listed.labels else f"{before}<{role} step>{after}" for role in turns]
    ids = [(at, role) for at, role in enumerate(role for role in turns for _ in range(2))]
    return [101 + at if name == listed.column or role == "assistant" else -100 for at, role in ids]


def _talk(
    talk: Listed, name: str, turns: Sequence[str], before: str = "", after: str = "", last: str = ""
) -> Sequence[object]:
    """Messages for one column, each with white space before and after it; `last` marks the last one, so that columns
    that share a prompt differ."""
    if isinstance(talk, Item):
        talk = Conversation(ChatFormat({}), Loss(), column=talk.column, content_key=talk.key)
    if isinstance(talk, Tokens | Steps):
        return _marked(talk, name, turns, before, after)
    if isinstance(talk, Labelled):
        return [
            {
                talk.label_key: role == "assistant",
                talk.text_key: f"{before}<{role} {index}>{after}",
            }
            for index, role in enumerate(turns)
        ]
    names = {role: name for name, role in reversed(list(talk.roles.items()))}
    messages: list[object] = []
    for index, role in enumerate(turns):
        mark = f" of {last}" if last and index == len(turns) - 1 else ""
        content = f"<{role} {index}{mark}>\nline two"
        messages.append({talk.role_key: names.get(role, role), talk.content_key: before + content + after})
    return messages
