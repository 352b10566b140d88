"""What the linter tells: a finding with its exact place, and the edits that repair it."""

from __future__ import annotations

from typing import Any, NamedTuple

from ftmigrate.document.model import Severity

RANK = {Severity.ERROR: 2, Severity.WARNING: 1, Severity.INFO: 0}


class Edit(NamedTuple):
    """A stretch of text, lines and columns from 1, the end exclusive, and what is to stand there."""

    line: int
    column: int
    end_line: int
    end_column: int
    text: str

    def json(self) -> dict[str, Any]:
        return self._asdict()


class Fix(NamedTuple):
    """Edits that belong together. safe: the run stays what the file says, and no comment is lost."""

    edits: tuple[Edit, ...]
    safe: bool
    title: str = ""

    def json(self) -> dict[str, Any]:
        return {"safe": self.safe, "edits": [edit.json() for edit in self.edits]}


class Diagnostic(NamedTuple):
    """One finding. `source` is the line it stands in, for showing."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    code: str
    name: str
    severity: Severity
    message: str
    fix: Fix | None = None
    source: str = ""

    def json(self) -> dict[str, Any]:
        """The contract's form."""
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
            "code": self.code,
            "name": self.name,
            "severity": str(self.severity),
            "message": self.message,
            "fix": None if self.fix is None else self.fix.json(),
        }


def summary(diagnostics: list[Diagnostic]) -> dict[str, int]:
    """How many there are of each severity."""
    found = dict.fromkeys(("error", "warning", "info"), 0)
    for one in diagnostics:
        found[str(one.severity)] += 1
    return found
