"""One open file: what is wrong in it, its repairs, and what may be told and proposed at a place."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from ftmigrate.document.model import DocumentError, Position, Severity
from ftmigrate.linter import engine
from ftmigrate.linter.diagnostic import Diagnostic, Edit
from ftmigrate.linter.engine import Job, Result
from ftmigrate.linter.subject import Subject
from ftmigrate.run.model import Run
from ftmigrate.server import completion, hover, outline
from ftmigrate.server.places import Places
from ftmigrate.server.positions import Positions


class Action(NamedTuple):
    """A repair on offer. diagnostic: what it repairs; None for all that is safe at once."""

    title: str
    edits: tuple[Edit, ...]
    safe: bool
    diagnostic: Diagnostic | None = None


class File:
    """One state of a file's text. `before` is the state that the editor had before: it may be readable where this is not."""

    def __init__(self, name: str, source: str, job: Job, encoding: str = "utf-16", before: File | None = None) -> None:
        self.name, self.source, self.job = name, source, job
        self.positions = Positions(source, encoding)
        self.text = self.positions.lines.text
        self._before = before.nearest if before is not None else None

    @cached_property
    def result(self) -> Result | None:
        """What lint finds; None for a file that is no config of a framework known here."""
        return engine.lint(self._bytes(self.text), self.name, self.job, named=False)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        return self.result.diagnostics if self.result is not None else []

    @cached_property
    def subject(self) -> Subject | None:
        """The config as it can be read; None where it cannot, or is none."""
        return self._subject(self.text)

    @cached_property
    def nearest(self) -> Subject | None:
        """The config as it could last be read."""
        return self.subject or self._before

    @cached_property
    def run(self) -> Run | None:
        return self.subject.reader.run() if self.subject is not None else None

    # --- what an editor asks ------------------------------------------------------------------------------------

    def hover(self, at: Position) -> hover.Hover | None:
        if self.subject is not None and self.run is not None:
            return hover.hover(self.subject, self._places(self.subject), self.run, at)
        subject = self._around(at.line)
        return hover.broken(subject, self._places(subject), self.text, at) if subject is not None else None

    def complete(self, at: Position) -> list[completion.Item]:
        subject = self.subject or self._around(at.line)
        if subject is None:
            return []
        return completion.complete(subject, self.text, self.positions.lines.line(at.line), at)

    def actions(self, first: int, last: int) -> list[Action]:
        """The repairs of what is wrong in these lines, the safe ones first."""
        found = [
            Action(one.fix.title or "repair", one.fix.edits, one.fix.safe, one)
            for one in self.diagnostics
            if one.fix is not None and one.line <= last and one.end_line >= first
        ]
        return sorted(found, key=lambda action: not action.safe)

    def silence(self, first: int, last: int) -> list[Action]:
        """For each finding in these lines the comment that hides it."""
        found: list[Action] = []
        lines = self.positions.lines
        for one in self.diagnostics:
            line = lines.line(one.line)
            if one.severity is Severity.ERROR and self.subject is None:
                continue
            if first <= one.line <= last and line == outline.strip(line) and not line.endswith(("|", ">", "\\")):
                end = len(line) + 1
                edit = Edit(one.line, end, one.line, end, f"  # ftmigrate: ignore[{one.code}]")
                found.append(Action(f"hide {one.code} in this line", (edit,), True, one))
        return found

    def everything(self) -> Action | None:
        """All safe repairs in one edit of the whole text; None where nothing can be repaired safely."""
        if not any(one.fix is not None and one.fix.safe for one in self.diagnostics):
            return None
        result = engine.lint(self._bytes(self.text), self.name, self.job._replace(fix="safe"), named=False)
        if result is None or result.fixed is None:
            return None
        end = self.positions.lines.position(len(self.text))
        return Action("repair all that is safe", (Edit(1, 1, *end, result.fixed),), True)

    # --- reading what is half typed -----------------------------------------------------------------------------

    def _around(self, line: int) -> Subject | None:
        """The config without the line that is being typed, else as it could last be read, else what stands above."""
        lines = self.text.split("\n")
        blank = "\n".join("" if number == line else text for number, text in enumerate(lines, 1))
        return self._subject(blank) or self._before or self._subject("\n".join(lines[: line - 1]))

    def _subject(self, text: str) -> Subject | None:
        try:
            return engine.subject(self._bytes(text), self.name, self.job, named=False)
        except DocumentError:
            return None

    def _places(self, subject: Subject) -> Places:
        return Places(subject, outline.entries(self.text))

    def _bytes(self, text: str) -> bytes:
        return text.encode("utf-8", "surrogatepass")
