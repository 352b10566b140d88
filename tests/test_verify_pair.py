"""The levels that run both sides: what they compare, and that seeded faults are caught with the right setting named.

Those that run the real frameworks need their environments; without them they are skipped, loudly.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from ftmigrate.cli import main
from ftmigrate.conversion import convert
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.reader import read as read_document
from ftmigrate.verify import environments, rows, tiny_model, tiny_tokenizer
from ftmigrate.verify.packs import effective
from ftmigrate.verify.page import page
from ftmigrate.verify.pair import Config, Options, Pair, compare, switched
from ftmigrate.verify.plan_level import compare_plans, rates, referee
from ftmigrate.verify.probe import Probe
from ftmigrate.verify.results import Difference, Outcome, Result, status
from ftmigrate.verify.tokens_level import compare_tokens
from ftmigrate.verify.train_level import compare_training, gap
from tests.conftest import FIXTURES
from tests.test_audit import CHROMIUM, browser

BASE = FIXTURES / "torchtune" / "parity" / "base.yaml"
SOURCE, TARGET = ("torchtune", "0.6.1"), ("axolotl", "0.21.0")
CONTEXT = Context("lora_finetune_single_device", 1, rows.COUNT)


def source(overrides: tuple[str, ...] = (), recipe: str = "lora_finetune_single_device") -> Config:
    framework = registry.get(SOURCE[0])
    document = framework.parse(BASE.read_bytes(), "base.yaml", overrides)
    run = read_document(framework.table(SOURCE[1]), document, Context(recipe, 1, rows.COUNT))
    return Config(document, run, framework, SOURCE[1])


def target(changes: Mapping[str, Any] | None = None, of: Config | None = None, recipe: str | None = None) -> Config:
    """The conversion, with some keys changed (None: taken away)."""
    found = of or source()
    framework = registry.get(TARGET[0])
    context = Context(recipe or CONTEXT.recipe, 1, rows.COUNT)
    made = convert(found.document, (found.framework, found.version), (framework, TARGET[1]), context, "made.yaml")
    (text,) = made.files.values()
    tree = yaml.safe_load(text) | (changes or {})
    tree = {key: value for key, value in tree.items() if value is not None}
    document = framework.parse(yaml.safe_dump(tree, sort_keys=False).encode(), "made.yaml", ())
    run = read_document(framework.table(TARGET[1]), document, Context(None, 1, rows.COUNT))
    return Config(document, run, framework, TARGET[1])


# --- what is made -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", tiny_model.FAMILIES)
def test_a_tiny_model_is_whole(family: str, tmp_path: Path) -> None:
    size = tiny_model.make(family, tmp_path / "model")
    data = (tmp_path / "model" / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    assert max(one["data_offsets"][1] for one in header.values()) == len(data) - 8 - length
    assert header["model.embed_tokens.weight"]["shape"] == [size["vocabulary"], size["width"]]
    assert ("lm_head.weight" in header) is not size["tied"]
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["num_hidden_layers"] == size["layers"]
    assert config["eos_token_id"] < size["vocabulary"]


def test_the_same_weights_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tiny_model.make("llama3", tmp_path / name)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


@pytest.mark.parametrize("name", tiny_tokenizer.KINDS)
def test_special_tokens_have_names(name: str, tmp_path: Path) -> None:
    tiny_tokenizer.make(name, tmp_path)
    kind = tiny_tokenizer.KINDS[name]
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    for added in tokenizer["added_tokens"]:
        assert tiny_tokenizer.text_of(name, added["id"]) == added["content"]
    letter = next(key for key in tokenizer["model"]["vocab"] if key in ("A", "<0x41>"))
    assert tiny_tokenizer.text_of(name, tokenizer["model"]["vocab"][letter]) == "A"
    assert max(added["id"] for added in tokenizer["added_tokens"]) < kind.size


@pytest.mark.parametrize(
    ("base", "family"),
    [("meta-llama/Llama-3.2-1B", "llama3_2"), ("Qwen/Qwen2.5-7B", "qwen2_5"), ("google/gemma-2-9b", "gemma2"),
     ("microsoft/Phi-3-mini-4k-instruct", "phi3"), ("NousResearch/Llama-2-7b-hf", "llama2"), ("x/y", None)],
)  # fmt: skip
def test_a_family_is_known_by_a_model_s_name(base: str, family: str | None) -> None:
    assert tiny_model.family_of(base) == family


def test_a_family_is_known_by_a_local_config(tmp_path: Path) -> None:
    for family in ("llama3_1", "qwen2", "gemma"):
        tiny_model.make(family, tmp_path / family)
        assert tiny_model.family_of(str(tmp_path / family)) == family


def test_rows_are_of_the_shape_that_the_sources_read() -> None:
    (made,) = rows.sources([source().run, target().run])
    assert len(made) == rows.COUNT
    assert set(made[0]) == {"instruction", "input", "output"}
    assert {bool(row["input"]) for row in made} == {True, False}


def test_own_rows_are_taken_where_they_lie_here(tmp_path: Path) -> None:
    data = [{"instruction": f"ask {n}", "input": "", "output": "reply"} for n in range(5)]
    rows.write(data, tmp_path / "mine.jsonl")
    found = source((f"dataset.data_files={tmp_path / 'mine.jsonl'}",))
    assert rows.sources([found.run], 3) == [data[:3]]


def test_a_source_of_somebody_s_own_has_no_rows() -> None:
    found = source(("dataset=team.rows",))
    with pytest.raises(rows.NoRows, match="source 1"):
        rows.sources([found.run])


# --- what is compared ---------------------------------------------------------------------------------------------


def sample(text: str, trained: str) -> dict[str, list[int]]:
    ids = [ord(letter) for letter in text]
    return {"ids": ids, "labels": [n if mark == "x" else -100 for n, mark in zip(ids, trained, strict=True)]}


def test_what_changes_no_loss_does_not_count() -> None:
    assert effective(sample("abcd", "xx--")) == effective(sample("abc", "-x-"))


def tokens(one: dict[str, list[int]], other: dict[str, list[int]]) -> Result:
    before, after = source().run, target().run
    return compare_tokens({"samples": [one]}, {"samples": [other]}, before, after, "llama3", [1])


def test_a_mask_that_differs_is_told_with_its_text() -> None:
    found = tokens(sample("Hello you", "---xxxxxx"), sample("Hello you", "------xxx"))
    assert [one.setting for one in found.differences] == ["data.sources[0].loss_mask"]
    assert "tokens 4 to 6: 'lo ' is trained in the source, masked in the target" in found.differences[0].text


def test_a_text_that_differs_is_told_from_its_first_token() -> None:
    found = tokens(sample("Hello you", "xxxxxxxxx"), sample("Help you", "xxxxxxxx"))
    assert found.differences[0].setting == "data.sources[0].text"
    assert "token 4: 'lo you' in the source, 'p you' in the target" in found.differences[0].text


def test_equal_tokens_pass() -> None:
    found = tokens(sample("Hello", "--xxx"), sample("Hello", "--xxx"))
    assert (found.outcome, found.differences) == (Outcome.PASSED, ())


def steps(*losses: float) -> dict[str, Any]:
    return {"steps": [{"loss": loss, "norm": 1.0, "rate": 0.1, "tokens": 1} for loss in losses]}


def test_the_first_step_beyond_rounding_is_told() -> None:
    found = compare_training(steps(2.0, 1.5, 1.2), steps(2.0, 1.500001, 1.3))
    assert found.outcome is Outcome.DIFFERS
    assert "at step 3" in found.details[1]
    assert gap(steps(2.0)["steps"], steps(2.0, 1.0)["steps"]).equal is False
    assert compare_training(steps(2.0, 1.5), steps(2.0, 1.5000001)).outcome is Outcome.PASSED


def test_rates_follow_from_our_reading() -> None:
    run = source().run
    found = rates(run, 12)
    assert found is not None
    assert found[:3] == [0.0, 0.0005, 0.001]
    assert found[-1] == pytest.approx(2.447174e-05)


def plan(**observed: Any) -> dict[str, Any]:
    shape = {"a.lora_A": {"shape": [8, 64], "dtype": "fp32", "decay": 0.01}}
    found = rates(source().run, 12)
    return {"observed": observed, "parameters": shape, "rates": found, "total": 12, "optimizer": "AdamW", "groups": []}


def test_a_setting_that_differs_is_named_and_whether_it_was_told() -> None:
    one, other = plan(**{"adapter.rank": 8}), plan(**{"adapter.rank": 4})
    found = compare_plans(one, other, source().run, target().run)
    assert found.differences == (Difference("adapter.rank", "8 in the source, 4 in the target", told=False),)
    told = compare_plans(one, other, source().run, target({"lora_r": 4}).run)
    assert told.differences[0].told


def test_what_has_no_effect_on_training_does_not_differ() -> None:
    found = compare_plans(
        plan(**{"optimizer.fused": True}), plan(**{"optimizer.fused": False}), source().run, target().run
    )
    assert found.outcome is Outcome.PASSED


def test_the_referee_sees_a_wrong_reading() -> None:
    run = source().run
    found = referee(run, plan(**{"adapter.rank": 4, "adapter.alpha": 16.0}))
    assert found["adapter.rank"] == (8, 4, False)
    assert found["adapter.alpha"][2]
    assert found["schedule.warmup_steps"][2]
    wrong = referee(source(("lr_scheduler.num_warmup_steps=3",)).run, plan())
    assert not wrong["schedule.warmup_steps"][2]


def test_one_setting_s_keys_are_switched() -> None:
    wrong, right = target({"lora_alpha": 32, "lora_r": 4}), target()
    found = switched(wrong.document, wrong.run, right, "adapter.alpha")
    assert found is not None
    assert (found.tree["lora_alpha"], found.tree["lora_r"]) == (16, 4)
    assert switched(right.document, right.run, right, "adapter.alpha") is None


def test_a_data_source_is_switched_as_a_whole() -> None:
    wrong = target({"datasets": [{"path": "alpaca.json", "type": "alpaca"}], "train_on_inputs": False})
    right = target()
    found = switched(wrong.document, wrong.run, right, "data.sources[0].text")
    assert found is not None
    assert found.tree["datasets"] == right.document.tree["datasets"]
    assert found.tree["train_on_inputs"] is True


def test_what_cannot_run_is_no_pass() -> None:
    unknown = source(("dataset=team.rows",))
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(environments, "find", lambda *_, **__: None)
        found = compare(unknown, target(), ("plan", "train"))
    assert [one.outcome for one in found] == [Outcome.NOT_RUN, Outcome.NOT_RUN]
    assert "ftmigrate env create" in found[0].details[0]
    assert status(found) == 2


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    made = str(FIXTURES / "torchtune" / "llama_lora.yaml")
    assert main(["verify", made, made, "--device", "cuda"]) == 2
    assert "there is no GPU" in capsys.readouterr().err


# --- the page -----------------------------------------------------------------------------------------------------

NASTY = "</style><script>document.title='broken'</script>"


def report() -> dict[str, Any]:
    one, other = plan(**{"adapter.rank": 8}), plan(**{"adapter.rank": 4})
    levels = [
        compare_plans(one, other, source().run, target().run),
        tokens(sample("Hello you", "---xxxxxx"), sample("Hello you", "------xxx")),
        compare_training(steps(2.0, 1.5, 1.2), steps(2.0, 1.4, 1.3), [Difference("adapter.rank", NASTY, True, True)]),
        Result("load", Outcome.NOT_RUN, ("no environment",)),
    ]
    side = {"path": f"a{NASTY}.yaml", "framework": "torchtune", "version": "0.6.1"}
    entry = {"setting": "seed", "source": "1", "target": NASTY, "verdict": "approximate", "note": NASTY}
    return {"source": side, "target": side, "levels": [one.json() for one in levels], "differences": [f"seed: {NASTY}"],
            "ledger": [entry]}  # fmt: skip


def test_the_page_shows_curves_and_masks() -> None:
    text = page(report())
    assert "<script" not in text
    for name in ("rates", "loss", "norm"):
        assert re.search(
            rf"data-curves='{name}'.*?<polyline class='source'.*?<polyline class='target'", text, re.DOTALL
        )
    assert text.count("<b class='t on apart'>") == text.count("<b class='t apart'>") - 1 == 3
    assert "could not run" in text
    assert "<tr data-setting='seed'>" in text
    assert "no setting differs" in page({**report(), "ledger": []})


@browser
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    place, shot = tmp_path / "page.html", tmp_path / "page.png"
    place.write_text(page(report()), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
               "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'home'}",
               "--window-size=1200,2400"]  # fmt: skip
    dom = subprocess.run([CHROMIUM, *options, "--dump-dom", place.as_uri()], capture_output=True, text=True, check=True,
                         timeout=120).stdout  # fmt: skip
    assert "<title>broken" not in dom
    assert dom.count("<polyline") == 6
    subprocess.run([CHROMIUM, *options, f"--screenshot={shot}", place.as_uri()], check=True, timeout=120,
                   capture_output=True)  # fmt: skip
    assert shot.stat().st_size > 10_000


# --- the real frameworks ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def probes() -> Iterator[dict[str, Probe]]:
    with ExitStack() as stack:
        found = {}
        for name, version in (SOURCE, TARGET):
            environment = environments.find(name, version)
            if environment is None:
                pytest.skip(f"NOT VERIFIED against {name} {version}: run `ftmigrate env create {name}`")
            found[name] = stack.enter_context(Probe(environment.python, name))
        yield found


@pytest.fixture(scope="session")
def answers(probes: dict[str, Probe]) -> Iterator[tuple[Pair, dict[str, dict[str, Any]]]]:
    """The source's side, tried once."""
    with Pair(source(), target(), Options(), probes) as pair:
        count = sum(pair.counts)
        yield (
            pair,
            {
                "plan": pair.sides[0].trial("plan", pair.place, steps=1),
                "tokens": pair.sides[0].trial("tokens", pair.place, samples=count),
            },
        )


