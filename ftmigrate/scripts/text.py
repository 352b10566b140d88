"""Text that was taken out of a file, each character with the place where it stood."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ftmigrate.document.model import Position


class Mapped(Struct, frozen=True):
    """`text` and, for each of its characters and its end, the offset in the file; None: the same offsets."""

    text: str
    offsets: tuple[int, ...] | None
    where: Callable[[int], Position]

    def position(self, index: int) -> Position:
        if self.offsets is None:
            return self.where(index)
        return self.where(self.offsets[min(index, len(self.offsets) - 1)])

    def offset(self, index: int) -> int:
        return index if self.offsets is None else self.offsets[min(index, len(self.offsets) - 1)]


class Builder:
    """Puts a Mapped together from pieces of another one."""

    def __init__(self, base: Mapped) -> None:
        self._base = base
        self._text: list[str] = []
        self._offsets: list[int] = []

    def copy(self, start: int, end: int) -> None:
        """A stretch of the base as it stands."""
        self._text.append(self._base.text[start:end])
        self._offsets += (self._base.offset(index) for index in range(start, end))

    def put(self, text: str, at: int) -> None:
        """Other text, to stand for what is at that index of the base."""
        self._text.append(text)
        self._offsets += [self._base.offset(at)] * len(text)

    def done(self, end: int) -> Mapped:
        return Mapped("".join(self._text), (*self._offsets, self._base.offset(end)), self._base.where)


def part(base: Mapped, start: int, end: int, escaped: str = "") -> Mapped:
    """A stretch of the base, where a backslash before one of the `escaped` characters is taken away."""
    made = Builder(base)
    index = start
    while index < end:
        if base.text[index] == "\\" and index + 1 < end and base.text[index + 1] in escaped:
            index += 1
        made.copy(index, index + 1)
        index += 1
    return made.done(end)
