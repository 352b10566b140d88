"""The keys and values that may be written at a place."""

from __future__ import annotations

import re
from typing import NamedTuple

from ftmigrate.document.model import Path, Position, Span
from ftmigrate.linter.subject import Subject
from ftmigrate.server import outline, words
from ftmigrate.server.outline import Cursor
from ftmigrate.server.places import Places, Ways, is_list, is_mapping, removed


class Item(NamedTuple):
    """One proposal. kind: "key", "value" or "component". rank: the lower, the sooner it is shown."""

    label: str
    kind: str
    text: str
    span: Span
    detail: str = ""
    about: str = ""
    deprecated: bool = False
    rank: int = 1


def complete(subject: Subject, text: str, line: str, at: Position) -> list[Item]:
    """What may be written at a place of a text, the line of which is given."""
    found = outline.cursor(text, at)
    if found is None:
        return []
    known = outline.entries(text)
    places = Places(subject, known)
    rest = line[at.column - 1 :]
    tail = re.match(r"[^\s:#,\]\[{}]*" if not found.value else r"[^\s#,\]}]*", rest)
    length = len(tail[0]) if tail else 0
    span = Span(Position(at.line, found.start), Position(at.line, at.column + length))
    if found.value:
        return _values(subject, places, found.path, span)
    items = _values(subject, places, found.path, span) if found.item else []
    taken = {entry.path[-1] for entry in known if entry.path[:-1] == found.path and entry.line != at.line}
    return items + _keys(subject, places, found, span, taken, alone=not rest[length:].lstrip().startswith(":"))


def _keys(
    subject: Subject, places: Places, at: Cursor, span: Span, taken: set[str | int], *, alone: bool
) -> list[Item]:
    where = places.mapping(at.path)
    items = []
    for key, ways in where.keys.items() if where is not None else ():
        if key in taken or removed(ways):
            continue
        old = any(facts.get("deprecated") for facts in ways)
        required = where is not None and key in where.required
        path = (*at.path, key)
        about = [said] if (said := words.standing(ways)) else []
        about += words.purpose(subject, path)
        text = key + (_behind(ways, span.start.column) if alone else "")
        rank = 2 if old else 0 if required else 1
        items.append(Item(key, "key", text, span, words.kind(ways), "\n\n".join(about), old, rank))
    return items


def _behind(ways: Ways, column: int) -> str:
    """What follows a new key: a blank, or the next line where a mapping or a list of mappings begins."""
    indent = "\n" + " " * (column + 1)
    if not is_mapping(ways):
        return ": "
    return f":{indent}- " if is_list(ways) and not any(facts.get("component") for facts in ways) else f":{indent}"


def _values(subject: Subject, places: Places, path: Path, span: Span) -> list[Item]:
    component = bool(path) and path[-1] == subject.framework.layout.component
    ways = places.ways(path)
    defaults = [facts["default"] for facts in ways if "default" in facts]
    items = []
    for value in places.values(path):
        usual = any(_same(value, default) for default in defaults)
        kind, detail = ("component", "") if component else ("value", "the default" if usual else "")
        items.append(Item(value, kind, value, span, detail, rank=0 if usual else 1))
    return items


def _same(written: str, default: object) -> bool:
    return written == ("null" if default is None else str(default).lower() if isinstance(default, bool) else default)
