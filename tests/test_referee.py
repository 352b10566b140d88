"""What the frameworks' own programs were seen to do (tests/referee.json, by tools/referee.py) and our tables agree."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from ftmigrate.frameworks import registry
from ftmigrate.frameworks.table import Always, Field, Group
from ftmigrate.run import vocabulary

REPORT: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "referee.json").read_text(encoding="utf-8"))

# setting -> why the framework's own object shows another value in a trial than in the run that is meant
IN_A_TRIAL: dict[str, str] = {}


@pytest.mark.parametrize("name", REPORT)
def test_no_disagreement_is_unexplained(name: str) -> None:
    wrong = [one for one in REPORT[name]["disagreements"] if one["setting"] not in IN_A_TRIAL]
    assert not wrong, json.dumps(wrong, indent=1)


@pytest.mark.parametrize("name", REPORT)
def test_settings_are_those_of_the_vocabulary_and_many(name: str) -> None:
    found = REPORT[name]["settings"]
    assert set(found) <= set(vocabulary.SPECS)
    assert len(found) >= 30
    assert sum(one["values"] > 1 for one in found.values()) >= 20


@pytest.mark.parametrize("name", REPORT)
def test_proofs_are_what_the_referee_saw(name: str) -> None:
    framework, version = name.split("@")
    made = importlib.import_module(f"ftmigrate.frameworks.{framework}.proofs")
    assert {key: tuple(paths) for key, paths in REPORT[name]["moved"].items()} == dict(made.MOVED)
    table = registry.get(framework).table(version)
    proofs = [one for one in table.entries if isinstance(one, Field | Group | Always)
              and one.proof and not one.proof.startswith("trained: ")]  # fmt: skip
    assert proofs
    for entry in proofs:
        seen = {path for key in entry.keys for path in made.MOVED.get(key, ())} | set(made.SEEN)
        assert set(entry.settings) & seen
