"""Which keys a config of a framework may hold at a version, each with a document around it: from its schema alone."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from msgspec import Struct, field

from ftmigrate import schema
from ftmigrate.document.model import Path, Value, format_path, from_tree
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context, Reader
from ftmigrate.frameworks.registry import Framework
from ftmigrate.frameworks.table import to_path
from ftmigrate.json_schema.components import Components
from ftmigrate.json_schema.sections import PLUGIN, Definitions, Sections
from ftmigrate.schema import COMPONENT, SECTION, Facts, Schema

CONVERTED = ("sft",)
"""Methods whose recipes are held to the whole of it; other recipes' keys are only counted."""


class Place(Struct, frozen=True):
    """A key that a config may hold: where it stands, what the schema says of it, and the document around it."""

    path: Path
    section: str
    facts: Facts
    recipe: str | None = None
    around: Mapping[str, Value] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """As a table names it: items of a list without their number."""
        return re.sub(r"\[\d+\]", "[]", format_path(self.path))

    def tree(self, value: Value) -> dict[str, Value]:
        """The document that holds this value here."""
        root = copy.deepcopy(dict(self.around))
        put(root, self.path, value)
        return root


def put(root: Any, path: Path, value: Value) -> None:
    """Set a value in a plain tree, making what is missing on the way."""
    for key, following in pairwise(path):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(key, int):
            if len(root) <= key:
                root.append(empty)
        elif not isinstance(root.get(key), dict | list):
            root[key] = empty
        root = root[key]
    if isinstance(path[-1], int) and len(root) <= path[-1]:
        root.append(value)
    else:
        root[path[-1]] = value


class Holds(Struct, frozen=True):
    """The keys that configs of one framework at one version may hold."""

    framework: Framework
    version: str

    @property
    def pinned(self) -> Schema:
        return schema.load(self.framework.name, self.version)

    def roots(self) -> list[str]:
        """The sections of which a config follows one."""
        root = self.framework.layout.root
        several = root.endswith(" ")
        return [name for name in self.pinned.sections if (name.startswith(root) if several else name == root)]

    def recipe(self, section: str) -> str | None:
        root = self.framework.layout.root
        return section.removeprefix(root) if root.endswith(" ") else None

    def of(self, section: str) -> Iterator[Place]:
        """The keys of a root section, of the components and mappings under them, and of plugins."""
        recipe = self.recipe(section)
        for key, facts in self.pinned.keys(section).items():
            if key == SECTION:
                continue
            yield from self._below(Place(to_path(key), section, facts, recipe), ())
        for name, keys in self.pinned.sections.items():
            if not name.startswith(PLUGIN) or self.framework.layout.plugins is None:
                continue
            about = keys.get(SECTION, {})
            listed = {} if about.get("builtin") else {self.framework.layout.plugins: [about.get("plugin")]}
            for key, facts in keys.items():
                if key != SECTION:
                    yield from self._below(Place((key,), name, facts, recipe, listed), ())

    def _below(self, place: Place, seen: tuple[str, ...]) -> Iterator[Place]:
        yield place
        about = place.facts
        head: Path = (*place.path, 0) if about.get("list") else place.path
        for name in [*([about["ref"]] if "ref" in about else ()), *about.get("refs", ())]:
            keys = self.pinned.keys(name) if name not in seen else {}
            prefix = keys.get(SECTION, {}).get("prefix", "")
            for key, facts in keys.items():
                for spelled in dict.fromkeys((key, prefix + key.removeprefix(prefix))) if key != SECTION else ():
                    nested = Place((*head, spelled), name, facts, place.recipe, place.around)
                    yield from self._below(nested, (*seen, name))
        if about.get("component"):
            for path in self.components.suiting(str(place.path[-1])):
                yield from self.arguments(place, path)

    def arguments(self, place: Place, path: str) -> Iterator[Place]:
        """What a config may give a component that stands at a place."""
        selector = self.framework.layout.component or ""
        around: dict[str, Value] = {}
        put(around, (*place.path, selector), path)
        given = place.facts.get("injects", {})
        for key, facts in self.components.paths[path].items():
            if key == SECTION or key in given.get("keywords", ()):
                continue
            if given.get("positional") and facts.get("required") and not self.components.sections.types.of(facts):
                continue
            yield Place((*place.path, key), f"{COMPONENT}{path}", facts, place.recipe, around)

    @property
    def components(self) -> Components:
        return _components(self.framework.name, self.version)


@cache
def _components(name: str, version: str) -> Components:
    framework = registry.get(name)
    return Components(Sections(schema.load(name, version), framework.layout, Definitions()))


def is_converted(framework: Framework, version: str, section: str) -> bool:
    holds = Holds(framework, version)
    reader = Reader(framework.table(version), from_tree({}), Context(recipe=holds.recipe(section)))
    return reader.get("method.name") in CONVERTED


def changed_keys(framework: Framework, version: str) -> frozenset[str]:
    """The keys of a version that the newest version has not, or has with other facts."""
    newest = {(place.key, place.section, repr(place.facts)) for place in places(framework, framework.versions()[-1])}
    now = {(place.key, place.section, repr(place.facts)) for place in places(framework, version)}
    return frozenset(key for key, _, _ in now - newest)


@cache
def places(framework: Framework, version: str) -> tuple[Place, ...]:
    """The keys of all recipes that are converted; what several recipes have in common once."""
    holds = Holds(framework, version)
    found: dict[tuple[str, str, str], Place] = {}
    for section in holds.roots():
        if is_converted(framework, version, section):
            for place in holds.of(section):
                mark = "" if place.section.startswith(COMPONENT) else place.recipe or ""
                found.setdefault((mark, place.section, place.key), place)
    return tuple(found.values())
