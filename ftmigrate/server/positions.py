"""Places as an editor counts them: lines from 0, columns in the code units that client and server agreed on."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple

from ftmigrate.document.model import Position
from ftmigrate.document.text import Lines

_BREAK = re.compile("\r\n|[\n\r]")  # fewer than YAML's
_UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
_BOM = "\ufeff"


class Point(NamedTuple):
    """A place in the editor's count."""

    line: int
    character: int


class Positions:
    """A text in both counts. A byte order mark is no part of the text for us, and a character for the editor."""

    def __init__(self, source: str, encoding: str = "utf-16") -> None:
        self.source = source
        self.shift = int(source.startswith(_BOM))
        self.encoding, self.width = _UNITS[encoding]
        self.starts = [0, *(found.end() for found in _BREAK.finditer(source))]

    @cached_property
    def lines(self) -> Lines:
        return Lines(self.source[self.shift :])

    def point(self, line: int, column: int) -> Point:
        """Our place in the editor's count."""
        line = min(line, len(self.lines))
        return self.at(self.lines.offset(Position(line, column)) + self.shift)

    def at(self, offset: int) -> Point:
        offset = max(0, min(offset, len(self.source)))
        line = bisect_right(self.starts, offset) - 1
        return Point(line, self._units(self.source[self.starts[line] : offset]))

    def position(self, point: Point) -> Position:
        """The editor's place in our count; one beyond a line's end is its end."""
        line = min(point.line, len(self.starts) - 1)
        end = self.starts[line + 1] if line + 1 < len(self.starts) else len(self.source)
        text = self.source[self.starts[line] : end].rstrip("\r\n")
        offset, units = 0, 0
        while offset < len(text) and units < point.character:
            units += self._units(text[offset])
            offset += 1
        return self.lines.position(max(self.starts[line] + offset - self.shift, 0))

    @property
    def end(self) -> Point:
        return self.at(len(self.source))

    def _units(self, text: str) -> int:
        return len(text.encode(self.encoding, "surrogatepass")) // self.width
