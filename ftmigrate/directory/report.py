"""The ledgers of many files as one JSON document, written as they come so that memory stays flat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ftmigrate import __version__
from ftmigrate.files import atomic


class Report:
    """`{"ftmigrate", "files": [ledger, ...], "problems": [...], "summary"}`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._problems: list[Mapping[str, Any]] = []
        self._first = True
        stream.write(f'{{"ftmigrate": {json.dumps(__version__)}, "files": [')

    def add(self, ledger: str) -> None:
        """A ledger as JSON text."""
        self._stream.write(("\n" if self._first else ",\n") + ledger)
        self._first = False

    def problem(self, found: Mapping[str, Any]) -> None:
        """A file that has no ledger."""
        self._problems.append(found)

    def end(self, summary: Mapping[str, Any]) -> None:
        problems = json.dumps(self._problems, ensure_ascii=False)
        self._stream.write(f'\n], "problems": {problems},\n"summary": {json.dumps(summary)}}}\n')


@contextmanager
def reports(path: Path | None, stdout: TextIO | None, force: bool) -> Iterator[list[Report]]:
    """The reports wanted: in a file, that appears only when it is whole, and on standard output."""
    found = [Report(stdout)] if stdout else []
    if path is None:
        yield found
        return
    with atomic(path, force=force) as stream:
        yield [*found, Report(stream)]
