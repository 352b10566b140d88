"""What becomes of one file of a directory. Runs in a worker: what goes in and comes out is small and plain."""

from __future__ import annotations

import functools
import json
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ftmigrate import api
from ftmigrate.audit.causes import Cause, causes
from ftmigrate.conversion import Conversion, convert
from ftmigrate.directory.walk import marked
from ftmigrate.document.codes import Code
from ftmigrate.document.model import Document, DocumentError
from ftmigrate.frameworks import registry, versions
from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.registry import Framework
from ftmigrate.run.compare import Verdict


class Outcome(StrEnum):
    """What becomes of a file, from best to worst."""

    ALREADY = "already"
    FULL = "full"
    APPROXIMATE = "approximate"
    DROPPED = "dropped"
    MANUAL = "manual"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    FAULT = "fault"


WORDS = {
    Outcome.ALREADY: "of the target's framework already",
    Outcome.FULL: "converts fully",
    Outcome.APPROXIMATE: "converts approximately",
    Outcome.DROPPED: "converts with losses",
    Outcome.MANUAL: "needs work by hand",
    Outcome.REFUSED: "not convertible",
    Outcome.UNREADABLE: "cannot be read",
    Outcome.FAULT: "a fault of ours",
}
CONVERTED = (Outcome.FULL, Outcome.APPROXIMATE, Outcome.DROPPED, Outcome.MANUAL)
_OTHERS = (Code.EMPTY, Code.NOT_A_MAPPING, Code.MULTIPLE_DOCUMENTS)  # whole YAML, and no framework's config
_LOSSY = {
    Verdict.APPROXIMATE: Outcome.APPROXIMATE,
    Verdict.DROPPED: Outcome.DROPPED,
    Verdict.MANUAL: Outcome.MANUAL,
}


class Job(Struct, frozen=True):
    """What is wanted of every file. `ledger` and `page`: also the ledger as JSON, what the HTML page shows."""

    root: str
    target: str
    source: str | None = None
    overrides: tuple[str, ...] = ()
    context: Context = field(default_factory=Context)
    exact: bool = False
    ledger: bool = False
    page: bool = False


class Item(Struct, frozen=True):
    """A file of the directory, and the path its result is to have."""

    path: str
    out: str


class Line(Struct, frozen=True):
    """One ledger entry for the page: what it is about, and the lines of source and target it connects."""

    verdict: str
    source_path: str | None
    target_paths: tuple[str, ...]
    line: int | None
    lines: tuple[int, ...]
    note: str


class Result(Struct, frozen=True):
    """What became of one file. `line` is where it cannot be read; files are the texts to write."""

    path: str
    outcome: Outcome
    framework: str = ""
    version: str = ""
    recipe: str | None = None
    reason: str = ""
    line: int | None = None
    code: str = ""
    summary: dict[str, int] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    warnings: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    ledger: str | None = None
    text: str = ""
    lines: tuple[Line, ...] = ()

    def json(self) -> dict[str, Any]:
        """What is always known of a file."""
        return {
            "path": self.path,
            "outcome": str(self.outcome),
            "framework": self.framework or None,
            "version": self.version or None,
            "recipe": self.recipe,
            "reason": self.reason or None,
            "line": self.line,
            "summary": self.summary,
        }


def examine(job: Job, item: Item) -> Result | None:
    """Read and convert one file; nothing is written. None: it is no config of a framework known here. Never raises."""
    try:
        return _examine(job, item)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return Result(item.path, Outcome.FAULT, reason=f"{type(error).__name__}: {error} ({place})")


def lost(item: Item) -> Result:
    """The result for a file over which the worker's process died."""
    return Result(item.path, Outcome.FAULT, reason="the process that worked on it died")


def _examine(job: Job, item: Item) -> Result | None:
    path = Path(job.root) / item.path
    try:
        data = path.read_bytes()
    except OSError as error:
        return Result(item.path, Outcome.UNREADABLE, reason=error.strerror or str(error))
    try:
        source, document = api.detect(data, path.as_posix(), job.overrides, marked(data))
    except api.UnreadableError:
        return None
    except DocumentError as error:
        found = error.diagnostic
        if found.code in _OTHERS:
            return None
        return Result(item.path, Outcome.UNREADABLE, reason=found.message, line=found.position.line, code=found.code)
    wanted, _, told = (job.source or "").partition("@")
    if wanted and source.name != wanted:
        return None
    pin = _pinned(source.name, path.resolve().parent)
    version = told or (pin or versions.unpinned(source, document))[0]
    target = registry.resolve(job.target)
    result = Result(item.path, Outcome.ALREADY, source.name, version)
    if not wanted and source.name == target[0].name:
        return result
    made = convert(document, (source, version), target, job.context, item.out, exact=job.exact)
    return _told(result, job, made, document, source)


@functools.cache
def _pinned(framework: str, folder: Path) -> tuple[str, str] | None:
    return versions.pinned(registry.get(framework), folder)


def _told(result: Result, job: Job, made: Conversion, document: Document, source: Framework) -> Result:
    worst = max((entry.verdict for entry in made.ledger.entries), default=Verdict.INERT)
    result = replace(
        result,
        outcome=Outcome.REFUSED if made.refused else _LOSSY.get(worst, Outcome.FULL),
        recipe=made.source.recipe,
        reason=made.refused or "",
        summary=made.ledger.summary(),
        causes=causes(made, document, source.layout.component),
        warnings=tuple(f"line {found.position.line}: {found.message}" for found in document.warnings),
        commands=tuple((command.purpose, command.line) for command in made.commands),
        files=dict(made.files),
        ledger=json.dumps(made.ledger.json(), ensure_ascii=False) if job.ledger else None,
    )
    if not job.page:
        return result
    lines = tuple(
        Line(
            entry.verdict.word,
            entry.source_path,
            entry.target_paths,
            entry.line,
            tuple(dict.fromkeys(made.lines[path] for path in entry.target_paths if path in made.lines)),
            "" if made.refused and entry.note == made.refused else entry.note,
        )
        for entry in made.ledger.entries
    )
    return replace(result, text=document.text, lines=lines)
