"""Axolotl's own validators and our rows of them: the same verdict on a config that fires and on one that does not."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from ftmigrate.document.model import DocumentError
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.axolotl import validators as checks
from ftmigrate.linter.diagnostic import Diagnostic
from ftmigrate.linter.engine import Job, lint
from ftmigrate.verify.probe import clean_environment
from ftmigrate.verify.schema_level import check_schema
from tests.conftest import CORPUS

HERE = Path(__file__).parent
ROOT = HERE.parent
VERSION = "0.21.0"
PYTHON = os.environ.get("FTMIGRATE_PYTHON_AXOLOTL")
needs_axolotl = pytest.mark.skipif(not PYTHON, reason="FTMIGRATE_PYTHON_AXOLOTL names no interpreter with Axolotl")


QUIET = ("check_ebft_strided_dataset_split", "validate_noisy_embedding_alpha")
"""Validators that warn by their source, and were not heard when asked on these configs; we tell all the same."""


class Pair(NamedTuple):
    """machine: Axolotl counts GPUs, so that we warn where it refuses on the machine that the probe tells of.

    code: the rule that tells what is not among our rows.
    """

    validator: str
    fires: dict[str, Any]
    clean: dict[str, Any]
    machine: bool
    code: str


BASE = yaml.safe_load((HERE / "data" / "axolotl_validators.yaml").read_text(encoding="utf-8"))["base"]


@cache
def pairs(*, told: bool = False) -> tuple[Pair, ...]:
    data = yaml.safe_load((HERE / "data" / "axolotl_validators.yaml").read_text(encoding="utf-8"))

    def config(over: Mapping[str, Any]) -> dict[str, Any]:
        whole: dict[str, Any] = copy.deepcopy(data["base"]) | {key: value for key, value in over.items() if key != "-"}
        for key in over.get("-", ()):
            del whole[key]
        return whole

    def pair(one: Mapping[str, Any]) -> Pair:
        name = checks.names()[one["of"]]
        return Pair(name, config(one["fires"]), config(one["clean"]), one.get("machine", False), one.get("code", ""))

    return tuple(pair(one) for one in data["told" if told else "pairs"])


def raising() -> Iterator[dict[str, Any]]:
    return (row for row in checks.inventory() if "raises" in row["does"])


def ours(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """The validators that refuse or warn by our rows; "schema" for what the pinned schema refuses."""
    found: dict[str, list[str]] = {}
    for one in checks.check(config, VERSION):
        found.setdefault(checks.names()[one.check.source], []).append(one.check.code)
    for finding in check_schema(config, "axolotl", VERSION):
        if finding.kind == "value":
            found.setdefault("schema", []).append(finding.path)
    return found


def refusing(found: Mapping[str, list[str]]) -> set[str]:
    return {name for name, codes in found.items() if name == "schema" or any(code < "AX3" for code in codes)}


def ask(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the real validators say."""
    assert PYTHON is not None
    answer = subprocess.run(
        [PYTHON, str(ROOT / "tools" / "ask_axolotl_validators.py")],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=900,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


@cache
def published() -> dict[str, dict[str, Any]]:
    """The configs of Axolotl's releases, by file."""
    framework, found = registry.get("axolotl"), {}
    for file in sorted(CORPUS.glob("axolotl-*/**/*.y*ml")) if CORPUS else ():
        try:
            document = framework.parse(file.read_bytes(), file.name, ())
        except DocumentError:
            continue
        if framework.detect(document):
            found[str(file)] = json.loads(json.dumps(document.tree, default=str))
    return found


@cache
def real() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """On the configs that fire, on those beside them, on the published ones: asked at once, for the import takes long."""
    paired = [config for pair in pairs() for config in (pair.fires, pair.clean)]
    answers = ask([*paired, *published().values()])
    return answers[: len(paired) : 2], answers[1 : len(paired) : 2], answers[len(paired) :]


def verdicts(config: Mapping[str, Any], *select: str) -> list[Diagnostic]:
    """What the linter says of a config."""
    text = yaml.safe_dump(dict(config), sort_keys=False).encode()
    found = lint(text, "<config>", Job(framework=f"axolotl@{VERSION}", select=select, isolated=True))
    assert found is not None
    assert not found.faults
    return found.diagnostics


def test_every_raising_validator_has_a_pair_or_a_reason() -> None:
    paired = {pair.validator for pair in pairs()}
    without = {row["name"] for row in raising()} - paired
    assert without == {checks.names()[name] for name in checks.UNCOVERED}


def test_every_warning_validator_has_a_pair_or_a_reason() -> None:
    warning = {row["name"] for row in checks.inventory() if "warns" in row["does"] and "raises" not in row["does"]}
    paired = {pair.validator for pair in (*pairs(), *pairs(told=True))}
    assert warning - paired == {checks.names()[name] for name in checks.WARNS_OF_MACHINE}


@pytest.mark.parametrize("pair", pairs(told=True), ids=lambda pair: pair.validator.partition(".")[2])
def test_a_rule_tells_what_the_validator_warns_of(pair: Pair) -> None:
    assert pair.code in {one.code for one in verdicts(pair.fires)}
    assert pair.code not in {one.code for one in verdicts(pair.clean)}


@needs_axolotl
def test_the_real_validators_warn_of_the_same() -> None:
    answers = ask([config for pair in pairs(told=True) for config in (pair.fires, pair.clean)])
    for pair, fires, clean in zip(pairs(told=True), answers[::2], answers[1::2], strict=True):
        assert (fires["refused"], clean["refused"]) == (None, None)
        assert (pair.validator in full(fires["warned"])) is (pair.validator.partition(".")[2] not in QUIET)
        assert pair.validator not in full(clean["warned"])


def test_every_row_is_fired_by_a_pair() -> None:
    fired = {one.check for pair in pairs() for one in checks.check(pair.fires, VERSION)}
    silent = [
        (check.source, check.message) for check in checks.CHECKS if check not in fired and check.told != checks.SCHEMA
    ]
    assert not silent


def test_rows_say_what_fires_and_only_that() -> None:
    wrong = []
    for pair in pairs():
        fires, clean = ours(pair.fires), ours(pair.clean)
        if pair.validator not in fires and "schema" not in fires:
            wrong.append(f"{pair.validator}: silent on {pair.fires}")
        if pair.validator in clean or refusing(clean):
            wrong.append(f"{pair.validator}: {clean} on {pair.clean}")
    assert not wrong, "\n".join(wrong)


@needs_axolotl
def test_the_real_validators_agree() -> None:
    fired, passed, _ = real()
    wrong = []
    for pair, fires, clean in zip(pairs(), fired, passed, strict=True):
        if pair.validator not in (*fires["by"], *full(fires["warned"])):
            wrong.append(f"{pair.validator}: on {pair.fires} Axolotl says {fires}")
        if bool(fires["refused"]) != bool(refusing(ours(pair.fires)) or pair.machine):
            wrong.append(f"{pair.validator}: refused by one only, {fires['refused']}, {ours(pair.fires)}")
        warned = not fires["refused"] and pair.validator in full(clean["warned"])
        if clean["refused"] or warned:
            wrong.append(f"{pair.validator}: on the clean config Axolotl says {clean}")
    assert not wrong, "\n".join(wrong)


@needs_axolotl
@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the checkout (FTMIGRATE_CORPUS)")
def test_verdicts_on_published_configs() -> None:
    """No false alarm on what Axolotl takes; what it refuses is refused, but for packages that are missing."""
    taken, wrong = 0, []
    for (file, config), answer in zip(published().items(), real()[2], strict=True):
        found = ours(config)
        told = {name: found[name] for name in refusing(found)}
        taken += answer["refused"] is None
        if answer["refused"] is None and told:
            wrong.append(f"{file}: {told}")
        if answer["refused"] is not None and not told and "No module named" not in answer["refused"]:
            wrong.append(f"{file}: Axolotl says {answer['refused']}")
    print(f"{taken} of {len(published())} published configs taken by Axolotl {VERSION}, and by us")
    assert taken > 100
    assert not wrong, "\n".join(wrong)


def test_figures() -> None:
    rows = checks.inventory()
    paired = {pair.validator for pair in pairs()}
    count = {kind: sum(kind in row["does"] for row in rows) for kind in ("raises", "warns", "rewrites")}
    covered = sum(row["name"] in paired for row in raising())
    only = sum("warns" in row["does"] and "raises" not in row["does"] for row in rows)
    warned = sum(row["name"] in paired for row in rows if "warns" in row["does"] and "raises" not in row["does"])
    print(
        f"{len(rows)} validators of Axolotl {VERSION}, {sum('/schemas/' in row['file'] for row in rows)} of them in "
        f"utils/schemas; {count['raises']} can refuse: {covered} covered by {len(checks.CHECKS)} rows and {len(pairs())} "
        f"pairs, {len(checks.UNCOVERED)} not (machine, cloud files, manifests); {only} only warn: {warned} covered"
    )
    assert covered + len(checks.UNCOVERED) == count["raises"]


def full(functions: list[str]) -> set[str]:
    return {checks.names()[name] for name in functions if name in checks.names()}


def test_the_linter_tells_what_the_rows_find() -> None:
    """A refusal is an error in the text, at a key that the file has, in whichever rule's words."""
    wrong = []
    for pair in pairs():
        if refusing(ours(pair.fires)):
            told = [one for one in verdicts(pair.fires) if one.severity == "error"]
            if not told:
                wrong.append(f"{pair.validator}: no error on {pair.fires}")
    assert not wrong, "\n".join(wrong)


def test_a_finding_stands_at_its_key() -> None:
    (told,) = verdicts({**BASE, "warmup_ratio": 0.1, "warmup_steps": 3}, "AX201")
    assert (told.column, told.end_column, told.source) == (1, len("warmup_steps") + 1, "warmup_steps: 3")


def test_older_releases_are_asked_what_they_check() -> None:
    config = {**BASE, "adapter": "lora", "lora_target_modules": ["*.q_proj"], "warmup_steps": 3, "warmup_ratio": 0.1}
    newest = {one.check.source for one in checks.check(config, VERSION)}
    older = {one.check.source for one in checks.check(config, "0.9.2")}
    assert {"check_warmup", "check_lora_target_modules_regex"} <= newest
    assert "check_warmup" in older
    assert "check_lora_target_modules_regex" not in older
