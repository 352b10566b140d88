"""Axolotl's validators as lint rules: one rule for each kind of trouble."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftmigrate.linter import checked
from ftmigrate.linter.rules import ERROR, INFO, WARNING, Checks, Finding, Rule
from ftmigrate.linter.subject import Subject

CHECKS = Checks()
PAGES = str(Path(__file__).parent / "validators.md")
RULES = (
    Rule("AX201", "settings-exclude-each-other", ERROR, "unsafe"),
    Rule("AX202", "setting-needs-another", ERROR, "unsafe"),
    Rule("AX203", "attention-refused", ERROR, "unsafe"),
    Rule("AX204", "quantization-refused", ERROR, "unsafe"),
    Rule("AX205", "adapter-refused", ERROR, "unsafe"),
    Rule("AX206", "data-refused", ERROR, "unsafe"),
    Rule("AX207", "saving-or-evaluation-refused", ERROR, "unsafe"),
    Rule("AX208", "preference-training-refused", ERROR, "unsafe"),
    Rule("AX209", "parallel-training-refused", ERROR, "unsafe"),
    Rule("AX210", "optimizer-refused", ERROR, "unsafe"),
    Rule("AX211", "checkpointing-refused", ERROR, "unsafe"),
    Rule("AX212", "losses-refused", ERROR),
    Rule("AX213", "template-or-tokenizer-refused", ERROR),
    Rule("AX214", "plugin-setting-refused", ERROR, "unsafe"),
    Rule("AX215", "value-refused", ERROR, "unsafe"),
    Rule("AX301", "packed-rows-see-each-other", WARNING),
    Rule("AX302", "setting-passed-over", WARNING, "unsafe"),
    Rule("AX303", "older-spelling", INFO, "sometimes"),
    Rule("AX304", "known-to-go-wrong", WARNING, "unsafe"),
    Rule("AX305", "switched-on-unasked", INFO, "sometimes"),
    Rule("AX306", "prefixed-option", INFO),
)


@CHECKS(*(rule.code for rule in RULES))
def validators(subject: Subject) -> Iterator[Finding]:
    from ftmigrate.frameworks.axolotl import validators as checks

    for found in checks.check(subject.document.tree, subject.version):
        if not found.check.told:
            yield checked.finding(subject, found)
