"""No miss: published configs damaged in fixed ways (tests/lint_mutants.py) are reported, at the line of the damage.

FTMIGRATE_LINT_STEP=N takes every Nth config only; the shares are then of fewer mutants.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest

from ftmigrate.document.model import DocumentError, Severity
from ftmigrate.linter import engine
from ftmigrate.linter.diagnostic import Diagnostic
from ftmigrate.linter.engine import Job
from tests.lint_mutants import OPERATORS, Case, Mutant
from tests.test_lint_corpus import STEP, files

EVERY = {"torchtune@0.6.1": 3, "axolotl@0.18.0": 5}
NEEDED = 3000
SHARE = 0.99


class Outcome(NamedTuple):
    operator: str
    path: str
    spec: str
    mutant: Mutant
    reported: bool
    placed: bool
    new: tuple[Diagnostic, ...]


def _lint(text: str, path: str, spec: str) -> list[Diagnostic]:
    result = engine.lint(text.encode(), path, Job(spec, isolated=True))
    assert result is not None
    assert result.faults == ()
    return result.diagnostics


@cache
def outcomes() -> list[Outcome]:
    found = []
    for spec, every in EVERY.items():
        framework = spec.partition("@")[0]
        for path in files(spec)[::every]:
            text = path.read_text(encoding="utf-8")
            if engine.lint(text.encode(), str(path), Job(isolated=True), named=False) is None:
                continue
            try:
                case = Case(path.as_posix(), text, framework)
            except DocumentError:
                continue
            before = {(one.code, one.message) for one in _lint(case.text, str(path), spec)}
            for name, damage in OPERATORS.items():
                mutant = damage(case)
                if mutant is None or mutant.text == case.text:
                    continue
                after = _lint(mutant.text, str(path), spec)
                new = tuple(one for one in after if (one.code, one.message) not in before)
                told = [one for one in new if one.severity is not Severity.INFO]
                placed = any(one.line in mutant.lines for one in told)
                found.append(Outcome(name, str(path), spec, mutant, bool(told), placed, new))
    return found


def test_enough_mutants_of_enough_kinds() -> None:
    used = {one.operator for one in outcomes()}
    assert len(OPERATORS) >= 30
    assert used == set(OPERATORS) or STEP > 1
    assert len(outcomes()) >= NEEDED // STEP


def test_nearly_all_are_reported_at_their_line() -> None:
    missed = [one for one in outcomes() if not one.placed]
    shown = "\n".join(f"{one.operator}: {one.path} {one.mutant.lines[:1]}" for one in missed[:40])
    assert len(missed) <= (1 - SHARE) * len(outcomes()), f"{len(missed)} of {len(outcomes())} missed\n{shown}"


@pytest.mark.parametrize("name", OPERATORS)
def test_no_kind_is_missed_as_a_whole(name: str) -> None:
    mine = [one for one in outcomes() if one.operator == name]
    if not mine:
        pytest.skip("no published config of the sample offers this damage")
    assert sum(one.placed for one in mine) >= 0.9 * len(mine)


def test_what_says_it_is_fixable_is_repaired() -> None:
    """The new finding is gone after --unsafe-fixes, and the file can still be read."""
    checked = 0
    for one in outcomes()[::5]:
        fixable = [found for found in one.new if found.fix is not None]
        if not fixable:
            continue
        job = Job(one.spec, fix="unsafe", isolated=True)
        done = engine.lint(one.mutant.text.encode(), one.path, job)
        assert done is not None
        assert done.fixed is not None
        left = {(found.code, found.message) for found in done.diagnostics}
        assert not {(found.code, found.message) for found in fixable} & left
        assert done.framework
        checked += 1
    assert checked >= 100 // STEP
