"""SARIF 2.1.0, as code scanning services take it."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from ftmigrate import __version__
from ftmigrate.document.model import Severity
from ftmigrate.linter import pages
from ftmigrate.linter.diagnostic import Diagnostic, Edit, Fix
from ftmigrate.linter.formats import Report
from ftmigrate.linter.rules import Rule, every

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
HOME = "https://github.com/ftmigrate/ftmigrate"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render(report: Report) -> str:
    codes = sorted({one.code for one in report.diagnostics})
    known = {rule.code: rule for rule, _ in every()}
    driver = {
        "name": "ftmigrate",
        "version": __version__,
        "informationUri": HOME,
        "rules": [_rule(known[code]) for code in codes],
    }
    results = [_result(one, codes.index(one.code)) for one in report.diagnostics]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    found = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    page = pages.find(rule.code)
    return {
        "id": rule.code,
        "name": "".join(part.title() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.name.replace("-", " ")},
        "fullDescription": {"text": page.summary},
        "help": {"text": page.text, "markdown": page.text},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(one: Diagnostic, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": one.code,
        "ruleIndex": index,
        "level": _LEVELS[one.severity],
        "message": {"text": one.message},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(one.path), "region": _region(one)}}],
    }
    if one.fix is not None:
        found["fixes"] = [_fix(one.path, one.fix)]
    return found


def _fix(path: str, fix: Fix) -> dict[str, Any]:
    changes = [{"deletedRegion": _region(edit), "insertedContent": {"text": edit.text}} for edit in fix.edits]
    return {
        "description": {"text": fix.title or "repair"},
        "artifactChanges": [{"artifactLocation": _artifact(path), "replacements": changes}],
    }


def _artifact(path: str) -> dict[str, str]:
    return {"uri": quote(PurePath(path).as_posix())}


def _region(at: Diagnostic | Edit) -> dict[str, int]:
    return {"startLine": at.line, "startColumn": at.column, "endLine": at.end_line, "endColumn": at.end_column}
