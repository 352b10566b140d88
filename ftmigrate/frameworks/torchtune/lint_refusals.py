"""Where torchtune's recipes refuse a config, as lint rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ftmigrate.linter.diagnostic import Fix
from ftmigrate.linter.rules import ERROR, Checks, Finding, Rule
from ftmigrate.linter.subject import Subject

if TYPE_CHECKING:
    from ftmigrate.frameworks.checks import Found

CHECKS = Checks()
PAGES = str(Path(__file__).parent / "refusals.md")
RULES = (
    Rule("TT201", "quantized-training-compiled", ERROR, "unsafe"),
    Rule("TT202", "quantizer-of-another-kind", ERROR),
    Rule("TT203", "quantized-training-with-dora", ERROR, "unsafe"),
    Rule("TT204", "another-profiler", ERROR, "unsafe"),
    Rule("TT205", "left-padding", ERROR, "unsafe"),
    Rule("TT206", "uneven-batches", ERROR),
    Rule("TT207", "reference-of-another-model", ERROR),
    Rule("TT208", "chunks-differ", ERROR),
    Rule("TT209", "seed-out-of-range", ERROR),
    Rule("TT210", "checkpoint-refused", ERROR),
    Rule("TT211", "negative-layers", ERROR),
    Rule("TT212", "half-packed", ERROR),
    Rule("TT213", "weighted-sources", ERROR, "unsafe"),
)


@CHECKS(*(rule.code for rule in RULES))
def refused(subject: Subject) -> Iterator[Finding]:
    from ftmigrate.frameworks.torchtune import refusals

    for found in refusals.check(subject.document.tree, subject.version, subject.recipe):
        at = found.paths[0] if found.paths else None
        yield subject.finding(found.check.code, at, found.message, key=True, fix=_fix(subject, found))


def _fix(subject: Subject, found: Found) -> Fix | None:
    repair = found.check.repair
    if repair is None:
        return None
    path = tuple(repair.key.split("."))
    return subject.replace(path, str(repair.value), safe=repair.safe)
