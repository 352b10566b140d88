"""Annotations of GitHub Actions: a workflow command a finding."""

from __future__ import annotations

from ftmigrate.document.model import Severity
from ftmigrate.linter.formats import Report

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(report: Report) -> str:
    lines = []
    for one in report.diagnostics:
        end = f",endColumn={one.end_column}" if one.end_line == one.line else ""
        place = f"file={_property(one.path)},line={one.line},endLine={one.end_line},col={one.column}{end}"
        title = _property(f"{one.code} {one.name}")
        lines.append(f"::{_LEVELS[one.severity]} {place},title={title}::{_data(one.message)}")
    return "".join(line + "\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
