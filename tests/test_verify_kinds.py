"""The levels that run both sides, on one config of every kind, both ways: families, pairs, packs.

What tools/verify_kinds.py finds of all of them is kept in kinds.json; here those marked `ci` are run again. That needs
both frameworks' environments; without them these tests are skipped, loudly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from verify_kinds import OUT, VERSIONS, Case, cases, sides

from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.reader import read as read_document
from ftmigrate.run import likeness
from ftmigrate.run.compare import losses
from ftmigrate.run.rendering import Column, Rendering, Text
from ftmigrate.verify import environments, rows
from ftmigrate.verify.packs import compare_batches, counted, effective
from ftmigrate.verify.pair import Config, Options, Pair
from ftmigrate.verify.plan_level import compare_plans
from ftmigrate.verify.probe import Probe
from ftmigrate.verify.results import Difference, Outcome, Result
from ftmigrate.verify.tokens_level import compare_tokens
from tests.conftest import FIXTURES

CASES: Mapping[str, Case] = cases()
RUN = [name for name, case in CASES.items() if case.ci]
BASE = FIXTURES / "torchtune" / "parity" / "base.yaml"


# --- what is compared ---------------------------------------------------------------------------------------------


def row(text: str, trained: str, starts_at: int = 0) -> dict[str, Any]:
    ids = [ord(letter) for letter in text]
    labels = [one if mark == "x" else -100 for one, mark in zip(ids, trained, strict=True)]
    return {"ids": ids, "labels": labels, "starts_at": starts_at}


def batches(*packs: list[dict[str, Any]], packed: bool = True) -> dict[str, Any]:
    return {"batches": [list(packs)], "packed": packed}


def found(one: dict[str, Any], other: dict[str, Any], *told: str) -> list[Difference]:
    return list(compare_batches(one, other, set(told)))


ONE, TWO = row("abc", "-xx"), row("defg", "-xxx")


def test_packs_of_the_same_rows_are_equal() -> None:
    assert not found(batches([ONE, TWO]), batches([ONE, TWO, row("000", "---")]))


def test_rows_in_other_packs_are_told() -> None:
    (difference,) = found(batches([ONE, TWO]), batches([TWO, ONE]), "sequence.max_length")
    assert difference.setting == "sequence.max_length"
    assert difference.told
    assert "rows of 3, 4 tokens" in difference.text


def test_a_difference_that_no_setting_tells_is_marked() -> None:
    (difference,) = found(batches([ONE, TWO]), batches([ONE]))
    assert difference == Difference("sequence.packing_algorithm", difference.text, told=False)


def test_a_row_s_start_counts_behind_another_row() -> None:
    first = row("abc", "xxx")
    assert not found(batches([first, ONE]), batches([ONE, ONE]))
    (difference,) = found(batches([ONE, first]), batches([ONE, ONE]), "data.sources[1].loss_mask")
    assert difference.setting == "data.sources[1].loss_mask"
    assert "the end of row 1 learns to be followed" in difference.text


def test_positions_that_go_on_over_a_row_s_end_are_told() -> None:
    (difference,) = found(batches([ONE, TWO]), batches([ONE, {**TWO, "starts_at": 3}]))
    assert "at 0, 0 in the source, at 0, 3 in the target" in difference.text


def test_packed_against_single_rows() -> None:
    (difference,) = found(batches([ONE, TWO]), batches([ONE], [TWO], packed=False), "sequence.packing")
    assert difference.setting == "sequence.packing"


def test_another_number_of_sequences() -> None:
    (difference,) = found(batches([ONE], [TWO]), batches([ONE]))
    assert difference.setting == "batch.micro_size"


def test_what_both_replies_of_a_pair_begin_with_cancels() -> None:
    chosen, rejected = counted([row("ask: yes", "xxxxxxxx"), row("ask: no", "xxxxxxx")])
    assert effective(chosen)[1] == [False] * 5 + [True] * 3
    assert effective(rejected)[1] == [False] * 5 + [True] * 2


def rendered(*segments: Text | Column) -> Rendering:
    return Rendering(segments, "made")


def test_in_packs_a_start_and_a_masked_end_count() -> None:
    one = rendered(Text("{bos}"), Column("text", True), Text("{eos}"))
    other = rendered(Text("{bos}", True), Column("text", True))
    assert likeness.compare(one, other) == []
    told = likeness.packed(one, other)
    assert "does not learn to be followed" in told["mask"]
    assert "{eos}" in told["text"]
    assert likeness.packed(one, one) == {}


# --- what the runs showed of our tables -----------------------------------------------------------------------------


def notes(source: Config, target: Config) -> dict[str, str]:
    return {one.path: one.note() for one in losses(source.run, target.run)}


def made(name: str, *overrides: str, recipe: str | None = None) -> tuple[Config, Config]:
    case = CASES[name]
    if case.config is None:
        pytest.skip("the torchtune 0.6.1 wheel is not installed")
    return sides(case._replace(overrides=(*case.overrides, *overrides), recipe=recipe or case.recipe))


def test_what_torchtune_computes_of_gemma_2_is_told() -> None:
    told = notes(*made("gemma2_lora"))["model.architecture"]
    assert "the norms before and after each MLP exchanged" in told
    assert "scores capped at 30.0" in told


def test_gradients_summed_over_tokens_are_told() -> None:
    assert "a sum over tokens" in notes(*made("phi3_full"))["gradient.loss_normalisation"]
    assert "gradient.loss_normalisation" not in notes(*made("phi3_full", "optimizer_in_bwd=false"))


def test_a_ragged_batch_is_kept_in_preference_training() -> None:
    source, target = made("pairs")
    assert target.run["duration.partial_batch"] == "kept"
    assert "dataloader_drop_last" not in target.document.tree
    assert "duration.partial_batch" in notes(source, target)


def test_a_masked_end_takes_room_in_a_pack() -> None:
    assert "<|end_of_text|>" in notes(*made("packed"))["sequence.packing_algorithm"]
    assert "sequence.packing_algorithm" not in notes(*made("packed", "dataset.packed=false"))


def test_a_column_that_may_hold_text_holds_text() -> None:
    (made_rows,) = rows.sources([one.run for one in made("dpo_lora")])
    assert all(isinstance(value, str) for value in made_rows[0].values())


# --- the real frameworks ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probes() -> Iterator[dict[str, Probe]]:
    with ExitStack() as stack:
        running = {}
        for name, version in VERSIONS.items():
            environment = environments.find(name, version)
            if environment is None:
                pytest.skip(f"NOT VERIFIED against {name} {version}: run `ftmigrate env create {name}`")
            running[name] = stack.enter_context(Probe(environment.python, name))
        yield running


@cache
def kept() -> Mapping[str, Any]:
    return dict(json.loads(OUT.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", RUN)
def test_a_kind_is_as_it_was_found(name: str, probes: dict[str, Probe]) -> None:
    case = CASES[name]
    source, target = made(name)
    with Pair(source, target, Options(steps=6, explain=False), probes) as pair:
        results = [pair.level(level) for level in case.ci]
    assert Outcome.NOT_RUN not in [one.outcome for one in results], results
    assert not [one for result in results for one in result.differences if not one.told]
    before = kept().get(name)
    if before is not None:
        assert {one.level: str(one.outcome) for one in results} == {one.level: before[one.level] for one in results}


def test_no_kind_differs_in_what_is_not_told() -> None:
    assert kept().keys() <= CASES.keys()
    for name, found in kept().items():
        assert "not told" not in found, name
        assert "open" not in found, name


Answers = dict[str, tuple[Pair, dict[str, dict[str, Any]]]]


@pytest.fixture(scope="module")
def answers(probes: dict[str, Probe]) -> Iterator[Answers]:
    """The source's side of the kinds into which faults are put, tried once."""
    with ExitStack() as stack:
        tried: Answers = {}
        for name in FAULTY:
            pair = stack.enter_context(Pair(*made(name), Options(), probes))
            count = sum(pair.counts)
            first = {
                level: pair.sides[0].trial(level, pair.place, steps=1, samples=count) for level in ("plan", "tokens")
            }
            tried[name] = (pair, first)
        yield tried


