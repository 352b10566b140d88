"""What a check looks at: the text, the document, the pinned schema, and the run, each made when it is asked for."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from ftmigrate import schema
from ftmigrate.document.model import Document, Leaf, Path, Position, Source, Span, Unresolved
from ftmigrate.document.text import Lines
from ftmigrate.linter import edits
from ftmigrate.linter.diagnostic import Edit, Fix
from ftmigrate.linter.rules import Finding
from ftmigrate.run.model import NOT_APPLICABLE

if TYPE_CHECKING:
    from ftmigrate.document.model import Severity
    from ftmigrate.frameworks.reader import Context, Reader
    from ftmigrate.frameworks.registry import Framework
    from ftmigrate.frameworks.table import SourceSetting, Table
    from ftmigrate.run.model import Setting


@cache
def table(framework: str, version: str) -> Table:
    """A framework's table at a version, made once."""
    from ftmigrate.frameworks import registry

    return registry.get(framework).table(version)


class Subject:
    """One file that is linted as a config of one framework's version."""

    def __init__(self, document: Document, framework: Framework, version: str, context: Context | None = None) -> None:
        self.document = document
        self.framework = framework
        self.version = version
        self.context = context

    # --- knowledge ----------------------------------------------------------------------------------------------

    @cached_property
    def schema(self) -> schema.Schema:
        return schema.load(self.framework.name, self.version)

    @cached_property
    def lines(self) -> Lines:
        return Lines(self.document.text)

    @cached_property
    def reader(self) -> Reader:
        """The table's reading of the document; settings are read when they are asked for."""
        from ftmigrate.frameworks.reader import Context, Reader

        return Reader(table(self.framework.name, self.version), self.document, self.context or Context())

    @cached_property
    def sources(self) -> Sequence[Mapping[str, SourceSetting]]:
        """The settings of each data source."""
        return self.reader.table.sources.decode(self.reader)

    @cached_property
    def recipe(self) -> str | None:
        """Which of a framework's recipes the config is for, where it has recipes."""
        if not self.framework.layout.root.endswith(" "):
            return None
        return self.reader.recipe

    # --- values -------------------------------------------------------------------------------------------------

    def get(self, setting: str) -> Any:
        """A setting's value; None where it does not apply or only the run itself knows it."""
        value = self.reader.get(setting)
        return None if value is NOT_APPLICABLE or isinstance(value, Unresolved) else value

    def number(self, setting: str) -> float | int | None:
        """A setting's value if it is a number; one beyond what a float holds is infinite."""
        value = self.get(setting)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        return (
            value
            if not isinstance(value, int) or abs(value) <= sys.float_info.max
            else math.inf
            if value > 0
            else -math.inf
        )

    def setting(self, path: str) -> Setting:
        return self.reader.setting(path)

    def said(self, *settings: str) -> Leaf | None:
        """The first leaf that says one of these settings; None where all are defaults."""
        for path in settings:
            for leaf in self.setting(path).leaves:
                return self.document.leaves[leaf]
        return None

    def value(self, *path: str | int) -> Any:
        """The document's value at a path; None where there is none."""
        try:
            return self.document.at(path)
        except KeyError:
            return None

    def leaf(self, *path: str | int) -> Leaf | None:
        return self.document.leaves.get(path)

    # --- places -------------------------------------------------------------------------------------------------

    @property
    def start(self) -> Span:
        """The first key: where a finding about the whole file stands."""
        for leaf in self.document.leaves.values():
            top = self.document.sections.get(leaf.path[:1]) or leaf.key
            if top is not None:
                return top
        return Span(Position(1, 1), Position(1, 1))

    def key_span(self, path: Path) -> Span:
        """The key at a path, or the nearest one above that stands in the file."""
        for length in range(len(path), 0, -1):
            leaf = self.document.leaves.get(path[:length])
            found = leaf.key if leaf is not None else self.document.sections.get(path[:length])
            if found is not None:
                return found
        return self.start

    def value_span(self, path: Path) -> Span:
        """The value at a path; the key where it has no text, or is no leaf."""
        leaf = self.document.leaves.get(path)
        if leaf is not None and leaf.span is not None and leaf.span.start != leaf.span.end:
            return leaf.span
        return self.key_span(path)

    def span(self, at: Leaf | Path | Span | None, *, key: bool = False) -> Span:
        if at is None:
            return self.start
        if isinstance(at, Span):
            return at
        path = at.path if isinstance(at, Leaf) else at
        return self.key_span(path) if key else self.value_span(path)

    # --- findings -----------------------------------------------------------------------------------------------

    def finding(
        self,
        code: str,
        at: Leaf | Path | Span | None,
        message: str,
        *,
        key: bool = False,
        fix: Fix | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """A finding at a leaf's value (or its key), a path, a span, or (None) at the top of the file."""
        return Finding(code, self.span(at, key=key), message, fix, severity)

    def editable(self, path: Path) -> Leaf | None:
        """The leaf at a path if the file's own text says it, and says it there."""
        leaf = self.document.leaves.get(path)
        if leaf is None or leaf.source is not Source.FILE or leaf.span is None or leaf.key is None:
            return None
        return leaf

    def replace(self, path: Path, text: str, *, safe: bool, title: str = "") -> Fix | None:
        """A fix that puts other text in a value's place."""
        leaf = self.editable(path)
        if leaf is None or leaf.via or isinstance(leaf.value, list | dict):
            return None
        assert leaf.span is not None
        if leaf.span.start.line != leaf.span.end.line:
            return None
        text = f" {text}" if leaf.span.start == leaf.span.end else text
        return Fix((edits.replace(leaf.span, text),), safe, title or f"write {text.strip()}")

    def item_span(self, path: Path, item: str) -> Span | None:
        """Where an item of a list stands, if it is written as it is, and once."""
        leaf = self.editable(path)
        if leaf is None or leaf.via or leaf.span is None:
            return None
        found = [one.start() for one in re.finditer(rf"(?<![\w.-]){re.escape(item)}(?![\w.-])", leaf.raw)]
        if len(found) != 1:
            return None
        start = self.lines.offset(leaf.span.start) + found[0]
        return Span(self.lines.position(start), self.lines.position(start + len(item)))

    def replace_item(self, path: Path, item: str, text: str) -> Fix | None:
        """A fix that puts other text in the place of an item of a list."""
        span = self.item_span(path, item)
        return Fix((edits.replace(span, text),), False, f"write {text}") if span is not None else None

    def rename(self, path: Path, name: str, *, safe: bool) -> Fix | None:
        """A fix that gives a key another name, unless one of that name stands beside it."""
        span = self.key_span(path)
        parent = self.value(*path[:-1]) if len(path) > 1 else self.document.tree
        if not isinstance(parent, dict) or name in parent or path[-1] not in parent:
            return None
        if self.text(span).strip("'\"") != path[-1]:
            return None
        return Fix((edits.replace(span, name),), safe, f"rename it to {name}")

    def swap(self, path: Path) -> Fix | None:
        """A fix that writes `key: value` as `value: key`."""
        renamed = self.rename(path, str(self.value(*path)), safe=False)
        replaced = self.replace(path, str(path[-1]), safe=False)
        if renamed is None or replaced is None:
            return None
        return Fix((*renamed.edits, *replaced.edits), False, f"write {self.value(*path)}: {path[-1]}")

    def remove(self, path: Path, *, safe: bool) -> Fix | None:
        """A fix that takes a key with all below it out of the file."""
        found = edits.remove(self, path)
        if found is None:
            return None
        edit, comment = found
        return Fix((edit,), safe and not comment, f"remove {path[-1]}")

    def text(self, span: Span) -> str:
        return self.document.text[self.lines.offset(span.start) : self.lines.offset(span.end)]


__all__ = ["Edit", "Subject"]
