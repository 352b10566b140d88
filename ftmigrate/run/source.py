"""What a framework's dataset construct decodes to: the settings of one entry of `data.sources`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Struct

from ftmigrate.run.columns import column_names
from ftmigrate.run.model import NOT_APPLICABLE
from ftmigrate.run.rendering import Rendering


class Location(Struct, frozen=True):
    """Where rows come from.

    path: a hub dataset id, or a local file or directory. format: the loader of local files (json, csv, text, parquet,
    arrow), None for a hub id. files: the data files where there are several (path is then the format's name).
    """

    path: str
    format: str | None = None
    files: tuple[str, ...] = ()


class Decoded(NamedTuple):
    """A decoded setting's value, the arguments of the construct that it came from, and what grounds it if unclear."""

    value: object
    args: tuple[str, ...] = ()
    why: str = ""


def with_columns(decoded: Mapping[str, Decoded], names_column: Callable[[str], bool]) -> dict[str, Decoded]:
    """A source's settings with `columns` besides; arguments that only name a column feed that and no longer the text."""
    texts = [decoded[name] for name in ("text", "rejected") if name in decoded]
    texts = [text for text in texts if text.value is not NOT_APPLICABLE]
    found: object = NOT_APPLICABLE
    if all(isinstance(text.value, Rendering) for text in texts):
        found = tuple(dict.fromkeys(name for text in texts for name in column_names(text.value)))  # type: ignore[arg-type]
    naming = tuple(dict.fromkeys(arg for text in texts for arg in text.args if names_column(arg)))
    if found is NOT_APPLICABLE:
        naming = ()
    rest = {
        name: Decoded(value, tuple(arg for arg in args if arg not in naming), why)
        for name, (value, args, why) in decoded.items()
    }
    return {**rest, "columns": Decoded(found, naming)}
