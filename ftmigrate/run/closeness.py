"""How far a rendering is from the one that is wanted, so that the nearest of several can be chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from ftmigrate.run.likeness import Difference, outcomes
from ftmigrate.run.rendering import Rendering
from ftmigrate.run.sample_rows import PADDED, TRAILING, UNREAD, samples

Tokens = Mapping[str, str]


def weight(found: Sequence[Difference]) -> tuple[int, int, int, int]:
    """Differences in the text of ordinary rows, of rows with outer blanks, in masks, in rows with an empty column.

    Rows with a column that the source does not read do not count: they differ whichever is chosen.
    """
    found = [item for item in found if not item.where.startswith(UNREAD)]
    texts = [item.where for item in found if item.kind == "text"]
    empty = sum(where.startswith("empty") for where in texts)
    padded = texts.count(PADDED) + texts.count(TRAILING)
    return len(texts) - padded - empty, padded, len(found) - len(texts), empty


def distance(wanted: Rendering, got: Rendering, tokens: Tokens) -> int:
    """How many characters of ordinary rows stand between what the two texts share at start and end."""
    total = 0
    for first, second in _texts(wanted, got, tokens):
        start = _shared(first, second)
        rest = (first[start:][::-1], second[start:][::-1])
        total += sum(map(len, rest)) - 2 * _shared(*rest)
    return total


def edits(wanted: Rendering, got: Rendering, tokens: Tokens) -> int:
    """How many characters of ordinary rows are in one of the two texts only, wherever they stand."""
    from difflib import SequenceMatcher

    total = 0
    for first, second in _texts(wanted, got, tokens):
        common = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
        total += len(first) + len(second) - 2 * sum(block.size for block in common)
    return total


def _texts(wanted: Rendering, got: Rendering, tokens: Tokens) -> Iterator[tuple[str, str]]:
    """What the two make of ordinary rows, those aside that the source refuses too."""
    for kind, row in samples(wanted, got):
        if kind in (PADDED, TRAILING) or kind.startswith("empty"):
            continue
        first, second = ("".join(piece.text for piece in pieces or ()) for pieces in outcomes(wanted, got, row, tokens))
        if first:
            yield first, second


def _shared(first: str, second: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
