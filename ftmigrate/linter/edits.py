"""Edits of a text: made from places in it, and applied so that everything else stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ftmigrate.document.model import Path, Position, Span
from ftmigrate.document.text import Lines
from ftmigrate.linter.diagnostic import Diagnostic, Edit

if TYPE_CHECKING:
    from ftmigrate.linter.subject import Subject

_COMMENT = re.compile(r"(?:^|\s)#")


def replace(span: Span, text: str) -> Edit:
    """Other text in the place of a stretch."""
    return Edit(span.start.line, span.start.column, span.end.line, span.end.column, text)


def insert(at: Position, text: str) -> Edit:
    return Edit(at.line, at.column, at.line, at.column, text)


def remove(subject: Subject, path: Path) -> tuple[Edit, bool] | None:
    """The edit that removes a key with its value, and whether a comment goes with it. None in a flow mapping."""
    document, lines = subject.document, subject.lines
    leaves = list(document.below(path))
    key = subject.key_span(path)
    if not leaves or any(leaf.span is None for leaf in leaves) or not isinstance(path[-1], str):
        return None
    last = max((leaf.span.end for leaf in leaves if leaf.span), default=key.end)
    before = lines.line(key.start.line)[: key.start.column - 1]
    after = lines.line(last.line)[last.column - 1 :]
    if before.strip() or not re.fullmatch(r"\s*(#.*)?", after) or last.line >= len(lines):
        return None
    parent = subject.value(*path[:-1]) if len(path) > 1 else document.tree
    if not isinstance(parent, dict) or len(parent) < 2:
        return None
    text = "\n".join(lines.line(number) for number in range(key.start.line, last.line + 1))
    return Edit(key.start.line, 1, last.line + 1, 1, ""), bool(_COMMENT.search(text))


def apply(text: str, found: Iterable[Diagnostic], *, unsafe: bool) -> tuple[str, list[Diagnostic]]:
    """The text with the fixes applied that do not overlap, and whose they were. Earlier ones in the text go first."""
    lines = Lines(text)
    chosen: list[tuple[int, int, str]] = []
    done: list[Diagnostic] = []
    for one in found:
        if one.fix is None or not (one.fix.safe or unsafe):
            continue
        stretches = [
            (lines.offset(Position(e.line, e.column)), lines.offset(Position(e.end_line, e.end_column)), e.text)
            for e in one.fix.edits
        ]
        if any(_overlap(new, old) for new in stretches for old in chosen):
            continue
        chosen += stretches
        done.append(one)
    for start, end, new in sorted(chosen, reverse=True):
        text = text[:start] + new + text[end:]
    return text, done


def _overlap(a: tuple[int, int, str], b: tuple[int, int, str]) -> bool:
    return (a[0] < b[1] and b[0] < a[1]) or a[0] == b[0]


def quoted(text: str, sample: str = "") -> str:
    """A text in quotes, of the kind that `sample` has."""
    mark = sample[:1] if sample[:1] in ("'", '"') else '"'
    return mark + text.replace(mark, mark * 2 if mark == "'" else "\\" + mark) + mark
