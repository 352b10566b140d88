"""Launch commands as input: found in a text, and opened as the config they name with what they say beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from ftmigrate import scripts
from ftmigrate.document.codes import Code
from ftmigrate.document.model import Document, DocumentError, Launched, Leaf, Place, Source, Unresolved
from ftmigrate.document.references import split_key
from ftmigrate.frameworks import registry, versions
from ftmigrate.frameworks.launch import Launch
from ftmigrate.frameworks.registry import Framework
from ftmigrate.scripts import Argument

COMMAND = "<command>"


class UnreadableError(Exception):
    """The input cannot be worked on: no such file, or no framework's config."""


class SeveralCommands(UnreadableError):
    """A file starts several runs, and none of them was picked."""

    def __init__(self, name: str, found: Sequence[Launch]) -> None:
        lines = [f"  {number}  line {one.position.line}: {shorten(one.text)}" for number, one in enumerate(found, 1)]
        head = (
            f"{name} holds {len(found)} launch commands; pick one with --command N, or convert all with -o DIRECTORY:"
        )
        super().__init__("\n".join([head, *lines]))
        self.name = name
        self.found = tuple(found)


def shorten(text: str) -> str:
    return text if len(text) <= 110 else text[:107] + "..."


def is_command(path: str) -> bool:
    """Whether an argument is a command itself, and no path."""
    return len(path.split()) > 1 and not os.path.exists(path)


def find(data: bytes, name: str) -> list[Launch]:
    """The launch commands of all frameworks in a file, in the order of the text. Raises DocumentError."""
    hooks = [hook for known in registry.names() if (hook := registry.get(known).launch) is not None]
    found = []
    for command in scripts.read(data, name):
        found += [launch for hook in hooks if (launch := hook(command)) is not None][:1]
    return found


def pick(found: Sequence[Launch], name: str, number: int | None) -> Launch:
    """The one command there is, or the one with this number, from 1. Raises UnreadableError."""
    if number is None:
        if len(found) > 1:
            raise SeveralCommands(name, found)
        return found[0]
    if not 1 <= number <= len(found):
        count = f"{len(found)} launch command{'' if len(found) == 1 else 's'}"
        raise UnreadableError(f"{name} holds {count}; there is no number {number}")
    return found[number - 1]


def open_launch(
    launch: Launch, name: str, told: str | None, overrides: Sequence[str]
) -> tuple[Document, Framework, str, str]:
    """The config that a command names, its overrides and those given beside it applied; with framework and version.

    Raises UnreadableError, DocumentError, registry.UnknownFramework, schema.UnknownVersion.
    """
    framework = registry.get(launch.framework)
    where = name if name == COMMAND else f"{name}:{launch.position.line}"
    if told is not None and registry.resolve(told)[0] is not framework:
        raise UnreadableError(f"{where}: this command is {framework.title}'s, not {told}'s: {shorten(launch.text)}")
    if launch.refused is not None:
        raise UnreadableError(f"{where}: {framework.title} starts nothing: {launch.refused}: {shorten(launch.text)}")
    if isinstance(launch.config, Unresolved):
        why = "only the shell knows which config that is; convert the config itself, with --set for each override"
        raise UnreadableError(f"{where}: --config {launch.config}: {why}")
    beside = Path.cwd() / "command" if name == COMMAND else Path(name)
    version, source = versions.find(framework, beside)
    if told is not None and "@" in told:
        version, source = registry.resolve(told)[1], "told"
    arguments = [*(argument.text for argument in launch.overrides), *overrides]
    document = _shipped(launch, framework, version, arguments)
    if document is None:
        document = _file(launch, framework, version, arguments, beside, where)
        if source != "told":
            version, source = versions.find(framework, beside, document)
    return _with_launch(document, launch, name, len(overrides)), framework, version, source


def _shipped(launch: Launch, framework: Framework, version: str, arguments: Sequence[str]) -> Document | None:
    if framework.shipped is None:
        return None
    try:
        return framework.shipped(str(launch.config), version, arguments)
    except DocumentError as error:
        raise _placed(error, launch) from None


def _placed(error: DocumentError, launch: Launch) -> DocumentError:
    """A refused override, at the place where it stands in the command."""
    for argument in launch.overrides:
        if f"`{argument.plain}`" in error.diagnostic.message:
            return DocumentError(replace(error.diagnostic, position=argument.position))
    return DocumentError(replace(error.diagnostic, position=launch.position))


def _file(
    launch: Launch, framework: Framework, version: str, arguments: Sequence[str], beside: Path, where: str
) -> Document:
    path = _path(str(launch.config), beside)
    if path is None:
        hint = framework.shipped_hint(str(launch.config), version)
        said = f"neither a config that {framework.title} {version} ships nor a file here"
        raise UnreadableError(f"{where}: --config {launch.config}: {said}" + (f"; {hint}" if hint else ""))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}") from error
    try:
        return framework.parse(data, str(path), arguments)
    except DocumentError as error:
        found = error.diagnostic
        if found.code == Code.OVERRIDE:
            raise _placed(error, launch) from None
        place = f"{path}:{found.position.line}:{found.position.column}"
        raise UnreadableError(f"{place}: {found.severity}: {found.message} [{found.code}]") from None


def _path(config: str, beside: Path) -> Path | None:
    """A config's file: from the working directory, else from the script's and those above it, up to the repository."""
    own = Path(os.path.expanduser(config))
    if own.is_absolute() or os.path.isfile(own):
        return own if os.path.isfile(own) else None
    folder = Path(os.path.abspath(beside)).parent
    for place in (folder, *folder.parents):
        if os.path.isfile(place / own):
            return Path(os.path.relpath(place / own)) if place.is_relative_to(Path.cwd()) else place / own
        if (place / ".git").exists():
            break
    return None


def _with_launch(document: Document, launch: Launch, name: str, more: int) -> Document:
    """The document with the command it was read through, and the place of each override in it."""
    recipe = None if isinstance(launch.recipe, Unresolved) else launch.recipe
    launched = Launched(
        launch.text,
        Place(name, launch.position),
        str(launch.config),
        recipe,
        launch.world_size,
        launch.nodes,
        launch.notes,
    )
    leaves = dict(document.leaves)
    if not more or launch.overrides:
        for path, leaf in leaves.items():
            if leaf.source is Source.OVERRIDE and (said := _saying(leaf, launch.overrides)) is not None:
                leaves[path] = leaf._replace(said=Place(name, said.position))
    return replace(document, leaves=leaves, launch=launched)


def _saying(leaf: Leaf, overrides: Sequence[Argument]) -> Argument | None:
    """The last override whose key is the leaf's, stands above it, or is a part of it."""
    path = tuple(str(step) for step in leaf.path)
    for argument in reversed(overrides):
        key, equals, raw = argument.plain.partition("=")
        if not equals or raw != leaf.raw:
            continue
        steps = tuple(split_key(key))
        length = min(len(steps), len(path))
        if path[:length] == steps[:length]:
            return argument
    return None
