"""The Python API, and what all commands share: finding out what a file is, and reading it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftmigrate.conversion import Conversion
from ftmigrate.conversion import convert as convert_document
from ftmigrate.document.model import Document, DocumentError
from ftmigrate.frameworks import registry, versions
from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.reader import read as read_document
from ftmigrate.frameworks.registry import Framework
from ftmigrate.run.model import Run

STDIN = "-"


class UnreadableError(Exception):
    """The input cannot be worked on: no such file, or no framework's config."""


@dataclass(frozen=True, slots=True)
class Input:
    """A parsed file with the framework and version it is read as; `version_from` says how the version is known."""

    document: Document
    framework: Framework
    version: str
    version_from: str

    def run(self, context: Context) -> Run:
        return read_document(self.framework.table(self.version), self.document, context)


def load(path: str, framework: str | None = None, overrides: Sequence[str] = ()) -> Input:
    """Read and parse a file (`-`: standard input). Without a framework it is found from the content.

    Raises UnreadableError, DocumentError, registry.UnknownFramework, schema.UnknownVersion.
    """
    data, name = _bytes(path)
    if framework is not None:
        found, version = registry.resolve(framework)
        document = found.parse(data, name, overrides)
        if "@" in framework:
            return Input(document, found, version, "told")
        version, source = versions.find(found, None if path == STDIN else Path(path))
        return Input(document, found, version, source)
    found, document = detect(data, name, overrides)
    version, source = versions.find(found, None if path == STDIN else Path(path))
    return Input(document, found, version, source)


def detect(data: bytes, name: str, overrides: Sequence[str] = ()) -> tuple[Framework, Document]:
    """The framework whose config this most surely is. Raises UnreadableError, or DocumentError if nobody can parse it."""
    best: tuple[int, Framework, Document] | None = None
    failure: DocumentError | None = None
    for candidate in registry.names():
        framework = registry.get(candidate)
        try:
            document = framework.parse(data, name, ())
        except DocumentError as error:
            failure = failure or error
            continue
        score = framework.detect(document)
        if score and (best is None or score > best[0]):
            best = (score, framework, document)
    if best is None:
        if failure is not None:
            raise failure
        known = ", ".join(registry.names())
        raise UnreadableError(f"{name} is no config of a framework known here ({known}); name one with --from")
    _, framework, document = best
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
) -> Run:
    """The complete run a config describes."""
    return load(path, framework, overrides).run(Context(recipe, world_size, rows))


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
) -> Conversion:
    """Convert a config; nothing is written to disk. `to` and `framework` are NAME or NAME@VERSION."""
    source = load(path, framework, overrides)
    target = registry.resolve(to)
    name = out or default_name(path, target[0])
    context = Context(recipe, world_size, rows)
    return convert_document(source.document, (source.framework, source.version), target, context, name, exact=exact)


def default_name(path: str, target: Framework) -> str:
    """The name of the target file where none is told: `8B_lora.yaml` becomes `8B_lora.axolotl.yaml`."""
    stem = "config" if path == STDIN else Path(path).stem
    return f"{stem}.{target.name}.yaml"
