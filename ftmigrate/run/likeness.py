"""How two renderings differ, on rows made to tell them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import NamedTuple

from msgspec.structs import replace

from ftmigrate.run.evaluation import evaluate, merge
from ftmigrate.run.rendering import (
    Conversation,
    Ends,
    Piece,
    Rendering,
    Row,
    Segment,
    Stripped,
    Text,
    TurnFormat,
    Unrenderable,
    When,
)
from ftmigrate.run.sample_rows import PADDED, TRAILING, samples, unread


class Difference(NamedTuple):
    """One way in which two renderings differ. kind: text | mask; where: the sample's kind; detail: in words."""

    kind: str
    where: str
    detail: str


def compare(wanted: Rendering, got: Rendering, tokens: Mapping[str, str] | None = None) -> list[Difference]:
    """How `got` differs from `wanted` on the sample rows; empty when they render alike.

    `tokens` gives the text of `{bos}` and `{eos}` where it is known, so that `{eos}` and `<|eot_id|>` can be equal.
    Trailing masked text (an EOS nobody is trained on) does not count, nor does the mask of a BOS, nor a row of one
    token: none changes the loss.
    """
    found: dict[tuple[str, str], Difference] = {}
    rows = samples(wanted, got)
    for kind, row in (*rows, *unread(wanted, got, rows[0].row)):
        first, second = outcomes(wanted, got, row, tokens)
        if first == second or first is None:
            continue
        if kind == TRAILING and any(where == PADDED for _, where, _ in found.values()):
            continue  # told already, with white space of all kinds
        difference = _difference(kind, first, second)
        found.setdefault((difference.kind, difference.detail), difference)
        besides = _contents_differ(kind, first, second) if difference.kind == "text" else None
        if besides is not None:
            found.setdefault((besides.kind, besides.detail), besides)
    return list(found.values())


def packed(wanted: Rendering, got: Rendering, tokens: Mapping[str, str] | None = None) -> dict[str, str]:
    """How two renderings that are equal row by row differ once rows share a sequence: the mask of a BOS counts there, for
    the row before predicts it, and masked text at the end takes room. In words by kind (`text`, `mask`).
    """
    bos, eos = ((tokens or {}).get(name) or "{" + name + "}" for name in ("bos", "eos"))
    found: dict[str, str] = {}
    for _, row in samples(wanted, got):
        try:
            both = [merge(evaluate(with_tokens(one, tokens or {}), row)) for one in (wanted, got)]
        except Unrenderable:
            continue
        starts = [bool(pieces) and pieces[0].text.startswith((bos, eos)) and pieces[0].trained for pieces in both]
        if starts[0] != starts[1]:
            words = "{} to be followed by the next row's first token"
            does = [words.format("learns" if one else "does not learn") for one in starts]
            found["mask"] = (
                f"in a pack, each row's end {does[0]} in the source and {does[1].split(' to ')[0]} it in the target"
            )
        texts = ["".join(piece.text for piece in pieces) for pieces in both]
        if texts[0] != texts[1]:
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
            rest = [text[same:] for text in texts]
            ends = [f"with {end!r}" if end else "without it" for end in rest]
            found["text"] = (
                f"rows end {ends[0]} in the source, {ends[1]} in the target, and take other room in a sequence"
            )
    return found


def outcomes(
    wanted: Rendering, got: Rendering, row: Row, tokens: Mapping[str, str] | None = None
) -> tuple[tuple[Piece, ...] | None, tuple[Piece, ...] | None]:
    """What the two make of a row, each up to the last character that either trains; None where a row is refused."""
    bos, eos = ((tokens or {}).get(name) or "{" + name + "}" for name in ("bos", "eos"))
    found = [_outcome(with_tokens(rendering, tokens or {}), row, bos, eos) for rendering in (wanted, got)]
    end = max(_trained_length(pieces or ()) for pieces in found)
    first, second = (None if pieces is None else _head(pieces, end) for pieces in found)
    return first, second


def _outcome(rendering: Rendering, row: Row, bos: str, eos: str) -> tuple[Piece, ...] | None:
    try:
        pieces = list(evaluate(rendering, row))
    except Unrenderable:
        return None
    if "".join(piece.text for piece in pieces) in (bos, eos):
        return ()
    if pieces and pieces[0].trained and pieces[0].text.startswith(bos):
        pieces[:1] = [Piece(bos, False), Piece(pieces[0].text[len(bos) :], True)]
    return merge(pieces)


def _trained_length(pieces: tuple[Piece, ...]) -> int:
    kept = pieces if not pieces or pieces[-1].trained else pieces[:-1]
    return sum(len(piece.text) for piece in kept)


