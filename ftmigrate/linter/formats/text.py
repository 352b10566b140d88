"""Text for people: the place, the message, the source line with a caret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftmigrate.document.model import Severity
from ftmigrate.linter.diagnostic import Diagnostic, summary
from ftmigrate.linter.formats import Report

if TYPE_CHECKING:
    from ftmigrate.cli.common import Paint

_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}
_WIDE = 160


def finding(one: Diagnostic, paint: Paint) -> str:
    """One finding with its line."""
    style = _STYLES[one.severity]
    head = f"{paint(f'{one.path}:{one.line}:{one.column}', 'bold')}: {paint(str(one.severity), style)} "
    fix = "" if one.fix is None else " [--fix]" if one.fix.safe else " [--unsafe-fixes]"
    lines = [f"{head}{one.code} {one.name}: {one.message}{paint(fix, 'dim')}"]
    if one.source.strip():
        lines += _shown(one, paint, style)
    return "\n".join(lines) + "\n"


def _shown(one: Diagnostic, paint: Paint, style: str) -> list[str]:
    source = one.source.expandtabs(1)
    start = one.column - 1
    end = one.end_column - 1 if one.end_line == one.line else len(source)
    if len(source) > _WIDE:
        cut = max(0, start - _WIDE // 3)
        source, start, end = source[cut : cut + _WIDE], start - cut, min(end - cut, _WIDE)
    number = f"{one.line:5} | "
    caret = " " * (len(number) + start) + paint("^" * max(1, end - start), style)
    return [paint(number, "dim") + source, caret]


def closing(report: Report) -> str:
    """The line below all findings."""
    found = summary(report.diagnostics)
    said = ", ".join(f"{count} {_plural(word, count)}" for word, count in found.items() if count)
    files = f"{report.files} {'config' if report.files == 1 else 'configs'}"
    repaired = f"; {report.repaired} repaired" if report.repaired else ""
    fixable = sum(one.fix is not None and one.fix.safe for one in report.diagnostics)
    more = f" ({fixable} can be repaired with --fix)" if fixable else ""
    return f"{files}: {said or 'nothing wrong'}{more}{repaired}"


def _plural(word: str, count: int) -> str:
    return "of interest" if word == "info" else word if count == 1 else word + "s"


def statistics(report: Report) -> str:
    """How often each rule was broken, the most frequent first."""
    counts: dict[tuple[str, str, str], int] = {}
    for one in report.diagnostics:
        key = (one.code, one.name, str(one.severity))
        counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{count:6} {code:7} {severity:8} {name}\n" for (code, name, severity), count in ranked)
