"""YAML to a `Document`, as the framework's own loader reads it, with a place for every value.

Positions count lines and characters from 1; a byte order mark counts for nothing and is not in `Document.text`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache

import yaml as pyyaml
from msgspec import Struct

from .codes import Code, error
from .comments import Comment, comments, header
from .compose import compose, position
from .model import Diagnostic, Document, Leaf, Nowhere, Path, Position, Source, Span, Value, is_leaf, walk
from .nodes import Place, Tree
from .scalars import OMEGACONF, PYYAML, Dialect
from .text import Lines, decode

__all__ = ["OMEGACONF", "PYYAML", "Dialect", "build", "comments_above", "parse", "value"]

_Via = Mapping[Path, tuple[Path, ...]]


def parse(
    data: bytes, name: str, dialect: Dialect, overrides: Sequence[str] = (), *, lenient: bool = False
) -> Document:
    """Read a config file. Raises DocumentError with the one diagnostic that says why it cannot be read.

    `overrides` are the launcher's arguments after the config (`lr=1e-4`, `~seed`); they apply before interpolation.
    lenient: an interpolation that leads nowhere is an error among `Document.warnings` and its value unresolved (the
    framework loads such a file too, and stops where it uses the value).
    """
    text = decode(data)
    lines = Lines(text)
    root = compose(text, dialect, lines)
    if root is None or (isinstance(root, pyyaml.ScalarNode) and not root.value and not root.style):
        raise error(Code.EMPTY, "The file holds no keys, only blank lines or comments.", Position(1, 1))
    if not isinstance(root, pyyaml.MappingNode):
        raise _not_a_mapping(root, lines)
    reader = Tree(lines, dialect)
    tree = reader.value(root, (), None)
    assert isinstance(tree, dict)

    applied: Mapping[Path, str] = {}
    if overrides:
        from . import overrides as command_line

        tree, applied = command_line.apply(tree, overrides, dialect, lambda source: value(source, dialect))
    via: _Via = {}
    if dialect is OMEGACONF and ("${" in text or "???" in text or overrides):
        from . import interpolation

        missing = reader.warnings if lenient else None
        tree, via = interpolation.resolve(tree, lambda path, part: _place(reader, path, part, applied), missing)
    return Document(
        name=name,
        text=text,
        tree=tree,
        leaves=_leaves(tree, reader, _Notes(root, lines), applied, via),
        header=header(root, text),
        warnings=tuple(reader.warnings),
        sections=_Sections(tree, reader),
        marked=data.startswith(b"\xef\xbb\xbf"),
    )


def build(
    tree: dict[str, Value], name: str, dialect: Dialect, overrides: Sequence[str] = (), header: Sequence[str] = ()
) -> Document:
    """A document from values that stand in no file, interpolations among them, with overrides as `parse` takes them.

    Raises DocumentError, for what only the overrides can be the reason.
    """
    from . import interpolation
    from . import overrides as command_line

    tree, applied = command_line.apply(tree, overrides, dialect, lambda source: value(source, dialect))
    raws = dict(walk(tree))
    missing: list[Diagnostic] = []
    via: _Via = {}
    if dialect is OMEGACONF:
        tree, via = interpolation.resolve(tree, lambda _path, _part: Position(1, 1), missing)
    leaves: dict[Path, Leaf] = {}
    for path, leaf_value in walk(tree):
        override = _nearest(applied, path)
        raw = applied[override] if override is not None else str(raws.get(path, ""))
        source = Source.FILE if override is None else Source.OVERRIDE
        leaves[path] = Leaf(path, leaf_value, Nowhere(raw), source, _used(path, leaf_value, via))
    _settle(leaves)
    return Document(name, "", tree, leaves, tuple(header), tuple(missing))


def value(text: str, dialect: Dialect) -> Value:
    """The value of a piece of YAML that is no file, such as an override's. Raises DocumentError."""
    lines = Lines(decode(text.encode("utf-8", "surrogatepass")))
    root = compose(lines.text, dialect, lines)
    return None if root is None else Tree(lines, dialect).value(root, (), None)


def comments_above(document: Document, path: Path) -> tuple[str, ...]:
    """The lines of comment directly above a key, without `#`; empty when a blank line or another key comes first."""
    leaf = document.leaves.get(path)
    key = leaf.key if leaf is not None else document.sections.get(path)
    if key is None:
        return ()
    notes = _comments_of(document.text)
    found = []
    line = key.start.line - 1
    while line in notes and notes[line].alone:
        found.append(notes[line].text)
        line -= 1
    return tuple(reversed(found))


@lru_cache(maxsize=4)
def _comments_of(text: str) -> Mapping[int, Comment]:
    lines = Lines(text)
    root = compose(text, OMEGACONF, lines)
    return comments(root, lines) if root is not None else {}


def _not_a_mapping(root: pyyaml.Node, lines: Lines) -> Exception:
    place = lines.position(root.start_mark.index)
    if isinstance(root, pyyaml.SequenceNode):
        return error(Code.NOT_A_MAPPING, "The file is a list; a config is made of `key: value` lines.", place)
    from . import template

    found = template.marker(lines, [place.line], place.line)
    if found is not None:
        return error(Code.TEMPLATE, template.message(lines.text, found[0]), lines.position(found[0]))
    return error(
        Code.NOT_A_MAPPING,
        f"The file is one single value, beginning `{lines.line(place.line)[place.column - 1 :][:40].rstrip()}`; "
        "a config is made of `key: value` lines, with a blank behind the `:`.",
        place,
    )


