"""Where torchtune's recipes refuse a config, as lint rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftmigrate.linter import checked
from ftmigrate.linter.rules import ERROR, Checks, Finding, Rule
from ftmigrate.linter.subject import Subject

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
        yield checked.finding(subject, found)
