"""The outline of a text that need not be whole YAML: its keys by their indentation, and what is typed at a place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ftmigrate.document.model import Key, Path, Position
from ftmigrate.document.text import Lines

_KEY = re.compile(r"""("[^"]*"|'[^']*'|[^\s'"#\[\]{},&*!|>%@`][^\s:#]*(?:[ \t]+[^\s:#]+)*)[ \t]*:(?:[ \t]+|$)""")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""")
_BLOCK = re.compile(r"[|>][-+0-9]*\s*$")


class Entry(NamedTuple):
    """A key, or an item of a list (its path ends in a number), with its value as it is written on the same line."""

    path: Path
    line: int
    column: int
    value: str


class Cursor(NamedTuple):
    """What is typed at a place: a key of the mapping at `path`, or (value) the value at `path`.

    item: an item of the list at `path`, which may become a mapping too. start: the column where it begins.
    """

    path: Path
    typed: str
    start: int
    value: bool = False
    item: bool = False


class _Frame(NamedTuple):
    column: int
    key: Key
    empty: bool


class _Walker:
    """Goes through lines, and knows which keys are open above each."""

    def __init__(self) -> None:
        self.open: list[_Frame] = []
        self.flow: tuple[int, int] | None = None  # brackets still open, and the column of their key
        self.block: int | None = None  # the column of the key whose block text goes on

    @property
    def path(self) -> Path:
        return tuple(frame.key for frame in self.open)

    def line(self, number: int, text: str) -> Iterator[Entry]:
        bare = text.lstrip(" ")
        column = len(text) - len(bare) + 1
        if self.inside(bare, column):
            return
        bare = strip(bare)
        if not bare:
            return
        dashed = False
        while bare == "-" or bare.startswith(("- ", "-\t")):
            self.dash(column)
            rest = bare[1:].lstrip()
            dashed, column, bare = True, column + len(bare) - len(rest), rest
            key = _KEY.match(bare)
            if key is None and not (bare == "-" or bare.startswith("- ")):
                self._value(bare, self.open[-1].column)
                yield Entry(self.path, number, column, bare)
        key = _KEY.match(bare)
        if key is not None:
            if not dashed:
                self.close(column)
            value = bare[key.end() :].strip()
            self.open.append(_Frame(column, unquoted(key[1]), not value or value[0] in "&!"))
            self._value(value, column)
            yield Entry(self.path, number, column, value)
        elif self.open and not dashed and column > self.open[-1].column:
            self.open[-1] = self.open[-1]._replace(empty=False)

    def inside(self, bare: str, column: int) -> bool:
        """Whether the line belongs to a block text or a bracket that began above."""
        if self.block is not None:
            if not bare.strip() or column > self.block:
                return True
            self.block = None
        if self.flow is not None:
            depth, key = self.flow
            if not (column <= key and _KEY.match(bare)):
                depth += _depth(strip(bare))
                self.flow = (depth, key) if depth > 0 else None
                return True
            self.flow = None
        return False

    def close(self, column: int) -> None:
        """A key at this column ends what began at it or to its right."""
        while self.open and self.open[-1].column >= column:
            self.open.pop()

    def dash(self, column: int) -> None:
        """An item at this column: the next one of its list."""
        while self.open and self.open[-1].column > column:
            self.open.pop()
        index = 0
        if self.open and self.open[-1].column == column and isinstance(self.open[-1].key, int):
            index = self.open.pop().key + 1  # type: ignore[operator]
        self.open.append(_Frame(column, index, True))

    def _value(self, value: str, column: int) -> None:
        if _BLOCK.match(value):
            self.block = column
        elif value[:1] in ("[", "{") and (depth := _depth(value)) > 0:
            self.flow = (depth, column)


def entries(text: str) -> list[Entry]:
    """All keys and items, in the order of the text."""
    walker = _Walker()
    return [entry for number, line in _lines(text) for entry in walker.line(number, line)]


def cursor(text: str, at: Position) -> Cursor | None:
    """What is typed at a place; None in a comment, in a text of several lines, or where nothing can be told."""
    walker = _Walker()
    before = ""
    for number, line in _lines(text):
        if number == at.line:
            before = line[: at.column - 1]
            break
        for _ in walker.line(number, line):
            pass
    bare = before.lstrip(" ")
    column = len(before) - len(bare) + 1
    if "\t" in before[: column - 1] or strip(bare) != bare.rstrip() or walker.inside(bare or "x", column):
        return None
    dashed = False
    while bare.startswith("- "):
        walker.dash(column)
        rest = bare[1:].lstrip(" ")
        dashed, column, bare = True, column + len(bare) - len(rest), rest
    key = _KEY.match(bare)
    if not dashed:
        walker.close(column)
    if key is not None:
        if bare[key.end() - 1] == ":":
            return None  # directly behind the colon
        path: Path = (*walker.path, unquoted(key[1]))
        return _value(path, bare[key.end() :], column + key.end())
    if walker.open and not walker.open[-1].empty:
        return None
    if re.search(r"[\s:{}\[\],]", bare):
        return None
    return Cursor(walker.path, bare, column, item=dashed)


def _value(path: Path, typed: str, column: int) -> Cursor | None:
    if typed.startswith("["):
        inner = re.fullmatch(r"(\[(?:[^\[\]{}]*,)?\s*)([^\s\[\]{},]*)", typed)
        return Cursor((*path, 0), inner[2], column + len(inner[1]), value=True) if inner else None
    return None if typed[:1] in ("{", "|", ">") else Cursor(path, typed, column, value=True)


def unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0] else text


def strip(text: str) -> str:
    """A line's text without its comment."""
    if "#" not in text:
        return text.rstrip()
    masked = _QUOTED.sub(lambda found: "x" * len(found[0]), text)
    found = _COMMENT.search(masked)
    return (text[: found.start()] if found else text).rstrip()


def _depth(text: str) -> int:
    bare = _QUOTED.sub("", text)
    return sum(bare.count(one) for one in "[{") - sum(bare.count(one) for one in "]}")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    lines = Lines(text)
    return ((number, lines.line(number)) for number in range(1, len(lines) + 1))
