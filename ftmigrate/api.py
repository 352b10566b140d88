"""The Python API, and what all commands share: finding out what a file is, and reading it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from ftmigrate import launches
from ftmigrate.conversion import Conversion
from ftmigrate.conversion import convert as convert_document
from ftmigrate.document.model import Document, DocumentError, Launched
from ftmigrate.frameworks import registry, versions
from ftmigrate.frameworks.launch import Launch
from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.reader import read as read_document
from ftmigrate.frameworks.registry import Framework
from ftmigrate.launches import COMMAND
from ftmigrate.launches import SeveralCommands as SeveralCommands
from ftmigrate.launches import UnreadableError as UnreadableError
from ftmigrate.run.model import Run
from ftmigrate.scripts import is_script

if TYPE_CHECKING:
    from ftmigrate.linter.diagnostic import Diagnostic

STDIN = "-"


class Input(Struct, frozen=True):
    """A parsed file with the framework and version it is read as; `version_from` says how the version is known."""

    document: Document
    framework: Framework
    version: str
    version_from: str

    def run(self, context: Context) -> Run:
        """The complete run. Raises schema.UnknownRecipe."""
        registry.check_recipe(self.framework, self.version, context.recipe)
        return read_document(self.framework.table(self.version), self.document, context)


def load(path: str, framework: str | None = None, overrides: Sequence[str] = (), number: int | None = None) -> Input:
    """Read and parse a file (`-`: standard input). Without a framework it is found from the content.

    A launch command, or a script, notebook or Makefile that holds one, is opened as the config it names; `number` picks
    one of several. Raises UnreadableError, DocumentError, registry.UnknownFramework, schema.UnknownVersion.
    """
    if launches.is_command(path):
        found = launches.find(path.encode("utf-8", "replace"), COMMAND)
        if not found:
            raise UnreadableError(f"{path}: no such file, and no launch command known here")
        return launched(launches.pick(found, COMMAND, number), COMMAND, framework, overrides)
    data, name = _bytes(path)
    if number is not None or is_script(name, data):
        found = launches.find(data, name)
        if not found:
            raise UnreadableError(f"{name} holds no launch command known here")
        return launched(launches.pick(found, name, number), name, framework, overrides)
    try:
        return _config(data, name, path, framework, overrides)
    except (UnreadableError, DocumentError):
        try:
            found = launches.find(data, name)
        except DocumentError:
            found = []
        if not found:
            raise
    return launched(launches.pick(found, name, number), name, framework, overrides)


def launched(launch: Launch, name: str, framework: str | None, overrides: Sequence[str]) -> Input:
    """The config that a launch command names, as `launches.open_launch` opens it."""
    return Input(*launches.open_launch(launch, name, framework, overrides))


def _config(data: bytes, name: str, path: str, framework: str | None, overrides: Sequence[str]) -> Input:
    if framework is not None:
        found, version = registry.resolve(framework)
        document = found.parse(data, name, overrides)
        if "@" in framework:
            return Input(document, found, version, "told")
        version, source = versions.find(found, None if path == STDIN else Path(path), document)
        return Input(document, found, version, source)
    found, document = detect(data, name, overrides)
    version, source = versions.find(found, None if path == STDIN else Path(path), document)
    return Input(document, found, version, source)


def detect(
    data: bytes, name: str, overrides: Sequence[str] = (), among: Sequence[str] | None = None
) -> tuple[Framework, Document]:
    """The framework (of those in `among`) whose config this most surely is.

    Raises UnreadableError, or DocumentError if nobody can parse it.
    """
    found = registry.detect(data, name, registry.names() if among is None else among)
    if found is None:
        known = ", ".join(registry.names())
        raise UnreadableError(f"{name} is no config of a framework known here ({known}); name one with --from")
    framework, document = found
    return framework, framework.parse(data, name, overrides) if overrides else document


def _bytes(path: str) -> tuple[bytes, str]:
    if path == STDIN:
        return sys.stdin.buffer.read(), "<stdin>"
    try:
        return Path(path).read_bytes(), path
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}") from error


def read(
    path: str,
    framework: str | None = None,
    *,
    overrides: Sequence[str] = (),
    recipe: str | None = None,
    world_size: int | None = None,
    rows: int | None = None,
    number: int | None = None,
) -> Run:
    """The complete run a config describes."""
    return load(path, framework, overrides, number).run(Context(recipe, world_size, rows))


def convert(
    path: str,
    to: str,
    framework: str | None = None,
    *,
    out: str | None = None,
    overrides: Sequence[str] = (),
    recipe: str | None = None,
    world_size: int | None = None,
    rows: int | None = None,
    exact: bool = False,
    number: int | None = None,
) -> Conversion:
    """Convert a config; nothing is written to disk. `to` and `framework` are NAME or NAME@VERSION."""
    source = load(path, framework, overrides, number)
    target = registry.resolve(to)
    name = out or default_name(path, target[0], source.document.launch)
    context = Context(recipe, world_size, rows)
    registry.check_recipe(source.framework, source.version, recipe)
    return convert_document(source.document, (source.framework, source.version), target, context, name, exact=exact)


def lint(
    path: str,
    framework: str | None = None,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    recipe: str | None = None,
    world_size: int | None = None,
    rows: int | None = None,
) -> list[Diagnostic]:
    """What is wrong in a config; empty also for a file that is no config of a framework known here.

    Codes and their prefixes are selected and ignored. Raises UnreadableError for a file that cannot be opened.
    """
    from ftmigrate.linter import engine

    data, name = _bytes(path)
    job = engine.Job(framework, tuple(select), tuple(ignore), context=Context(recipe, world_size, rows))
    found = engine.lint(data, name, job)
    return found.diagnostics if found is not None else []


def default_name(path: str, target: Framework, launch: Launched | None = None) -> str:
    """The name of the target file where none is told: `8B_lora.yaml` becomes `8B_lora.axolotl.yaml`.

    A launch command gives its config's name, a script its own.
    """
    stem = "config" if path == STDIN else Path(path).stem
    if launch is not None and (path == STDIN or launch.place.name == COMMAND):
        stem = Path(launch.config).name.removesuffix(".yaml").removesuffix(".yml")
    return f"{stem}.{target.name}.yaml"
