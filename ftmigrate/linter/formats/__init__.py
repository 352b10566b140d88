"""How findings are told: each format is a module with `render(Report) -> str`, loaded when it is asked for."""

from __future__ import annotations

from typing import NamedTuple

from ftmigrate.linter.diagnostic import Diagnostic

FORMATS = ("text", "json", "sarif", "github", "junit")


class Report(NamedTuple):
    """What is told: the findings of all files, in order, and how many files there were."""

    diagnostics: list[Diagnostic]
    files: int
    repaired: int = 0


def render(report: Report, form: str) -> str:
    """The report in one of the formats that are for machines."""
    from importlib import import_module

    found: str = import_module(f"ftmigrate.linter.formats.{form}").render(report)
    return found
