"""Which comments a text holds, and where: a `#` inside quotes or a block scalar is none."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

import yaml

from .text import Lines

_TO_END = re.compile("#[^\r\n\x85\u2028\u2029]*")
_BREAK = re.compile("[\r\n\x85\u2028\u2029]")


class Comment(NamedTuple):
    """A comment by its line; `alone` when nothing else stands on that line."""

    line: int
    text: str
    alone: bool


def _opaque(root: yaml.Node, text: str) -> list[tuple[int, int]]:
    """The stretches of scalars that contain a `#` which begins no comment."""
    spans = []
    seen: set[int] = set()
    todo = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, yaml.ScalarNode):
            if "#" in node.value:  # whatever its text is quoted with
                start, end = node.start_mark.index, node.end_mark.index
                if node.style in ("|", ">"):
                    header = _BREAK.search(text, start, end)
                    start = header.start() if header else end
                spans.append((start, end))
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        else:
            for pair in node.value:
                todo += pair
    spans.sort()
    return spans


def comments(root: yaml.Node, lines: Lines) -> dict[int, Comment]:
    """The comments of a composed text by line."""
    text = lines.text
    found: dict[int, Comment] = {}
    at = text.find("#")
    if at < 0:
        return found
    spans = _opaque(root, text)
    begins = [start for start, _ in spans]
    while at >= 0:
        index = bisect_right(begins, at) - 1
        if index >= 0 and at < spans[index][1]:
            at = text.find("#", spans[index][1])
            continue
        end = _TO_END.match(text, at)
        assert end is not None
        line, column = lines.position(at)
        found[line] = Comment(line, body(end[0]), not text[at - column + 1 : at].strip())
        at = text.find("#", end.end())
    return found


def header(root: yaml.MappingNode, text: str) -> tuple[str, ...]:
    """The lines of comment before the first key, where nothing else stands."""
    end = root.value[0][0].start_mark.index if root.value else len(text)
    lines = (line.lstrip() for line in text[:end].splitlines())
    return tuple(body(line) for line in lines if line.startswith("#"))


def body(comment: str) -> str:
    """A comment's text without its `#` and the blank behind it."""
    return comment[1:].removeprefix(" ").rstrip()
