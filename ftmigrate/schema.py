"""The pinned schemas: what each version of a framework accepts, generated from its releases and shipped as data.

`schemas/<framework>.json` is one range table::

    {"framework": "...", "versions": ["0.6.1", "main"],
     "sections": {"<section>": {"<key>": [[since, until, facts], ...]}}}

A section is one set of keys (a recipe's, a component's parameters, a config class). `until` is exclusive, null for
"still there". The key "" holds facts about the section itself. Facts, all optional but `type`:

* `type`: normalised annotation, such as `int | None`, `list[str]`; `any` where the source gives none
* `default`: the declared default (absent when there is none), `required`: true
* `enum`: the allowed values, `ref`: the section that describes a nested mapping or each item of a list
* `deprecated`, `removed`: true or the replacement's text as data (a key name), never prose
* `expression`: the default's source text where it is no literal
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import Struct

Facts: TypeAlias = Mapping[str, Any]
SECTION = ""
COMPONENT = "component "
"""What the name of a section of a component's parameters begins with."""


class Layout(Struct, frozen=True):
    """How a framework's config is put together from sections, and how strictly its values are read.

    `root` is the section of the top level; ending in a blank, the prefix of sections of which a config follows one.
    `plugins` is the key that lists plugins, each with the section `plugin PATH` of further top-level keys.
    `component` is the key that names a callable, whose parameters are the section `component PATH`.
    `supplied`: keys at which the program names the component where a file names none, each with a component; of
    several the one that the version has.
    `called`: the parameters of a function of another library that components hand further arguments on to.
    `beside`: the keys that an extension in a module beside the config adds, as (end of its name, key, type).
    `lax`: numbers and booleans may be written as text. `interpolated`: `${...}` may stand for any value.
    """

    root: str = "config"
    plugins: str | None = None
    component: str | None = None
    supplied: tuple[tuple[str, str], ...] = ()
    called: tuple[tuple[str, tuple[str, ...]], ...] = ()
    beside: tuple[tuple[str, str, str], ...] = ()
    lax: bool = False
    interpolated: bool = False


class Schema(Struct, frozen=True):
    """One version of one framework's schema."""

    framework: str
    version: str
    sections: Mapping[str, Mapping[str, Facts]]

    def supplied(self, layout: Layout, key: str) -> str | None:
        """The component that the program puts at a key where a file names none."""
        return next((path for at, path in layout.supplied if at == key and COMPONENT + path in self.sections), None)

    def names(self, prefix: str) -> list[str]:
        """The sections whose names begin so; cheaper than going through all of them."""
        if isinstance(self.sections, _Sections):
            return self.sections.names(prefix)
        return [name for name in self.sections if name.startswith(prefix)]

    def keys(self, section: str) -> Mapping[str, Facts]:
        """The keys of a section with their facts; empty for an unknown section."""
        try:
            return self.sections[section]
        except KeyError:
            return {}

    def facts(self, section: str) -> Facts | None:
        """Facts about the section itself; None for a section this version does not have."""
        return self.keys(section).get(SECTION)


class _Sections(Mapping[str, Mapping[str, Facts]]):
    """The sections of one version, each decoded when it is asked for: most reads need a few of hundreds."""

    def __init__(self, texts: Mapping[str, str], order: Mapping[str, int], at: int) -> None:
        self._texts, self._order, self._at = texts, order, at
        self._found: dict[str, Mapping[str, Facts]] = {}
        self._names: dict[str, list[str]] = {}

    def __getitem__(self, name: str) -> Mapping[str, Facts]:
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._decode(self._texts[name])
        if not found:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._texts if self._has(name))

    def __len__(self) -> int:
        return sum(self._has(name) for name in self._texts)

    def names(self, prefix: str) -> list[str]:
        """Looked for once a prefix: every file that is linted asks for those of its recipes."""
        found = self._names.get(prefix)
        if found is None:
            found = self._names[prefix] = [name for name in self._texts if name.startswith(prefix) and self._has(name)]
        return found

    def _has(self, name: str) -> bool:
        """Whether the version has the section; most say so by the facts about themselves, which stand first."""
        if name in self._found:
            return bool(self._found[name])
        first = self._texts[name].partition("\n")[0].rstrip(",")
        if first.startswith('"": ') and self._decode(first):
            return True
        return bool(self.get(name))

    def _decode(self, text: str) -> dict[str, Facts]:
        keys: dict[str, Facts] = {}
        for key, ranges in json.loads(f"{{{text}}}").items():
            for since, until, facts in ranges:
                if self._order[since] <= self._at and (until is None or self._at < self._order[until]):
                    keys[key] = facts
                    break
        return keys


class UnknownVersion(Exception):
    """No schema of this version is pinned; `known` lists those that are, oldest first."""

    def __init__(self, framework: str, version: str, known: list[str]) -> None:
        super().__init__(f"{framework} {version} is not among the versions known here: {', '.join(known)}")
        self.known = known


class UnknownRecipe(Exception):
    """The schema has no such recipe, or no recipes at all."""

    def __init__(self, schema: Schema, name: str, known: list[str]) -> None:
        from difflib import get_close_matches

        close = get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]}?" if close else "."
        what = f"Known: {', '.join(known)}." if known else "It has one schema for all configs."
        super().__init__(f"{schema.framework} {schema.version} has no recipe {name}{hint} {what}")


def recipes(schema: Schema, layout: Layout) -> list[str]:
    """The recipes that a config may be for; none where every config starts from one section."""
    if not layout.root.endswith(" "):
        return []
    return sorted(name.removeprefix(layout.root) for name in schema.names(layout.root))


def _directory() -> Path:
    shipped = Path(__file__).parent / "_schemas"
    return shipped if shipped.is_dir() else Path(__file__).parent.parent / "schemas"


def _text(framework: str) -> str:
    return (_directory() / f"{framework}.json").read_text(encoding="utf-8")


@cache
def companion(framework: str, name: str) -> dict[str, Any]:
    """Further facts of a framework, kept beside its schema."""
    found: dict[str, Any] = json.loads((_directory() / f"{framework}.{name}.json").read_text(encoding="utf-8"))
    return found


@cache
def table(framework: str) -> dict[str, Any]:
    """The whole range table of a framework, as stored."""
    loaded: dict[str, Any] = json.loads(_text(framework))
    return loaded


@cache
def _parts(framework: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The table's head, and its sections still as text: the layout, a line a key, is that of tools/schema_store.py."""
    head, _, body = _text(framework).partition(',\n"sections": {\n')
    sections = {}
    for block in body.removesuffix("\n}\n}\n}\n").split("\n},\n"):
        name, _, keys = block.partition(": {\n")
        sections[json.loads(name) if "\\" in name else name[1:-1]] = keys
    return json.loads(head + "}"), sections


def versions(framework: str) -> list[str]:
    """The pinned versions, oldest first."""
    return list(_parts(framework)[0]["versions"])


@cache
def load(framework: str, version: str | None = None) -> Schema:
    """The schema at `version`, the newest by default. Raises UnknownVersion."""
    head, texts = _parts(framework)
    known: list[str] = head["versions"]
    if version is None:
        version = known[-1]
    if version not in known:
        raise UnknownVersion(framework, version, known)
    order = {name: index for index, name in enumerate(known)}
    return Schema(framework, version, _Sections(texts, order, order[version]))
