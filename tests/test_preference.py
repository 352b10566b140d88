"""Preference tuning, rounding in training, and what is refused: each said in Axolotl's words and read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftmigrate import api
from ftmigrate.cli import main
from ftmigrate.conversion import Conversion
from ftmigrate.document.model import Value
from ftmigrate.frameworks.axolotl import datasets, methods, pairs
from ftmigrate.frameworks.torchtune import datasets as builders
from ftmigrate.frameworks.torchtune.recipes import METHODS as RECIPES
from ftmigrate.run.compare import Verdict
from ftmigrate.run.evaluation import evaluate
from ftmigrate.run.likeness import compare
from ftmigrate.run.methods import METHODS
from ftmigrate.run.rendering import Conversation, Rendering
from tests.conftest import FIXTURES

TORCHTUNE = FIXTURES / "torchtune"
LLAMA3 = "torchtune.models.llama3.llama3_tokenizer"
SAID = (Verdict.EXACT, Verdict.ADAPTED, Verdict.MADE_EXPLICIT)
BOS = {"bos": "<|begin_of_text|>"}


def _convert(name: str, *overrides: str, exact: bool = False) -> tuple[Conversion, dict[str, Any]]:
    result = api.convert(str(TORCHTUNE / name), "axolotl@0.21.0", "torchtune@0.6.1", overrides=overrides, exact=exact)
    texts = list(result.files.values())
    return result, yaml.safe_load(texts[0]) if texts else {}


def _effects(result: Conversion) -> Mapping[str, Verdict]:
    return {effect.setting: effect.verdict for entry in result.ledger.entries for effect in entry.effects}


def _notes(result: Conversion, setting: str) -> str:
    found = [e.note for entry in result.ledger.entries for e in entry.effects if e.setting == setting]
    return found[0]


# --- DPO --------------------------------------------------------------------------------------------------------


def test_dpo_is_said_and_read_back() -> None:
    result, config = _convert("dpo_lora.yaml", "loss.label_smoothing=0.0")
    assert (config["rl"], config["rl_beta"]) == ("dpo", 0.3)
    assert "dpo_loss_type" not in config
    assert config["datasets"] == [
        {
            "path": "data/pairs.json",
            "type": "chat_template.argilla_chat",
            "field_chosen": "better",
            "field_rejected": "worse",
        }
    ]
    effects = _effects(result)
    same = ("method.name", "method.beta", "method.loss", "data.sources[0].text", "data.sources[0].rejected")
    assert {effects[path] for path in (*same, "data.sources[0].loss_mask")} <= set(SAID)
    target = result.target
    assert target is not None
    assert target["gradient.loss_normalisation"] == result.source["gradient.loss_normalisation"] == "pairs of the step"


def test_chat_template_has_no_bos_of_its_own() -> None:
    """Axolotl's named llama3 template has one, and TRL's tokenizer adds another: two in measured runs."""
    _, config = _convert("dpo_lora.yaml")
    assert config["chat_template"] == "jinja"
    assert "bos_token" not in config["chat_template_jinja"]
    assert config["special_tokens"] == {"eos_token": "<|eot_id|>"}


def test_prompt_is_trained_without_effect() -> None:
    result, _ = _convert("dpo_lora.yaml")
    (entry,) = (e for e in result.ledger.entries if e.source_path == "dataset.train_on_input")
    assert entry.verdict is Verdict.INERT
    assert "differ in their last message only" in entry.note
    other, config = _convert("dpo_lora.yaml", "dataset.train_on_input=false")
    assert config == _convert("dpo_lora.yaml")[1]
    assert other.source["data.sources[0].loss_mask"] == result.source["data.sources[0].loss_mask"]


def test_dropout_is_lost_and_said() -> None:
    result, config = _convert("dpo_lora.yaml")
    assert "lora_dropout" not in config
    assert _effects(result)["adapter.dropout"] in (Verdict.APPROXIMATE, Verdict.DROPPED)


@pytest.mark.parametrize(
    ("exact", "batch"), [(False, 2), (True, 2), (False, 1)], ids=["as it is", "exact", "one pair in a micro batch"]
)
def test_label_smoothing(exact: bool, batch: int) -> None:
    result, config = _convert("dpo_lora.yaml", f"batch_size={batch}", exact=exact)
    effects = _effects(result)
    if exact or batch == 1:
        assert (config["dpo_loss_type"], config["dpo_label_smoothing"]) == (["aot"], 0.2)
        assert (config["micro_batch_size"], config["gradient_accumulation_steps"]) == (1, 8 * batch)
        assert effects["method.label_smoothing"] in SAID
        assert result.target is not None
        assert result.target["batch.effective"] == result.source["batch.effective"] == 8 * batch
    else:
        assert "dpo_label_smoothing" not in config
        assert effects["method.label_smoothing"] in (Verdict.APPROXIMATE, Verdict.DROPPED)
        assert "0.063" in _notes(result, "method.label_smoothing")


def test_full_dpo_over_columns() -> None:
    result, config = _convert("dpo_full.yaml")
    assert (config["rl"], config["rl_beta"], config["dpo_loss_type"]) == ("dpo", 0.5, ["hinge"])
    assert config["max_grad_norm"] == 1.0
    assert config["sequence_len"] == 1024
    assert config["datasets"] == [
        {
            "path": "lvwerra/stack-exchange-paired",
            "split": "train[:1000]",
            "data_files": ["data/rl/**"],
            "type": "chat_template.default",
            "field_messages": "question",
            "field_chosen": "response_j",
            "field_rejected": "response_k",
        }
    ]
    effects = _effects(result)
    assert effects["method.reference"] in SAID
    assert effects["data.sources[0].data_dir"] in SAID


def test_another_reference_model_is_not_passed_over() -> None:
    result, _ = _convert("dpo_full.yaml", "ref_checkpointer.checkpoint_dir=models/other")
    assert result.source["method.reference"] == "models/other"
    assert _effects(result)["method.reference"] is Verdict.APPROXIMATE
    assert "other weights" in _notes(result, "method.reference")


def test_the_reference_model_writes_nothing() -> None:
    result, _ = _convert("dpo_full.yaml", "ref_checkpointer.output_dir=elsewhere")
    (entry,) = (e for e in result.ledger.entries if e.source_path == "ref_checkpointer.output_dir")
    assert (entry.verdict, entry.target_paths) == (Verdict.INERT, ())


def test_rows_in_order_are_not_passed_over() -> None:
    result, config = _convert("dpo_lora.yaml", "shuffle=false")
    assert "curriculum_sampling" not in config
    assert _effects(result)["data.shuffle"] in (Verdict.APPROXIMATE, Verdict.DROPPED)


def test_quantised_base_over_several_devices_is_refused() -> None:
    result, _ = _convert("dpo_lora.yaml", "model._component_=torchtune.models.llama3_1.qlora_llama3_1_8b")
    assert result.refused is None
    spread = api.convert(
        str(TORCHTUNE / "dpo_lora.yaml"),
        "axolotl@0.21.0",
        "torchtune@0.6.1",
        recipe="lora_dpo_distributed",
        overrides=("model._component_=torchtune.models.llama3_1.qlora_llama3_1_8b",),
    )
    assert spread.refused is not None
    assert "FSDP2" in spread.refused
    assert "DeepSpeed" in spread.refused
    assert not spread.files
    assert len(spread.ledger.entries) == len(result.source.claims)


# --- pairs ------------------------------------------------------------------------------------------------------


def _pair(tokenizer: str = LLAMA3, component: str = "preference_dataset", **args: Any) -> tuple[Rendering, Rendering]:
    found = builders.decode(f"torchtune.datasets.{component}", {"source": "x/y", **args}, tokenizer, None, "0.6.1")
    first, second = found["text"].value, found["rejected"].value
    assert isinstance(first, Rendering)
    assert isinstance(second, Rendering)
    return first, second


def test_only_the_reply_counts() -> None:
    chosen, _ = _pair()
    talk = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": " yes\n"}]
    pieces = evaluate(chosen, {"chosen": talk})
    assert [piece.text for piece in pieces if piece.trained] == ["yes<|eot_id|>"]


def test_swapped_replies_are_told_apart() -> None:
    chosen, rejected = _pair()
    kinds = {difference.kind for difference in compare(chosen, rejected)}
    entry = {"type": "chat_template.argilla_chat", "field_chosen": "rejected", "field_rejected": "chosen"}
    swapped = datasets.decode(entry, {"rl": "dpo", "chat_template": "llama3"}, tokens=BOS)
    assert kinds == {"text"}
    assert {d.kind for d in compare(chosen, swapped["text"].value)} == {"text"}  # type: ignore[arg-type]


def test_second_bos_is_a_difference() -> None:
    chosen, _ = _pair()
    own: dict[str, Value] = {"rl": "dpo", "chat_template": "llama3", "special_tokens": {"eos_token": "<|eot_id|>"}}
    named = datasets.decode({"type": "chat_template.argilla_chat"}, own, tokens=BOS)["text"].value
    assert isinstance(named, Rendering)
    (difference,) = {d for d in compare(chosen, named, BOS) if d.where == "plain"}
    assert difference.detail.count("<|begin_of_t") >= 1


def test_keys_that_preference_rows_do_not_read() -> None:
    """validate_config keeps eight keys of such an entry: a chat template or a subset of its own is lost."""
    entry = {"path": "x/y", "name": "sub", "type": "chat_template.argilla_chat", "chat_template": "chatml"}
    found = datasets.decode(entry, {"rl": "dpo", "chat_template": "llama3"}, tokens=BOS)
    text = found["text"].value
    assert isinstance(text, Rendering)
    shape = next(s for s in text.segments if isinstance(s, Conversation)).format
    assert "<|start_header_id|>" in shape.roles["user"].header
    assert found["subset"].value is None


def test_prompt_and_reply_that_may_share_a_token() -> None:
    found = pairs.custom({"prompt_format": "{prompt}"}, "chosen")
    row = {"prompt": "why", "chosen": "yes", "rejected": "no"}
    assert pairs.SPANNED in "".join(piece.text for piece in evaluate(Rendering(found), row))
    kept = pairs.custom({"prompt_format": "{prompt}\n"}, "chosen")
    assert pairs.SPANNED not in "".join(piece.text for piece in evaluate(Rendering(kept), row))


@pytest.mark.parametrize("component", ["preference_dataset", "stack_exchange_paired_dataset"])
def test_written_entry_says_the_pair(component: str) -> None:
    found = builders.decode(f"torchtune.datasets.{component}", {"source": "x/y"}, LLAMA3, None, "0.6.1")
    choice = datasets.best_source({name: decoded.value for name, decoded in found.items()}, BOS)
    assert choice.differences == ()
    back = datasets.decode(choice.entry, {"rl": "dpo", **choice.config}, tokens=BOS)
    for name in ("text", "rejected"):
        assert compare(found[name].value, back[name].value, BOS) == []  # type: ignore[arg-type]


# --- rounding in training ---------------------------------------------------------------------------------------


def test_qat_is_said_and_read_back() -> None:
    result, config = _convert("qat_full.yaml")
    assert config["qat"] == {
        "weight_dtype": "int4",
        "activation_dtype": "int8",
        "group_size": 128,
        "fake_quant_after_n_steps": 50,
    }
    assert "rl" not in config
    effects = _effects(result)
    for name in ("weight_dtype", "activation_dtype", "group_size", "after_steps", "layers"):
        assert effects[f"qat.{name}"] in SAID, name
    assert effects["qat.grid"] is Verdict.APPROXIMATE
    assert "16 %" in _notes(result, "qat.grid")


def test_qat_that_never_sets_in() -> None:
    """torchtune switches rounding off at step 0 and on at the step that is named: for 0 never."""
    result, _ = _convert("qat_full.yaml", "fake_quant_after_n_steps=0")
    assert result.source["qat.after_steps"] == "never"
    assert _effects(result)["qat.after_steps"] in (Verdict.APPROXIMATE, Verdict.DROPPED)


def test_foreign_quantizer_is_left_to_a_human() -> None:
    result, _ = _convert("qat_full.yaml", "quantizer._component_=mine.Quantizer")
    assert _effects(result)["qat.weight_dtype"] is Verdict.MANUAL


# --- what is refused --------------------------------------------------------------------------------------------


def test_methods_have_the_names_of_the_vocabulary() -> None:
    assert set(RECIPES.values()) <= set(METHODS)
    assert set(methods.WRITTEN) | set(methods.NEAREST) <= set(METHODS)


def test_every_recipe_is_written_or_refused_with_the_nearest_thing() -> None:
    assert set(RECIPES.values()) == set(methods.WRITTEN) | set(methods.NEAREST)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("knowledge_distillation_single_device", ("distillation", "KDPlugin", "kd_alpha")),
        ("ppo_full_finetune_single_device", ("ppo", "rl: grpo")),
        ("dev/grpo_full_finetune_distributed", ("grpo", "vLLM", "reward")),
        ("dev/early_exit_finetune_distributed", ("early exit",)),
        ("dev/lora_finetune_distributed_multi_dataset", ("streaming", "weight")),
        ("generate", ("generation", "axolotl inference")),
        ("eleuther_eval", ("evaluation", "LMEvalPlugin")),
        ("quantize", ("quantisation", "axolotl quantize")),
    ],
)
def test_refusal_names_the_feature_and_the_nearest_thing(
    recipe: str, words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "out.yaml", tmp_path / "ledger.json"
    version = "main" if "grpo" in recipe else "0.6.1"
    arguments = ["convert", str(TORCHTUNE / "dpo_lora.yaml"), "--from", f"torchtune@{version}", "--to", "axolotl"]
    assert main([*arguments, "--recipe", recipe, "-o", str(out), "--report", str(report)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    for word in words:
        assert word in said
    assert not out.exists()
    ledger = yaml.safe_load(report.read_text(encoding="utf-8"))
    assert len(ledger["entries"]) == len(api.load(str(TORCHTUNE / "dpo_lora.yaml")).document.leaves)