FAULTY = ("pairs", "packed")
JINJA = "chat_template_jinja"
FAULTS: dict[str, tuple[str, str, Mapping[str, Any], str]] = {
    "another beta": ("pairs", "plan", {"rl_beta": 0.3}, "method.beta"),
    "another loss": ("pairs", "plan", {"dpo_loss_type": ["hinge"]}, "method.loss"),
    "another method": ("pairs", "plan", {"rl": "ipo"}, "method.name"),
    "replies exchanged": (
        "pairs", "tokens", {"datasets": {"field_chosen": "worse", "field_rejected": "better"}}, "data.sources[0].text",
    ),
    "another template for pairs": ("pairs", "tokens", {"chat_template": "chatml", JINJA: None}, "data.sources[0].rejected"),
    "an EOS too many": ("pairs", "tokens", {JINJA: ("<|eot_id|>' -}}", "<|eot_id|><|eot_id|>' -}}")}, "data.sources[0].text"),
    "pairs cut shorter": ("pairs", "tokens", {"sequence_len": 100}, "sequence.max_length"),
    "shorter packs": ("packed", "tokens", {"sequence_len": 700}, "sequence.max_length"),
    "packs in another order": ("packed", "tokens", {"sample_packing_sequentially": None}, "sequence.packing_algorithm"),
    "no packs": ("packed", "plan", {"sample_packing": False, "sample_packing_sequentially": None}, "sequence.packing"),
    "no packs, by their rows": (
        "packed", "tokens", {"sample_packing": False, "sample_packing_sequentially": None}, "sequence.packing",
    ),
}  # fmt: skip


