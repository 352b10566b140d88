"""Corrections to an extracted schema: what the source does not tell, each with its evidence.

`schemas/<framework>.patch.json` is `{"corrections": [{"versions", "section", "key", "facts", "remove", "evidence"}]}`:
`facts` are put over the extracted ones, the facts named by `remove` (optional) are taken away. The key "" stands for
the section itself. `versions` lists versions and ranges of them, both ends included: `0.2.1..0.4.0`, `0.5.0..` from
there on (a branch such as `main` is newer than every release).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from schema_store import Facts, Sections, place, same

Correction: TypeAlias = dict[str, Any]


def corrections(path: Path, version: str) -> list[Correction]:
    """The corrections for one version. Raises ValueError for one without evidence."""
    if not path.exists():
        return []
    found: list[Correction] = json.loads(path.read_text(encoding="utf-8"))["corrections"]
    for one in found:
        if not one.get("evidence"):
            raise ValueError(f"a correction without evidence: {one['section']}.{one['key']}")
    return [one for one in found if covers(one["versions"], version)]


def covers(ranges: list[str], version: str) -> bool:
    """Whether a version is among those listed or within one of the ranges."""
    at = place(version)
    for one in ranges:
        first, dots, last = one.partition("..")
        if one == version or (dots and place(first) <= at and (not last or at <= place(last))):
            return True
    return False


def apply(sections: Sections, found: list[Correction]) -> None:
    """Put the corrections into `sections`. Raises ValueError for one that changes nothing: it has become needless."""
    for one in found:
        keys = sections[one["section"]]
        before = keys.get(one["key"], {})
        after: Facts = {name: value for name, value in before.items() if name not in one.get("remove", ())}
        after |= one["facts"]
        if same(after, before):
            raise ValueError(f"a needless correction: {one['section']}.{one['key']}")
        keys[one["key"]] = after
