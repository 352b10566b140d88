"""Ten conversions against ledgers that were written by hand before the converter ran (tests/ledgers/README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ftmigrate import api
from ftmigrate.conversion import Conversion
from ftmigrate.verify.load import parse_path
from tests.conftest import FIXTURES, WHEEL

LEDGERS = sorted(Path(__file__).parent.joinpath("ledgers").glob("*.yaml"))


def _source(ledger: dict[str, Any]) -> Path:
    source: str = ledger["source"]
    place, _, path = source.partition(":")
    if place == "fixture":
        return FIXTURES / path
    if WHEEL is None:
        pytest.skip("the torchtune 0.6.1 wheel is not installed")
    return WHEEL.parent.parent / path


def _convert(ledger: dict[str, Any]) -> Conversion:
    options = ledger.get("options") or {}
    return api.convert(
        str(_source(ledger)),
        ledger["to"],
        ledger["from"],
        recipe=options.get("recipe"),
        world_size=options.get("world_size"),
        rows=options.get("rows"),
        overrides=options.get("set", ()),
    )


@pytest.fixture(params=LEDGERS, ids=lambda path: path.stem)
def ledger(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(request.param.read_text(encoding="utf-8"))
    return loaded


def test_one_entry_per_leaf_in_order(ledger: dict[str, Any]) -> None:
    entries = [entry.source_path for entry in _convert(ledger).ledger.entries if entry.source_path is not None]
    assert entries == [entry["path"] for entry in ledger["entries"]]


def test_verdicts(ledger: dict[str, Any]) -> None:
    found = {entry.source_path: entry for entry in _convert(ledger).ledger.entries}
    wrong = []
    for wanted in ledger["entries"]:
        entry = found[wanted["path"]]
        allowed = {wanted["verdict"], *wanted.get("or", ())}
        if entry.verdict.word not in allowed:
            wrong.append(f"{wanted['path']}: {entry.verdict.word}, by hand {sorted(allowed)}: {entry.note}")
    assert not wrong, "\n".join(wrong)


def test_targets(ledger: dict[str, Any]) -> None:
    found = {entry.source_path: entry for entry in _convert(ledger).ledger.entries}
    wrong = []
    for wanted in ledger["entries"]:
        entry = found[wanted["path"]]
        if wanted.get("targets_open") or entry.verdict.word != wanted["verdict"]:
            continue
        got = {_top(path) for path in entry.target_paths}
        if not got >= {_top(path) for path in wanted["targets"]}:
            wrong.append(f"{wanted['path']}: {sorted(got)}, by hand {wanted['targets']}")
    assert not wrong, "\n".join(wrong)


def _top(path: str) -> str:
    return path.split(".")[0].split("[")[0]


def test_what_no_leaf_says(ledger: dict[str, Any]) -> None:
    result = _convert(ledger)
    implicit = [entry for entry in result.ledger.entries if entry.source_path is None]
    tops = {_top(path): entry.verdict.word for entry in implicit for path in entry.target_paths}
    keys = {_top(path) for path in result.keys}
    missing = []
    for wanted in ledger["implicit"]:
        allowed = {wanted["verdict"], *wanted.get("or", ())}
        for target in wanted["targets"]:
            top = _top(target)
            if "made_explicit" in allowed and top not in keys:
                missing.append(f"{target} is not in the file: {wanted['why']}")
            elif top in tops and tops[top] not in allowed:
                missing.append(f"{target}: {tops[top]}, by hand {sorted(allowed)}")
    assert not missing, "\n".join(missing)


def test_output(ledger: dict[str, Any]) -> None:
    keys = _convert(ledger).keys
    tree = yaml.safe_load(next(iter(_convert(ledger).files.values())))
    wrong = []
    for path, value in (ledger.get("output") or {}).items():
        got = keys.get(path, _at(tree, path))
        if got != value and not (isinstance(value, list) and isinstance(got, list) and sorted(got) == sorted(value)):
            wrong.append(f"{path}: {got!r}, by hand {value!r}")
    assert not wrong, "\n".join(wrong)


def _at(tree: Any, path: str) -> Any:
    for key in parse_path(path):
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def test_strict_agreement_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """The share of leaves whose verdict is the writer's own first choice: a number that may only rise."""
    same = total = 0
    for path in LEDGERS:
        ledger = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = {entry.source_path: entry.verdict.word for entry in _convert(ledger).ledger.entries}
        same += sum(found[wanted["path"]] == wanted["verdict"] for wanted in ledger["entries"])
        total += len(ledger["entries"])
    with capsys.disabled():
        print(f"\nledgers by hand: {same} of {total} leaves have the very verdict written by hand")
    assert same >= 0.85 * total
