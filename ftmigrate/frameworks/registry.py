"""Finding frameworks by name, lazily: the built-in ones by module name, others through entry points."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct, field

from ftmigrate import schema

if TYPE_CHECKING:
    from ftmigrate.document.edit import Edit
    from ftmigrate.document.model import Document, Path, Unresolved, Value
    from ftmigrate.frameworks.launch import Launch
    from ftmigrate.frameworks.table import Table
    from ftmigrate.linter.rules import RuleSet
    from ftmigrate.run.model import Run
    from ftmigrate.scripts.shell import Command as ShellCommand

ENTRY_POINTS = "ftmigrate.frameworks"


class Command(Struct, frozen=True):
    """A command the user runs; `purpose` completes "to …"."""

    purpose: str
    line: str


Editor: TypeAlias = (
    "Callable[[Document, Mapping[str, Value], Mapping[Path, Path], Mapping[Path, Path]], tuple[str, tuple[Edit, ...]]]"
)


class Framework(Struct, frozen=True):
    """What the core needs of a framework.

    parse reads a file as the framework itself loads it. table gives its table at a version. detect scores how sure it
    is that a document is one of its configs (0: it is not). commands are those that run and finish a run.
    placeholder gives a required key's value where it is not known. written: the versions whose behaviour the table
    holds well enough to write for. layout tells how the schema's sections make up a
    config. mark is a pattern that the text of each of its configs holds (so that a file without it need not be parsed),
    mark_word a part of it that is looked for before.
    launch reads a shell command that may start one of its runs. shipped gives a config that the framework itself ships,
    by its name, at a version and with overrides; shipped_hint what may have been meant where there is none. edit
    rewrites a config's own text into one that reads as a wanted tree (`document.edit.rewrite` in its dialect), which
    makes its configs upgradable. rules gives the lint rules of its own. sizes tells the sizes of a config's model where
    they follow from the config alone, by the names of `verify.tiny_model.sizes`, and its `family`.
    architecture gives the config.json of a base model that its catalogue knows by name, seen from a config's path.
    beside gives the files that a config names and that must stand beside it, by name; start_beside is what its commands
    begin with then ({folder}: where they stand).
    """

    name: str
    title: str
    table: Callable[[str], Table]
    parse: Callable[[bytes, str, Sequence[str]], Document]
    detect: Callable[[Document], int]
    commands: Callable[[Run, str], tuple[Command, ...]]
    placeholder: Callable[[str, Unresolved], Value]
    status: str
    writes: bool = False
    written: tuple[str, ...] = ()
    mark: str = ""
    mark_word: str = ""
    launch: Callable[[ShellCommand], Launch | None] | None = None
    shipped: Callable[[str, str, Sequence[str]], Document | None] | None = None
    shipped_hint: Callable[[str, str], str] = lambda _name, _version: ""
    layout: schema.Layout = field(default_factory=schema.Layout)
    edit: Editor | None = None
    rules: Callable[[], RuleSet] | None = None
    architecture: Callable[[str, str], Mapping[str, Any] | None] | None = None
    sizes: Callable[[Document, str], Mapping[str, Value] | None] | None = None
    beside: Callable[[Document], Mapping[str, str]] = lambda _document: {}
    start_beside: str = ""

    def versions(self) -> list[str]:
        return schema.versions(self.name)

    @property
    def newest(self) -> str:
        """The newest released version (a snapshot of a branch is never chosen unasked)."""
        return [version for version in self.versions() if version[:1].isdigit()][-1]


class UnknownFramework(Exception):
    def __init__(self, name: str) -> None:
        from difflib import get_close_matches

        close = get_close_matches(name, names(), 1)
        hint = f"; did you mean {close[0]}?" if close else "."
        super().__init__(f"{name} is no framework known here{hint} Known: {', '.join(names())}.")


@cache
def names() -> tuple[str, ...]:
    """The built-in frameworks."""
    places = os.scandir(os.path.dirname(__file__))
    return tuple(sorted(one.name for one in places if os.path.isfile(os.path.join(one.path, "__init__.py"))))


@cache
def get(name: str) -> Framework:
    """A framework by name. Raises UnknownFramework."""
    if name in names():
        found: Framework = importlib.import_module(f"ftmigrate.frameworks.{name}").FRAMEWORK
        return found
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=name):
        loaded: Framework = point.load()
        return loaded
    raise UnknownFramework(name)


def check_recipe(framework: Framework, version: str, told: str | None) -> None:
    """Raises schema.UnknownRecipe for a recipe that a version of a framework with recipes does not have."""
    if told is None:
        return
    from ftmigrate.document.model import from_tree

    pinned = schema.load(framework.name, version)
    known = schema.recipes(pinned, framework.layout)
    name, _ = framework.table(version).recipe_of(from_tree({}), told)
    if known and name not in known:
        raise schema.UnknownRecipe(pinned, told, known)


def check_recipe_of_any(source: str | None, told: str | None) -> None:
    """The same for files whose framework (unless `source` tells it) and versions are not known yet."""
    missing: schema.UnknownRecipe | None = None
    for name in [source] if source else names():
        framework, version = resolve(name)
        for one in dict.fromkeys((version, *(() if "@" in name else framework.versions()))):
            if not schema.recipes(schema.load(framework.name, one), framework.layout):
                break
            try:
                check_recipe(framework, one, told)
            except schema.UnknownRecipe as error:
                missing = missing or error
            else:
                return
    if missing is not None:
        raise missing


def detect(data: bytes, name: str, among: Sequence[str]) -> tuple[Framework, Document] | None:
    """The framework (of those in `among`) whose config this most surely is, and the config; None if it is nobody's.

    Raises DocumentError if it is nobody's and one of them cannot parse it.
    """
    from ftmigrate.document.model import DocumentError

    best: tuple[int, Framework, Document] | None = None
    failure: DocumentError | None = None
    for candidate in among:
        framework = get(candidate)
        try:
            document = framework.parse(data, name, ())
        except DocumentError as error:
            failure = failure or error
            continue
        score = framework.detect(document)
        if score and (best is None or score > best[0]):
            best = (score, framework, document)
    if best is None and failure is not None:
        raise failure
    return best[1:] if best is not None else None


def resolve(text: str) -> tuple[Framework, str]:
    """`NAME[@VERSION]` as framework and version. Raises UnknownFramework, schema.UnknownVersion."""
    name, _, version = text.partition("@")
    framework = get(name)
    version = version or framework.newest
    if version not in framework.versions():
        raise schema.UnknownVersion(name, version, framework.versions())
    return framework, version
