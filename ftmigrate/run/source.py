"""What a framework's dataset construct decodes to: the settings of one entry of `data.sources`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Location:
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