def _head(pieces: tuple[Piece, ...], length: int) -> tuple[Piece, ...]:
    out = []
    for text, trained in pieces:
        out.append(Piece(text[:length], trained))
        length -= len(out[-1].text)
    return merge(out)


def _difference(kind: str, wanted: tuple[Piece, ...], got: tuple[Piece, ...] | None) -> Difference:
    if got is None:
        return Difference("text", kind, "the target refuses such a row")
    before, after = ("".join(p.text for p in pieces) for pieces in (wanted, got))
    if before != after:
        shortest = min(len(before), len(after))
        at = next((i for i in range(shortest) if before[i] != after[i]), shortest)
        near = slice(max(0, at - 12), at + 24)
        return Difference("text", kind, f"{before[near]!r} becomes {after[near]!r}")
    lost = [text for text, old, new in _masks(wanted, got) if old and not new]
    added = [text for text, old, new in _masks(wanted, got) if new and not old]
    return Difference("mask", kind, _mask_words(lost, added))


_SIGN = re.compile(r"<[^<>|]+ \d+(?: of [^<>|]+)?>")
"""What `samples` writes for a column's or a message's content."""


def _contents_differ(kind: str, wanted: tuple[Piece, ...], got: tuple[Piece, ...] | None) -> Difference | None:
    """Where the texts differ: the contents that stand in both, but are trained in one only."""

    def trained(pieces: tuple[Piece, ...]) -> dict[str, bool]:
        return {sign: piece.trained for piece in pieces for sign in _SIGN.findall(piece.text)}

    before, after = trained(wanted), trained(got or ())
    lost = [sign for sign, old in before.items() if old and after.get(sign) is False]
    added = [sign for sign, old in before.items() if not old and after.get(sign) is True]
    return Difference("mask", kind, _mask_words(lost, added)) if lost or added else None


def _mask_words(lost: Sequence[str], added: Sequence[str]) -> str:
    words = []
    if lost:
        words.append("no longer trained: " + ", ".join(repr(text) for text in dict.fromkeys(lost)))
    if added:
        words.append("trained besides: " + ", ".join(repr(text) for text in dict.fromkeys(added)))
    return "; ".join(words)


def _masks(wanted: tuple[Piece, ...], got: tuple[Piece, ...]) -> Iterator[tuple[str, bool, bool]]:
    """The common text cut where either mask changes, with both masks."""

    def ends(pieces: tuple[Piece, ...]) -> dict[int, bool]:
        at, found = 0, {}
        for piece in pieces:
            at += len(piece.text)
            found[at] = piece.trained
        return found

    text = "".join(piece.text for piece in wanted)
    first, second = ends(wanted), ends(got)
    cuts = sorted({0, *first, *second})
    for start, end in pairwise(cuts):
        old = next(trained for at, trained in first.items() if at >= end)
        new = next(trained for at, trained in second.items() if at >= end)
        yield text[start:end], old, new


def with_tokens(rendering: Rendering, tokens: Mapping[str, str]) -> Rendering:
    """The rendering with `{bos}` / `{eos}` filled in where `tokens` has them."""
    if not tokens:
        return rendering

    def fill(text: str) -> str:
        for name, value in tokens.items():
            text = text.replace("{" + name + "}", value)
        return text

    def turn(found: TurnFormat) -> TurnFormat:
        return replace(found, header=fill(found.header), footer=fill(found.footer))

    def each(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        return tuple(one(segment) for segment in segments)

    def one(segment: Segment) -> Segment:
        match segment:
            case Text(text):
                return replace(segment, text=fill(text))
            case When(_, then, otherwise, missing):
                absent = None if missing is None else each(missing)
                return replace(segment, then=each(then), otherwise=each(otherwise), missing=absent)
            case Stripped(inner):
                return Stripped(each(inner))
            case Conversation(shape, loss, turns):
                shape = replace(
                    shape,
                    roles={role: turn(found) for role, found in shape.roles.items()},
                    last={role: turn(found) for role, found in shape.last.items()},
                    first={role: turn(found) for role, found in shape.first.items()},
                    prefix=fill(shape.prefix),
                    suffix=fill(shape.suffix),
                )
                loss = replace(loss, ends=tuple(Ends(tuple(map(fill, names)), when) for names, when in loss.ends))
                turns = tuple(replace(found, content=each(found.content)) for found in turns)
                return replace(segment, format=shape, loss=loss, turns=turns)
            case _:
                return segment

    return replace(rendering, segments=each(rendering.segments))
