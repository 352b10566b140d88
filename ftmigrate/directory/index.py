"""The index of a converted directory: what became of each file, for machines and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ftmigrate import __version__
from ftmigrate.directory.tree import Totals
from ftmigrate.directory.work import WORDS, Outcome, Result

JSON_NAME = "ftmigrate-index.json"
TABLE_NAME = "ftmigrate-index.md"
_LOSSES = ("approximate", "dropped", "manual")


def entry(result: Result, out: str | None, kept: bool) -> dict[str, Any]:
    """One file of the index. `out` is relative to the index; kept: another file stood there and was left."""
    return {
        **result.json(),
        "target": out,
        "kept": kept,
        "warnings": list(result.warnings),
        "commands": [{"purpose": purpose, "line": line} for purpose, line in result.commands],
    }


def as_json(source: str, target: Mapping[str, str], totals: Totals, entries: Sequence[Mapping[str, Any]]) -> str:
    found = {
        "ftmigrate": __version__,
        "source": source,
        "target": dict(target),
        "summary": totals.json(),
        "files": list(entries),
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def as_table(source: str, target: str, totals: Totals, entries: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown page: the counts, then a line for each file."""
    lines = [f"# {_cell(source)} to {target}", ""]
    lines += [f"* {count} {WORDS[outcome]}" for outcome in Outcome if (count := totals.outcomes[outcome])]
    lines += ["", "| source | result | what became of it | approximate | dropped | by hand |"]
    lines += ["|---|---|---|--:|--:|--:|"]
    for item in entries:
        where = f"[{_cell(item['target'])}](<{item['target']}>)" if item["target"] else ""
        said = WORDS[Outcome(item["outcome"])]
        if item["reason"]:
            line = f"line {item['line']}: " if item["line"] else ""
            said += f": {line}{item['reason']}"
        if item["kept"]:
            said += "; not written: another file stands there"
        converted = item["target"] is not None
        counts = [str(item["summary"].get(word, 0)) if converted else "" for word in _LOSSES]
        lines.append(f"| {_cell(item['path'])} | {where} | {_cell(said)} | {' | '.join(counts)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