def _nearest(table: Mapping[Path, object], path: Path) -> Path | None:
    """The path itself or the nearest one above that the table holds, the root excepted."""
    for length in range(len(path), 0, -1):
        if path[:length] in table:
            return path[:length]
    return None


def _place(reader: Tree, path: Path, part: str, applied: Mapping[Path, str]) -> Position:
    """Where a part of the value at this path stands; for an override the key that it replaces, if any."""
    near = _nearest(reader.places, path)
    if near is None:
        return Position(1, 1)
    place = reader.places[near]
    if _nearest(applied, path) is not None:
        return position(place.key.start_mark) if place.key is not None else position(place.node.start_mark)
    start, end = reader.extent(place.node)
    at = reader.text.find(part, start, end)
    return reader.lines.position(at if at >= 0 else start)


class _InText(Struct, frozen=True):
    """Where a leaf stands in a file's text; each is worked out when it is asked for, as most never are."""

    _reader: Tree
    _path: Path
    _notes: _Notes

    def __repr__(self) -> str:
        return f"{self.raw!r} at {self.span}, key at {self.key}, comment {self.comment!r}"

    @property
    def _place(self) -> Place:
        places = self._reader.places
        place = places.get(self._path)
        if place is not None and (place.key is not None or isinstance(self._path[-1], str)):
            return place
        near = _nearest(places, self._path)
        assert near is not None
        return places[near]._replace(key=_key_node(self._reader, near))

    @property
    def raw(self) -> str:
        return self._reader.written(self._place.node)

    @property
    def key(self) -> Span | None:
        key = self._place.key
        return self._reader.span(key) if key is not None else None

    @property
    def span(self) -> Span | None:
        return self._reader.span(self._place.node)

    @property
    def comment(self) -> str | None:
        node, span = self._place.node, self._reader.span(self._place.node)
        block = isinstance(node, pyyaml.ScalarNode) and node.style in ("|", ">")
        return self._notes.at_end.get(span[0 if block else 1].line)


class _Notes:
    """The comments of a file."""

    def __init__(self, root: pyyaml.Node, lines: Lines) -> None:
        self._root = root
        self._lines = lines

    @cached_property
    def at_end(self) -> Mapping[int, str]:
        """Those behind something else on their line, by line."""
        found = comments(self._root, self._lines)
        return {line: note.text.strip() for line, note in found.items() if not note.alone}


def _leaves(
    tree: dict[str, Value], reader: Tree, notes: _Notes, applied: Mapping[Path, str], via: _Via
) -> dict[Path, Leaf]:
    found: dict[Path, Leaf] = {}
    places = reader.places
    for path, leaf_value in walk(tree):
        override = _nearest(applied, path) if applied else None
        used = _used(path, leaf_value, via) if path in via or (via and isinstance(leaf_value, list)) else ()
        if override is None and (path in places or _nearest(places, path) is not None):
            found[path] = Leaf(path, leaf_value, _InText(reader, path, notes), Source.FILE, used)
            continue
        key = _InText(reader, path, notes).key if _nearest(places, path) is not None else None
        raw = applied[override] if override is not None else ""
        found[path] = Leaf(path, leaf_value, Nowhere(raw, key), Source.OVERRIDE, used)
    if via:
        _settle(found)
    return found


def _used(path: Path, leaf_value: Value, via: _Via) -> tuple[Path, ...]:
    if not isinstance(leaf_value, list):
        return via.get(path, ())
    used = list(via.get(path, ()))
    if leaf_value:
        for index in range(len(leaf_value)):
            used += via.get((*path, index), ())
    return tuple(dict.fromkeys(used))


def _settle(leaves: dict[Path, Leaf]) -> None:
    """Name leaves in `via`: an item of a list of scalars by its list, a mapping by the leaves below it."""
    for path, leaf in leaves.items():
        if not leaf.via or all(used in leaves for used in leaf.via):
            continue
        named: dict[Path, None] = {}
        for used in leaf.via:
            if (near := _nearest(leaves, used)) is not None:
                named[near] = None
            else:
                named.update(dict.fromkeys(other for other in leaves if other[: len(used)] == used))
        named.pop(path, None)
        leaves[path] = leaf._replace(via=tuple(named))


def _key_node(reader: Tree, path: Path) -> pyyaml.Node | None:
    for length in range(len(path), 0, -1):
        place = reader.places.get(path[:length])
        if place is not None and place.key is not None:
            return place.key
    return None


class _Sections(Mapping[Path, Span]):
    """Where the keys of mappings and of lists of mappings stand; worked out when it is asked for, as leaves are."""

    def __init__(self, tree: dict[str, Value], reader: Tree) -> None:
        self._tree, self._reader = tree, reader

    @cached_property
    def _found(self) -> dict[Path, Span]:
        return _sections(self._tree, self._reader)

    def __getitem__(self, path: Path) -> Span:
        return self._found[path]

    def __iter__(self) -> Iterator[Path]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _sections(tree: dict[str, Value], reader: Tree) -> dict[Path, Span]:
    found: dict[Path, Span] = {}
    todo: list[tuple[Path, Value]] = [((name,), below) for name, below in tree.items()]
    for path, node in todo:
        if is_leaf(node):
            continue
        place = reader.places.get(path)
        key = place.key if place is not None else None
        if key is None:
            near = _nearest(reader.places, path)
            key = _key_node(reader, near) if near is not None else None
        if key is not None:
            found[path] = reader.span(key)
        if isinstance(node, dict):
            todo += (((*path, name), below) for name, below in node.items())
        elif isinstance(node, list):
            todo += (((*path, index), below) for index, below in enumerate(node))
    return found
