"""JUnit XML: a test suite a file, a test case a finding; files without one pass as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from ftmigrate.document.model import Severity
from ftmigrate.linter.diagnostic import Diagnostic
from ftmigrate.linter.formats import Report


def render(report: Report) -> str:
    failures = sum(one.severity is not Severity.INFO for one in report.diagnostics)
    suites = [_suite(path, list(found)) for path, found in groupby(report.diagnostics, lambda one: one.path)]
    clean = report.files - len(suites)
    if clean > 0 or not suites:
        cases = '    <testcase classname="ftmigrate" name="files without a finding"/>\n'
        suites.append(f'  <testsuite name="ftmigrate" tests="1" failures="0" errors="0">\n{cases}  </testsuite>\n')
    tests = len(report.diagnostics) + (clean > 0 or not report.diagnostics)
    head = f'<testsuites name="ftmigrate lint" tests="{tests}" failures="{failures}" errors="0">\n'
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + head + "".join(suites) + "</testsuites>\n"


def _suite(path: str, found: list[Diagnostic]) -> str:
    failures = sum(one.severity is not Severity.INFO for one in found)
    head = f'  <testsuite name={_attribute(path)} tests="{len(found)}" failures="{failures}" errors="0">\n'
    return head + "".join(_cases(found)) + "  </testsuite>\n"


def _cases(found: Iterable[Diagnostic]) -> Iterable[str]:
    for one in found:
        name = _attribute(f"{one.code} {one.name} {one.line}:{one.column}")
        text = escape(_clean(f"{one.path}:{one.line}:{one.column}: {one.message}"))
        if one.severity is Severity.INFO:
            body = f"<system-out>{text}</system-out>"
        else:
            body = f'<failure type="{one.severity}" message={_attribute(one.message)}>{text}</failure>'
        yield f"    <testcase classname={_attribute(one.path)} name={name}>{body}</testcase>\n"


def _attribute(text: str) -> str:
    return quoteattr(_clean(text))


def _clean(text: str) -> str:
    """Without the characters that XML has no way to write."""
    return "".join(
        c for c in text if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
    )
