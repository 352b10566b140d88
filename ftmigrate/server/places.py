"""Which keys and values may stand at a place of a config, from the pinned schema of its version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import yaml

from ftmigrate.document.model import Path
from ftmigrate.linter import scopes, types
from ftmigrate.linter.edits import quoted
from ftmigrate.linter.scopes import Scope
from ftmigrate.linter.subject import Subject
from ftmigrate.schema import Facts
from ftmigrate.server.outline import Entry, strip, unquoted

if TYPE_CHECKING:
    from ftmigrate.json_schema.components import Components

Ways = tuple[Facts, ...]
_MAPPINGS = frozenset(("dict", "Mapping", "Dict"))
_LISTS = frozenset(("list", "set", "Sequence", "Iterable", "List", "tuple"))


class Where(NamedTuple):
    """A mapping's keys, each with the facts of the sections that have it; component: the callable it names."""

    keys: Mapping[str, Ways]
    what: str
    required: tuple[str, ...] = ()
    component: str | None = None


class Places:
    """The mappings of one config. Components are taken from the text, as it may be newer than what could be read."""

    def __init__(self, subject: Subject, text: list[Entry]) -> None:
        self.subject = subject
        self.layout = subject.framework.layout
        self.at = (subject.framework.name, subject.version)
        self.named = {
            entry.path[:-1]: unquoted(strip(entry.value)) for entry in text if entry.path[-1] == self.layout.component
        }

    def root(self) -> Where | None:
        if not self.layout.root.endswith(" "):
            listed = self.subject.document.tree.get(self.layout.plugins or "")
            names = tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()
            return _where(scopes.config(*self.at, self.layout, names))
        recipe = self.subject.recipe
        if recipe is None or self.subject.schema.facts(self.layout.root + recipe) is None:
            return None
        return _where(scopes.recipe(*self.at, self.layout.root, recipe))

    def mapping(self, path: Path) -> Where | None:
        """The mapping at a path; None where the schema describes none."""
        found = self.root()
        index = 0
        while found is not None and index < len(path):
            key = path[index]
            index += 1
            while index < len(path) and isinstance(path[index], int):
                index += 1
            ways = found.keys.get(key) if isinstance(key, str) else None
            found = self._below(ways, path[:index]) if ways is not None else None
        return found

    def ways(self, path: Path) -> Ways:
        """The facts of the key at a path; those of the list for one of its items. Empty for an unknown one."""
        while path and isinstance(path[-1], int):
            path = path[:-1]
        found = self.mapping(path[:-1]) if path else None
        return found.keys.get(str(path[-1]), ()) if found is not None else ()

    def values(self, path: Path) -> list[str]:
        """The values that the schema allows at a path, as they are written; empty where it names none."""
        if path and path[-1] == self.layout.component:
            return list(suiting(*self.at, ".".join(part for part in path[:-1] if isinstance(part, str))))
        item = bool(path) and isinstance(path[-1], int)
        found = (_written(value) for facts in self.ways(path) for value in _values(facts, item=item))
        return list(dict.fromkeys(found))

    def _below(self, ways: Ways, path: Path) -> Where | None:
        names = tuple(dict.fromkeys(name for facts in ways for name in scopes.references(facts)))
        if names:
            return _where(scopes.models(*self.at, names, f"`{path[0]}`"))
        name = self.named.get(path) or (
            self.subject.schema.supplied(self.layout, str(path[0])) if len(path) == 1 else None
        )
        demands = None
        if self.subject.recipe is not None:
            parent = ".".join(part for part in path if isinstance(part, str))
            demands = scopes.recipe(*self.at, self.layout.root, self.subject.recipe, parent)
        if self.layout.component and (name or any(facts.get("component") for facts in ways)):
            return self._component(name, demands)
        return _where(demands) if demands is not None and demands.keys else None

    def _component(self, name: str | None, demands: Scope | None) -> Where:
        selector = self.layout.component or ""
        keys: dict[str, Ways] = {selector: ({"type": "str", "required": True},)}
        required: tuple[str, ...] = (selector,)
        scope = scopes.component(*self.at, self.layout, name) if name else None
        if scope is not None:
            given = scopes.injected(*self.at, self.layout.root)
            keys |= {key: ways for key, ways in scope.keys.items() if key not in given and not _given(ways)}
            keys[selector] = ({"type": "str", "required": True},)
            required += scope.required
        for key, ways in (demands.keys if demands is not None else {}).items():
            if scope is None or key in scope.keys:
                keys[key] = (*ways, *keys.get(key, ()))
        return Where(keys, f"`{name}`" if name else "a component", required, name)


def _where(scope: Scope) -> Where:
    keys = {key: ways for key, ways in scope.keys.items() if not scope.prefix or not key.startswith(scope.prefix)}
    return Where(keys or scope.keys, scope.what, scope.required)


def _given(ways: Ways) -> bool:
    """Whether a component gets the argument from whoever builds it."""
    return all(facts.get("required") and not scopes.sayable(facts) for facts in ways)


@cache
def _components(framework: str, version: str) -> Components:
    from ftmigrate.frameworks import registry
    from ftmigrate.json_schema.components import Components
    from ftmigrate.json_schema.sections import Definitions, Sections
    from ftmigrate.schema import load

    return Components(Sections(load(framework, version), registry.get(framework).layout, Definitions()))


@cache
def suiting(framework: str, version: str, key: str) -> tuple[str, ...]:
    """The components that suit a key."""
    return tuple(_components(framework, version).suiting(key))


def is_list(ways: Ways) -> bool:
    return any(bool(facts.get("list")) or _alone(facts, _LISTS) for facts in ways)


def is_mapping(ways: Ways) -> bool:
    return any(
        bool(facts.get("component")) or bool(scopes.references(facts)) or _alone(facts, _MAPPINGS) for facts in ways
    )


def _alone(facts: Facts, names: frozenset[str]) -> bool:
    """Whether a type has no alternative but null."""
    kinds = {member.name for member in types.union(str(facts.get("type", "any")))} - {"None"}
    return bool(kinds) and kinds <= names


def _values(facts: Facts, *, item: bool) -> Iterator[object]:
    """item: the facts are those of the list that the value is to stand in."""
    members = types.union(str(facts.get("type", "any")))
    if item:
        members = tuple(one for member in members if member.name in _LISTS and member.args for one in member.args[0])
    for member in members:
        if member.name == "Literal":
            yield from member.args
        elif member.name == "bool":
            yield from (True, False)
    listed = any(member.name in _LISTS for member in members)
    if not listed:
        yield from facts.get("enum") or ()
    if not item and any(member.name == "None" for member in members):
        yield None


def _written(value: object) -> str:
    """A value as YAML; text in quotes where it would be read as something else."""
    if value is None:
        return "null"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    try:
        plain = yaml.safe_load(value) == value
    except yaml.YAMLError:
        plain = False
    return value if plain else quoted(value)


def removed(ways: Ways) -> bool:
    return bool(ways) and all(facts.get("removed") or "refused" in facts for facts in ways)
