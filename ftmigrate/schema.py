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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

Facts: TypeAlias = Mapping[str, Any]
SECTION = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a framework's config is put together from sections, and how strictly its values are read.

    `root` is the section of the top level; ending in a blank, the prefix of sections of which a config follows one.
    `plugins` is the key that lists plugins, each with the section `plugin PATH` of further top-level keys.
    `component` is the key that names a callable, whose parameters are the section `component PATH`.
    `lax`: numbers and booleans may be written as text. `interpolated`: `${...}` may stand for any value.
    """

    root: str = "config"
    plugins: str | None = None
    component: str | None = None
    lax: bool = False
    interpolated: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of one framework's schema."""

    framework: str
    version: str
    sections: Mapping[str, Mapping[str, Facts]]

    def keys(self, section: str) -> Mapping[str, Facts]:
        """The keys of a section with their facts; empty for an unknown section."""
        return self.sections.get(section, {})

    def facts(self, section: str) -> Facts | None:
        """Facts about the section itself; None for a section this version does not have."""
        return self._about.get(section)

    @property
    def _about(self) -> Mapping[str, Facts]:
        return {name: keys[SECTION] for name, keys in self.sections.items() if SECTION in keys}


class UnknownVersion(Exception):
    """No schema of this version is pinned; `known` lists those that are, oldest first."""

    def __init__(self, framework: str, version: str, known: list[str]) -> None:
        super().__init__(f"{framework} {version} is not among the versions known here: {', '.join(known)}")
        self.known = known


def _directory() -> Path:
    shipped = Path(__file__).parent / "_schemas"
    return shipped if shipped.is_dir() else Path(__file__).parent.parent / "schemas"


@cache
def table(framework: str) -> dict[str, Any]:
    """The whole range table of a framework, as stored."""
    text = (_directory() / f"{framework}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def versions(framework: str) -> list[str]:
    """The pinned versions, oldest first."""
    return list(table(framework)["versions"])


@cache
def load(framework: str, version: str | None = None) -> Schema:
    """The schema at `version`, the newest by default. Raises UnknownVersion."""
    data = table(framework)
    known: list[str] = data["versions"]
    if version is None:
        version = known[-1]
    if version not in known:
        raise UnknownVersion(framework, version, known)
    order = {name: index for index, name in enumerate(known)}
    at = order[version]
    sections: dict[str, dict[str, Facts]] = {}
    for section, keys in data["sections"].items():
        found: dict[str, Facts] = {}
        for key, ranges in keys.items():
            for since, until, facts in ranges:
                if order[since] <= at and (until is None or at < order[until]):
                    found[key] = facts
                    break
        if found:
            sections[section] = found
    return Schema(framework, version, sections)