def changed(target: Config, changes: Mapping[str, Any]) -> Config:
    """The config with some keys changed: None takes one away, a mapping goes into each dataset, a pair of texts is put
    one in place of the other."""
    tree = yaml.safe_load(target.document.text)
    for key, value in changes.items():
        if key == "datasets":
            tree[key] = [{**entry, **value} for entry in tree[key]]
        elif isinstance(value, tuple):
            assert value[0] in tree[key]
            tree[key] = tree[key].replace(*value)
        elif value is None:
            tree.pop(key, None)
        else:
            tree[key] = value
    document = target.framework.parse(yaml.safe_dump(tree, sort_keys=False).encode(), "made.yaml", ())
    run = read_document(target.framework.table(target.version), document, Context(None, 1, rows.COUNT))
    return replace(target, document=document, run=run)


def judged(level: str, tried: tuple[Pair, dict[str, dict[str, Any]]], wrong: Config) -> Result:
    pair, first = tried
    side = replace(pair.sides[1], document=wrong.document, run=wrong.run)
    got = side.trial(level, pair.place, steps=1, samples=sum(pair.counts))
    if level == "plan":
        return compare_plans(first["plan"], got, pair.source.run, wrong.run)
    return compare_tokens(first["tokens"], got, pair.source.run, wrong.run, "llama3", pair.counts)


@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_is_caught(name: str, answers: Answers) -> None:
    base, level, changes, setting = FAULTS[name]
    result = judged(level, answers[base], changed(answers[base][0].target, changes))
    assert result.outcome is Outcome.DIFFERS
    caught = [one for one in result.differences if one.setting == setting]
    assert caught, result.differences
    assert caught[0].told


def test_a_fault_in_the_loss_shows_in_training(answers: Answers, probes: dict[str, Probe]) -> None:
    pair, _ = answers["pairs"]
    wrong = changed(pair.target, {"rl_beta": 0.3})
    with Pair(pair.source, wrong, Options(steps=3), probes) as other:
        result = other.level("train")
    assert result.outcome is Outcome.DIFFERS
    assert [(one.setting, one.confirmed) for one in result.differences if one.confirmed] == [("method.beta", True)]
