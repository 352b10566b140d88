"""The contract's JSON."""

from __future__ import annotations

import json

from ftmigrate import __version__
from ftmigrate.linter.diagnostic import summary
from ftmigrate.linter.formats import Report


def render(report: Report) -> str:
    found = {
        "ftmigrate": __version__,
        "diagnostics": [one.json() for one in report.diagnostics],
        "summary": summary(report.diagnostics),
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
