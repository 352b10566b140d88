"""Where torchtune's recipes refuse a config, and our rules: the same verdict on a config that fires and on one beside it."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from ftmigrate.frameworks.torchtune import refusals
from ftmigrate.linter.engine import Job, lint
from ftmigrate.verify.probe import clean_environment

HERE = Path(__file__).parent
VERSION = "0.6.1"
PYTHON = os.environ.get("FTMIGRATE_PYTHON_TORCHTUNE")
CONFIGS = os.environ.get("FTMIGRATE_TORCHTUNE_CONFIGS")
needs_configs = pytest.mark.skipif(not CONFIGS, reason="FTMIGRATE_TORCHTUNE_CONFIGS names no directory of configs")
needs_torchtune = pytest.mark.skipif(
    not PYTHON, reason="FTMIGRATE_PYTHON_TORCHTUNE names no interpreter with torchtune"
)
ON_CPU = {
    "device": "cpu",
    "dtype": "fp32",
    "metric_logger": {"_component_": "torchtune.training.metric_logging.StdoutLogger"},
}


class Pair(NamedTuple):
    statement: str
    recipe: str
    fires: dict[str, Any]
    clean: dict[str, Any]


@cache
def pairs() -> tuple[Pair, ...]:
    data = yaml.safe_load((HERE / "data" / "torchtune_checks.yaml").read_text(encoding="utf-8"))

    def config(name: str, over: dict[str, Any]) -> dict[str, Any]:
        assert CONFIGS is not None
        whole = yaml.safe_load((Path(CONFIGS) / f"{name}.yaml").read_text(encoding="utf-8"))
        for key, value in {**ON_CPU, **over}.items():
            *above, last = key.split(".")
            node = whole
            for part in above:
                node = node.setdefault(part, {})
            node[last] = value
        return dict(whole)

    return tuple(
        Pair(one["of"], one["recipe"], config(one["config"], one["fires"]), config(one["config"], one["clean"]))
        for one in data["pairs"]
    )


def rows(config: dict[str, Any], recipe: str) -> set[str]:
    return {one.check.source for one in refusals.check(config, VERSION, recipe)}


def errors(config: dict[str, Any], recipe: str) -> set[str]:
    """The codes of the errors that the linter tells."""
    text = f"# tune run {recipe} --config x\n" + yaml.safe_dump(config, sort_keys=False)
    found = lint(text.encode(), "<config>", Job(framework=f"torchtune@{VERSION}", isolated=True))
    assert found is not None
    assert not found.faults
    return {one.code for one in found.diagnostics if one.severity == "error"}


def test_every_statement_has_a_row_or_is_told_or_has_a_reason() -> None:
    with_rows = {check.source for check in refusals.CHECKS}
    assert with_rows.isdisjoint(refusals.TOLD)
    assert with_rows | set(refusals.TOLD) == set(refusals.inventory())
    told = sum(reason[:4].isupper() or reason[2:].isdigit() for reason in refusals.TOLD.values())
    print(
        f"{sum(len(row.get('recipes', [''])) for row in refusals.inventory().values())} raise and assert statements of "
        f"torchtune {VERSION}, {len(refusals.inventory())} different: {len(with_rows)} with rows, {told} told by other "
        f"rules, {len(refusals.TOLD) - told} that the config does not decide"
    )


@needs_configs
def test_every_row_is_fired_by_a_pair() -> None:
    fired = {source for pair in pairs() for source in rows(pair.fires, pair.recipe)}
    assert {check.source for check in refusals.CHECKS} == fired


@needs_configs
def test_rules_say_what_fires_and_only_that() -> None:
    wrong = []
    for pair in pairs():
        codes = {check.code for check in refusals.CHECKS if check.source == pair.statement}
        code = refusals.TOLD.get(pair.statement) or next(iter(codes))
        if code not in errors(pair.fires, pair.recipe):
            wrong.append(f"{pair.statement}: {errors(pair.fires, pair.recipe)}, not {code}")
        if told := errors(pair.clean, pair.recipe):
            wrong.append(f"{pair.statement}: {told} on the clean config")
    assert not wrong, "\n".join(wrong)


@needs_configs
@needs_torchtune
def test_the_real_recipes_agree() -> None:
    assert PYTHON is not None
    asked = [{"recipe": pair.recipe, "config": config} for pair in pairs() for config in (pair.fires, pair.clean)]
    answer = subprocess.run(
        [PYTHON, str(HERE.parent / "tools" / "ask_torchtune_checks.py")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=900,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    answers = json.loads(answer.stdout)
    wrong = []
    for pair, fires, clean in zip(pairs(), answers[::2], answers[1::2], strict=True):
        wanted = refusals.inventory()[pair.statement]
        if fires is None or any(fires[key] != wanted[key] for key in ("file", "function", "error")):
            wrong.append(f"{pair.statement}: torchtune says {fires}")
        if clean is not None:
            wrong.append(f"{pair.statement}: on the clean config torchtune says {clean}")
    assert not wrong, "\n".join(wrong)
