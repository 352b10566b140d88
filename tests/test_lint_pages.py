"""Every rule has a page, and its examples do what they say."""

from __future__ import annotations

import pytest

from ftmigrate.cli import main
from ftmigrate.document.model import Severity
from ftmigrate.linter import engine, pages
from ftmigrate.linter.pages import Example
from ftmigrate.linter.rules import every
from tests.lint_examples import job, whole

RULES = {rule.code: rule for rule, _ in every()}
EXAMPLES = [(code, example) for code, page in pages.every_page().items() for example in page.examples]
FAILING = [(code, example) for code, example in EXAMPLES if example.fails]


def _id(value: object) -> str:
    return value if isinstance(value, str) else "fails" if isinstance(value, Example) and value.fails else "passes"


def test_rules_and_pages_match() -> None:
    assert set(pages.every_page()) == set(RULES)
    assert len(RULES) >= 60
    assert len({rule.name for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("code", sorted(RULES))
def test_page_is_complete(code: str) -> None:
    page = pages.find(code)
    assert len(page.summary) > 25
    assert {example.fails for example in page.examples} == {True, False}
    if not code.startswith("FT"):
        assert "Grounds: " in page.text


@pytest.mark.parametrize(("code", "example"), EXAMPLES, ids=_id)
def test_example(code: str, example: Example) -> None:
    result = engine.lint(whole(example), "example.yaml", job(example))
    assert result is not None
    assert result.faults == ()
    codes = {one.code for one in result.diagnostics}
    if example.fails:
        assert code in codes
        places = {(one.line, one.column) for one in result.diagnostics if one.code == code}
        told = [(one.line, one.column) for one in result.diagnostics if one.code in RULES[code].over]
        assert not places.intersection(told)
    else:
        assert code not in codes
        assert not [one for one in result.diagnostics if one.severity is Severity.ERROR]


@pytest.mark.parametrize("code", sorted(code for code, rule in RULES.items() if rule.fix))
def test_fixes_repair_and_stay(code: str) -> None:
    """What a rule says can be repaired is gone afterwards, and a second round changes nothing."""
    shown = [example for of, example in FAILING if of == code and _repaired(code, example)]
    assert shown


def _repaired(code: str, example: Example) -> bool:
    """Whether the example has a fix, which then must do what is said of it."""
    wanted = job(example)
    first = engine.lint(whole(example), "example.yaml", wanted)
    assert first is not None
    fixable = [one for one in first.diagnostics if one.code == code and one.fix is not None]
    if not fixable:
        return False
    if RULES[code].fix in ("safe", "unsafe"):
        kinds = {one.fix.safe for one in fixable if one.fix is not None}
        assert kinds == {RULES[code].fix == "safe"}
    unsafe = wanted._replace(fix="unsafe")
    done = engine.lint(whole(example), "example.yaml", unsafe)
    assert done is not None
    assert done.fixed is not None
    again = engine.lint(done.fixed.encode(), "example.yaml", unsafe)
    assert again is not None
    assert again.fixed is None
    assert not [one for one in again.diagnostics if one.code == code and one.fix is not None]
    return True


def test_rule_command_prints_one_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rule", "FT101"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("# FT101 no-batch\n")
    assert "```yaml torchtune fails" in told
    assert main(["rule", "no-batch"]) == 0
    assert capsys.readouterr().out == told


def test_rule_command_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rule"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(RULES)


def test_rule_command_knows_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rule", "no-batsh"]) == 2
    assert "did you mean no-batch?" in capsys.readouterr().err
