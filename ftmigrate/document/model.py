"""The positioned tree that every parser produces and every reader consumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from msgspec import Struct, field

Key: TypeAlias = str | int
Path: TypeAlias = tuple[Key, ...]
Scalar: TypeAlias = "str | int | float | bool | Unresolved | None"
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"


class Position(NamedTuple):
    """A place in the text; line and column count from 1, columns in characters."""

    line: int
    column: int


class Span(NamedTuple):
    """A half-open stretch of text: `end` is the position after the last character."""

    start: Position
    end: Position


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Diagnostic(Struct, frozen=True):
    """One finding about the text itself. `related` is the other place it is about, if any."""

    code: str
    message: str
    position: Position
    severity: Severity = Severity.ERROR
    related: Position | None = None


class DocumentError(Exception):
    """The text cannot be read as the framework reads it; nothing may be made of it."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


PLACEHOLDER = "TODO: "
"""How a value begins that a human has to fill in."""


class Unresolved(Struct, frozen=True):
    """A value that only the run itself knows (an environment variable, a resolver, `???`): its expression's text."""

    expression: str

    def __str__(self) -> str:
        return self.expression


class Place(NamedTuple):
    """Where something stands outside of a document's own text."""

    name: str
    position: Position


class Launched(Struct, frozen=True):
    """What the command that starts a run says beside its config; None where it does not tell."""

    command: str
    place: Place
    config: str
    recipe: str | None = None
    processes: int | None = None
    nodes: int | None = None
    notes: tuple[str, ...] = ()


class Source(StrEnum):
    FILE = "file"
    OVERRIDE = "override"


class Stands(Protocol):
    """What was written, and where. `key` and `span` are None only for what an override says.

    `comment` is the comment at the end of the value's own line, without the `#`.
    """

    @property
    def raw(self) -> str: ...
    @property
    def key(self) -> Span | None: ...
    @property
    def span(self) -> Span | None: ...
    @property
    def comment(self) -> str | None: ...


class Nowhere(Struct, frozen=True):
    """What stands in no text; an override may have a key there."""

    raw: str = ""
    key: Span | None = None
    span: Span | None = None
    comment: str | None = None


class Leaf(NamedTuple):
    """A scalar, a list of scalars, or an empty collection, with where it stands.

    `value` is what the framework sees (interpolations and overrides applied); `raw` is what was written.
    `via` names the leaves whose values flowed in by interpolation. `said` is where an override stands that was found in
    a file of commands.
    """

    path: Path
    value: Value
    stands: Stands
    source: Source = Source.FILE
    via: tuple[Path, ...] = ()
    said: Place | None = None

    @property
    def raw(self) -> str:
        return self.stands.raw

    @property
    def key(self) -> Span | None:
        return self.stands.key

    @property
    def span(self) -> Span | None:
        return self.stands.span

    @property
    def comment(self) -> str | None:
        return self.stands.comment


class Document(Struct, frozen=True):
    """A parsed file: the tree as the framework sees it, and its leaves in the order of the text.

    `header` holds the comment lines before the first key (without `#`); `warnings` are findings that do not
    prevent reading (a duplicate key that the framework's loader lets win silently; one of error severity is where
    the framework reads the file but stops when it comes to the value).
    `sections` gives the span of the key of each mapping or list of mappings. `launch` is the command that names this
    config, where it was read through one. `marked`: the file begins with a byte order mark, which is not in `text`.
    """

    name: str
    text: str
    tree: dict[str, Value]
    leaves: Mapping[Path, Leaf]
    header: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    sections: Mapping[Path, Span] = field(default_factory=dict)
    launch: Launched | None = None
    marked: bool = False

    def __contains__(self, path: Path) -> bool:
        try:
            self.at(path)
        except KeyError:
            return False
        return True

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.warnings if found.severity is Severity.ERROR)

    def at(self, path: Path) -> Value:
        """The subtree at `path`. Raises KeyError where there is none (a null value is there, and is None)."""
        node: Value = self.tree
        for key in path:
            try:
                node = node[key]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                raise KeyError(format_path(path)) from None
        return node

    def below(self, path: Path) -> Iterator[Leaf]:
        """The leaves at or under `path`, in the order of the text."""
        n = len(path)
        return (leaf for leaf in self.leaves.values() if leaf.path[:n] == path)


def format_path(path: Path) -> str:
    """`("a", "b", 0, "c")` as `a.b[0].c`."""
    out = ""
    for key in path:
        out += f"[{key}]" if isinstance(key, int) else f".{key}" if out else key
    return out


CONTAINERS = (dict, list)


def is_leaf(value: Value) -> bool:
    """Whether `value` is one leaf: a scalar, a list of scalars only, or an empty collection."""
    if isinstance(value, dict):
        return not value
    if isinstance(value, list):
        return not any(isinstance(item, CONTAINERS) for item in value)
    return True


def walk(value: Value, path: Path = ()) -> Iterator[tuple[Path, Value]]:
    """Every leaf of a plain tree, with its path."""
    if is_leaf(value):
        if path:
            yield path, value
        return
    assert isinstance(value, dict | list)
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        below = (*path, key)
        if isinstance(item, CONTAINERS):
            yield from walk(item, below)
        else:
            yield below, item


def from_tree(tree: dict[str, Value], name: str = "", header: tuple[str, ...] = ()) -> Document:
    """A document without text, for a tree that is about to be written below the comment lines of `header`."""
    leaves = {path: Leaf(path, value, Nowhere()) for path, value in walk(tree)}
    return Document(name, "", tree, leaves, header)
