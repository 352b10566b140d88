"""What can be seen of rows that lie on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ftmigrate.run.model import Run
from ftmigrate.run.source import Location

_NAME = re.compile(r"<\|?[^<>\s]{1,40}\|?>|\[/?[A-Z_]{2,40}\]")
"""What looks like the name of a special token, whichever the tokenizer."""


def may_hold_names(run: Run) -> bool:
    """Whether rows may hold names of special tokens: yes, but where all of them are here and none does."""
    return any(_holds(path) for index in range(run.sources) for path in _files(run[f"data.sources[{index}].location"]))


def _files(location: object) -> Iterator[Path | None]:
    """The files of rows; None for those that are elsewhere, or in another form than JSON."""
    names = (location.files or (location.path,)) if isinstance(location, Location) else ("",)
    for name in names:
        path = Path(name)
        yield path if path.suffix in (".json", ".jsonl") and path.is_file() else None


def _holds(path: Path | None) -> bool:
    if path is None:
        return True
    with path.open(encoding="utf-8", errors="replace") as file:
        return any(_NAME.search(line) for line in file)