def judged(level: str, answers: tuple[Pair, dict[str, dict[str, Any]]], wrong: Config) -> Result:
    pair, first = answers
    side = replace(pair.sides[1], document=wrong.document, run=wrong.run)
    if level == "plan":
        return compare_plans(first["plan"], side.trial("plan", pair.place, steps=1), pair.source.run, wrong.run)
    got = side.trial("tokens", pair.place, samples=sum(pair.counts))
    return compare_tokens(first["tokens"], got, pair.source.run, wrong.run, "llama3", pair.counts)


@pytest.mark.parametrize("level", ["plan", "tokens"])
def test_a_right_conversion_passes(level: str, answers: tuple[Pair, dict[str, dict[str, Any]]]) -> None:
    found = judged(level, answers, target())
    assert found.outcome is Outcome.PASSED, found.differences


PROMPT = {"format": "{instruction}\n{input}\n", "no_input_format": "{instruction}\n"}
FAULTS: dict[str, tuple[str, Mapping[str, Any], str]] = {
    "wrong alpha": ("plan", {"lora_alpha": 32}, "adapter.alpha"),
    "wrong rank": ("plan", {"lora_r": 4}, "adapter.rank"),
    "a layer without an adapter": ("plan", {"lora_target_modules": ["q_proj", "v_proj"]}, "adapter.target_modules"),
    "DoRA": ("plan", {"peft_use_dora": True}, "adapter.use_dora"),
    "another scaling": ("plan", {"peft_use_rslora": True}, "adapter.use_rslora"),
    "dropout": ("plan", {"lora_dropout": 0.1}, "adapter.dropout"),
    "dropped warmup": ("plan", {"warmup_steps": 0}, "schedule.warmup_steps"),
    "another schedule": ("plan", {"lr_scheduler": "linear"}, "schedule.name"),
    "one more epoch": ("plan", {"num_epochs": 2, "max_steps": 24}, "duration.max_steps"),
    "another learning rate": ("plan", {"learning_rate": 0.002}, "optimizer.learning_rate"),
    "dropped decay": ("plan", {"weight_decay": 0.0}, "optimizer.weight_decay"),
    "clipping": ("plan", {"max_grad_norm": 1.0}, "gradient.max_norm"),
    "another optimizer": ("plan", {"optimizer": "sgd"}, "optimizer.name"),
    "Adam's second moment": ("plan", {"adam_beta2": 0.95}, "optimizer.beta2"),
    "half the batch": ("plan", {"gradient_accumulation_steps": 1, "max_steps": 24}, "batch.accumulation"),
    "shuffled": ("plan", {"curriculum_sampling": None}, "data.order"),
    "inverted mask": ("tokens", {"train_on_inputs": False}, "data.sources[0].loss_mask"),
    "another template": ("tokens", {"datasets": [{"path": "alpaca.json", "type": "alpaca"}]}, "data.sources[0].text"),
    "another prompt": ("tokens", {"datasets": [{"path": "alpaca.json", "type": PROMPT}]}, "data.sources[0].text"),
    "another EOS": ("tokens", {"special_tokens": {"eos_token": "<|end_of_text|>"}}, "data.sources[0].text"),
    "cut shorter": ("tokens", {"sequence_len": 255}, "sequence.max_length"),
    "long rows dropped": ("tokens", {"excess_length_strategy": "drop"}, "sequence.overlong"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_is_caught(name: str, answers: tuple[Pair, dict[str, dict[str, Any]]]) -> None:
    level, changes, setting = FAULTS[name]
    found = judged(level, answers, target(changes))
    assert found.outcome is Outcome.DIFFERS
    assert setting in [one.setting for one in found.differences], found.differences
    assert next(one for one in found.differences if one.setting == setting).told


FULL = ("model=torchtune.models.llama3.llama3", "~model.lora_attn_modules", "~model.apply_lora_to_mlp",
        "~model.apply_lora_to_output", "~model.lora_rank", "~model.lora_alpha", "~model.lora_dropout",
        "~save_adapter_weights_only", "optimizer_in_bwd=false")  # fmt: skip


def test_decay_on_norms_is_caught(probes: dict[str, Probe]) -> None:
    recipe = "full_finetune_single_device"
    found = source(FULL, recipe)
    (result,) = compare(found, target(of=found, recipe=recipe), ("plan",), Options(), probes)
    assert result.outcome is Outcome.DIFFERS
    assert "optimizer.weight_decay_scope" in [one.setting for one in result.differences]


def test_training_differs_and_switching_one_setting_confirms_why(probes: dict[str, Probe]) -> None:
    (found,) = compare(source(), target({"lora_alpha": 32}), ("train",), Options(steps=4), probes)
    assert found.outcome is Outcome.DIFFERS
    assert [(one.setting, one.confirmed) for one in found.differences if one.confirmed] == [("adapter.alpha", True)]


def test_a_right_conversion_trains_the_same(probes: dict[str, Probe]) -> None:
    (found,) = compare(source(("gradient_accumulation_steps=1",)), target(of=source(("gradient_accumulation_steps=1",))),
                       ("train",), Options(steps=20, explain=False), probes)  # fmt: skip
    apart = gap(found.data["source"], found.data["target"])
    assert apart.counts == (20, 20)
    assert apart.loss < 1e-5
