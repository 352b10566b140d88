"""YAML nodes to a plain tree, each value with the nodes it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import NamedTuple

import yaml

from .codes import Code, error, warning
from .compose import MAX_DEPTH, position, too_deep
from .model import Diagnostic, Path, Position, Span, Value
from .scalars import MAP, MERGE, OMEGACONF, PREFIX, SEQ, STR, VALUE, Dialect, NoValue, UnknownTag, construct, plain
from .text import Lines

MAX_NODES = 100_000
_ANCHOR = re.compile(r"&[^\s,\[\]{}]+\s*")
_ALIAS_ITEM = re.compile(r"^[ \t]*(?:-[ \t]+)+\*[-\w]+", re.MULTILINE)


class Place(NamedTuple):
    """Where a value stands: its own node, and its key's (a list item that is a mapping: its first key's)."""

    key: yaml.Node | None
    node: yaml.Node


# the classes themselves, called as often as here, would take a quarter of the time of reading
_place: Callable[[tuple[yaml.Node | None, yaml.Node]], Place] = partial(tuple.__new__, Place)
_position: Callable[[tuple[int, int]], Position] = partial(tuple.__new__, Position)
_span: Callable[[tuple[Position, Position]], Span] = partial(tuple.__new__, Span)


class Tree:
    """Constructs the values of one text."""

    def __init__(self, lines: Lines, dialect: Dialect) -> None:
        self.lines = lines
        self.text = lines.text
        self.dialect = dialect
        self.places: dict[Path, Place] = {}
        self.warnings: list[Diagnostic] = []
        self._count = 0
        self._active: set[int] = set()
        self._warned: set[int] = set()
        self._flat: dict[int, Mapping[str, Place]] = {}

    def value(self, node: yaml.Node, path: Path, key: yaml.Node | None) -> Value:
        """The value of a node; records the places of it and of all below."""
        self.places[path] = _place((key, node))
        self._count += 1
        if self._count > MAX_NODES:
            self._tally(0, path, node)
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.tag == STR else self._scalar(node)
        if id(node) in self._active:
            raise self._recursive(node)
        if len(self._active) > MAX_DEPTH:
            raise too_deep(position(node.start_mark))
        self._active.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._expect(node, SEQ)
                items: list[Value] = []
                for index, item in enumerate(node.value):
                    first = item.value[0][0] if isinstance(item, yaml.MappingNode) and item.value else None
                    items.append(self.value(item, (*path, index), first))
                return items
            assert isinstance(node, yaml.MappingNode)
            self._expect(node, MAP)
            pairs = self._pairs(node, path)
            return {name: self.value(found.node, (*path, name), found.key) for name, found in pairs.items()}
        finally:
            self._active.discard(id(node))

    def _tally(self, more: int, path: Path, node: yaml.Node) -> None:
        self._count += more
        if self._count > MAX_NODES:
            top = self.places.get(path[:1])
            raise error(
                Code.TOO_MANY_NODES,
                f"With this, the file holds more than {MAX_NODES:,} values, aliases counted as often as they are used. "
                "No config has so many; is this data?",
                position((top.key or top.node if top is not None else node).start_mark),
            )

    def _recursive(self, node: yaml.Node) -> Exception:
        anchor = self.text[node.start_mark.index :].split(None, 1)[0]
        return error(
            Code.RECURSIVE_ALIAS,
            f"`{anchor}` is used by an alias inside of itself, so it has no end. Write the value out.",
            position(node.start_mark),
        )

    def _expect(self, node: yaml.Node, tag: str) -> None:
        if node.tag != tag:
            raise self._unknown(node)

    def _unknown(self, node: yaml.Node) -> Exception:
        if node.tag in (MERGE, VALUE):
            return error(
                Code.UNKNOWN_TAG,
                f"`{node.value}` alone has a meaning of its own in YAML. Put it in quotes if it is text.",
                position(node.start_mark),
            )
        found = re.search(r"!\S*", self.text[node.start_mark.index : node.end_mark.index])
        tag = found[0] if found else node.tag
        known = node.tag.startswith(PREFIX) and "python/" not in node.tag
        what = "does not fit a value in a config" if known else f"is unknown to {self.dialect.value}'s safe loader"
        return error(
            Code.UNKNOWN_TAG, f"`{tag}` {what}. Remove it, or put the value in quotes.", position(node.start_mark)
        )

    def _scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        value = self._construct(node)
        if isinstance(value, date):
            self._warn(
                node,
                Code.TIMESTAMP,
                f"`{node.value}` is read as a date, not as text. Put it in quotes if text is meant.",
            )
        return plain(value)

    def _construct(self, node: yaml.ScalarNode) -> str | int | float | bool | date | None:
        try:
            return construct(node)
        except UnknownTag:
            raise self._unknown(node) from None
        except NoValue as cause:
            raise error(
                Code.BAD_VALUE,
                f"`{node.value[:40]}` is read as {cause} by its form, but is none. Put it in quotes if text is meant.",
                position(node.start_mark),
            ) from None

    def _warn(self, node: yaml.Node, code: Code, message: str, related: Position | None = None) -> None:
        if id(node) not in self._warned:
            self._warned.add(id(node))
            self.warnings.append(warning(code, message, position(node.start_mark), related))

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._complex(node)
        if node.tag in (STR, VALUE):
            return str(node.value)
        value = self._construct(node)
        if value is None:
            raise error(
                Code.NULL_KEY,
                f"The key is null (`{node.value}`); a setting needs a name. Put it in quotes if it is a name."
                if node.value
                else "There is no key in front of this `:`.",
                position(node.start_mark),
            )
        if isinstance(value, str):
            return value
        self._warn(
            node,
            Code.NON_STRING_KEY,
            f"The key `{node.value}` is no text but the {type(value).__name__} {value}. Quote it if text is meant.",
        )
        return str(value)

    def _complex(self, node: yaml.Node) -> Exception:
        from . import template

        at = node.start_mark.index
        for start in (at - 1, at):
            if start >= 0 and self.text[start : start + 2] == "{{":
                return error(Code.TEMPLATE, template.message(self.text, start), self.lines.position(start))
        what = "list" if isinstance(node, yaml.SequenceNode) else "mapping"
        return error(Code.COMPLEX_KEY, f"A {what} is used as a key here; a key is a name.", position(node.start_mark))

    def _pairs(self, node: yaml.MappingNode, path: Path) -> Mapping[str, Place]:
        """A mapping's entries after `<<`, in the loader's order: what is merged comes first, and own keys win."""
        known = self._flat.get(id(node))
        if known is not None:
            return known
        own: dict[str, Place] = {}
        merged: dict[str, Place] = {}
        for key, value in node.value:
            if key.tag == MERGE:
                self._merge(value, merged, path)
                continue
            name = self._key(key)
            if name in own:
                self._repeated(name, own[name].key, key)
            own[name] = _place((key, value))
        found = {**merged, **own} if merged else own
        self._flat[id(node)] = found
        return found

    def _merge(self, value: yaml.Node, into: dict[str, Place], path: Path) -> None:
        parts = list(reversed(value.value)) if isinstance(value, yaml.SequenceNode) else [value]
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise error(
                    Code.MERGE,
                    "`<<` merges a mapping, or a list of mappings, into this one; this is neither.",
                    position(part.start_mark),
                )
            if id(part) in self._active:
                raise self._recursive(part)
            self._active.add(id(part))
            if len(self._active) > MAX_DEPTH:
                raise too_deep(position(part.start_mark))
            pairs = self._pairs(part, path)
            self._active.discard(id(part))
            self._tally(len(pairs), path, part)
            into.update(pairs)

    def _repeated(self, name: str, first: yaml.Node | None, again: yaml.Node) -> None:
        assert first is not None
        here, there = position(again.start_mark), position(first.start_mark)
        if first.tag != again.tag:
            raise error(
                Code.NON_STRING_KEY,
                f"The keys `{first.value}` of line {there.line} and `{again.value}` of line {here.line} look alike, "
                "but are not both text. Rename one.",
                here,
                there,
            )
        twice = f"The key `{name}` stands twice, in line {there.line} and in line {here.line}"
        if self.dialect is OMEGACONF and again.tag == STR:
            raise error(Code.DUPLICATE_KEY, f"{twice}; OmegaConf refuses such a file. Keep one of them.", here, there)
        self._warn(
            again,
            Code.DUPLICATE_KEY,
            f"{twice}; only line {here.line} has an effect. Remove one of them.",
            there,
        )

    # places

    def extent(self, node: yaml.Node) -> tuple[int, int]:
        """The offsets of a value's text: without its anchor, and without what follows a block."""
        text = self.text
        start, end = node.start_mark.index, node.end_mark.index
        if isinstance(node, yaml.ScalarNode) and start < end <= len(text) and text[start] != "&":
            if node.style in ("|", ">"):
                end = start + len(_without_end(text[start:end]))
            return start, end
        if end > len(text):
            end = len(text)
        if start < end and text[start] == "&":
            found = _ANCHOR.match(text, start, end)
            start = found.end() if found else start
        if isinstance(node, yaml.ScalarNode):
            if node.style in ("|", ">"):
                end = start + len(_without_end(text[start:end]))
            elif start == end:
                start = end = len(text[:start].rstrip()) if text[start - 1 : start].isspace() else start
        elif isinstance(node, yaml.SequenceNode) and text[start : start + 1] == "-" and node.value:
            last = self.extent(node.value[-1])[1]
            items = list(_ALIAS_ITEM.finditer(text, max(start, last if last <= end else start), end))
            end = items[-1].end() if items else last if start < last <= end else end
        return start, end

    def span(self, node: yaml.Node) -> Span:
        """Where a value's text stands, as in `extent`."""
        begin, finish = node.start_mark, node.end_mark
        start, end = self.extent(node)
        from_ = _position((begin.line + 1, begin.column + 1)) if begin.index == start else self.lines.position(start)
        to = _position((finish.line + 1, finish.column + 1)) if finish.index == end else self.lines.position(end)
        return _span((from_, to))

    def written(self, node: yaml.Node) -> str:
        """A value's text, as in `extent`."""
        start, end = self.extent(node)
        return self.text[start:end]


def _without_end(block: str) -> str:
    """A block scalar's text without the line breaks at its end; one only where `+` keeps them."""
    header = re.match(r"[|>][-+0-9]*", block)
    if header and "+" in header[0]:
        return re.sub(r"(?:\r\n|[\n\r\x85\u2028\u2029])\Z", "", block)
    return block.rstrip("\r\n\x85\u2028\u2029")
