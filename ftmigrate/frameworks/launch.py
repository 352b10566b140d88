"""A command that starts a training run, in the words that all frameworks share."""

from __future__ import annotations

from msgspec import Struct

from ftmigrate.document.model import Position, Unresolved
from ftmigrate.scripts.shell import Argument


class Launch(Struct, frozen=True):
    """A launch command as its framework reads it.

    config is a path or the name of a config that the framework ships. world_size is the number of processes on all
    nodes; None where the command does not tell. overrides are as the framework's launcher takes them, unknown parts
    marked. text is the command as written, on one line. notes say what of the command is not known or has no effect;
    refused says why the launcher itself does not start anything.
    """

    framework: str
    config: str | Unresolved
    recipe: str | Unresolved | None
    world_size: int | None
    nodes: int | None
    overrides: tuple[Argument, ...]
    text: str
    position: Position
    notes: tuple[str, ...] = ()
    refused: str | None = None
