"""Bytes to text, and places in a text as YAML counts its lines."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate

from .codes import Code, error
from .model import Position

MAX_BYTES = 4 * 1024 * 1024
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Lines:
    """The lines of a text: offsets to positions and back."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def starts(self) -> list[int]:
        """The offset at which each line begins."""
        if self.text.isascii() and "\r" not in self.text:
            lines = self.text.split("\n")
            lines.pop()
            return [0, *accumulate(len(line) + 1 for line in lines)]
        return [0, *(found.end() for found in _BREAK.finditer(self.text))]

    def position(self, offset: int) -> Position:
        line = bisect_right(self.starts, offset)
        return Position(line, offset - self.starts[line - 1] + 1)

    def offset(self, position: Position) -> int:
        return self.starts[position.line - 1] + position.column - 1

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, number: int) -> str:
        """The line with this number, from 1, without its break; empty outside of the text."""
        if not 1 <= number <= len(self.starts):
            return ""
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[self.starts[number - 1] : end].rstrip("\r\n\x85\u2028\u2029")


def decode(data: bytes) -> str:
    """The text of a file, without a byte order mark. Raises DocumentError."""
    if len(data) > MAX_BYTES:
        raise error(
            Code.TOO_LARGE,
            f"The file has {len(data):,} bytes; a config of more than {MAX_BYTES:,} bytes is not read. Is this data?",
            Position(1, 1),
        )
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise error(
            Code.ENCODING,
            "The file is UTF-16 (its first bytes say so); the framework opens it as UTF-8. Save it as UTF-8.",
            Position(1, 1),
        )
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        before = data[: cause.start].decode("utf-8")
        raise error(
            Code.ENCODING,
            f"The byte 0x{data[cause.start]:02x} is not UTF-8; the framework opens the file as UTF-8. "
            "Save it as UTF-8, or retype the character.",
            Lines(before).position(len(before)),
        ) from None
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        hint = " The file looks like UTF-16: save it as UTF-8." if bad[0] == "\0" else " Remove it."
        raise error(
            Code.CONTROL_CHARACTER,
            f"The character U+{ord(bad[0]):04X} may not stand in YAML.{hint}",
            Lines(text).position(bad.start()),
        )
    return text
