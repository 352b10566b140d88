"""Conversions that once trained something else, or stopped, without a word: each is told now, or right."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ftmigrate import api
from ftmigrate.conversion import Conversion, convert
from ftmigrate.document.model import PLACEHOLDER
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context
from ftmigrate.run.compare import Verdict
from tests.conftest import FIXTURES

TORCHTUNE, AXOLOTL = registry.get("torchtune"), registry.get("axolotl")
LORA = FIXTURES / "torchtune" / "llama_lora.yaml"
BASE: dict[str, Any] = {
    "base_model": "meta-llama/Llama-3.2-1B", "adapter": "lora", "lora_r": 8, "lora_alpha": 16,
    "lora_target_modules": ["q_proj", "v_proj"], "datasets": [{"path": "data.json", "type": "alpaca"}],
    "sequence_len": 512, "micro_batch_size": 2, "gradient_accumulation_steps": 1, "num_epochs": 1,
    "learning_rate": 1e-4, "lr_scheduler": "cosine", "optimizer": "adamw_torch_fused", "warmup_steps": 5,
    "output_dir": "out",
}  # fmt: skip


def to_axolotl(*overrides: str, context: Context | None = None) -> tuple[dict[str, Any], Conversion]:
    document = TORCHTUNE.parse(LORA.read_bytes(), str(LORA), overrides)
    return _done(convert(document, (TORCHTUNE, "0.6.1"), (AXOLOTL, "0.21.0"), context or Context(), "out.yaml"))


def to_torchtune(changes: dict[str, Any], context: Context | None = None) -> tuple[dict[str, Any], Conversion]:
    config = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    document = AXOLOTL.parse(yaml.safe_dump(config).encode(), "source.yaml", ())
    return _done(convert(document, (AXOLOTL, "0.21.0"), (TORCHTUNE, "0.6.1"), context or Context(), "out.yaml"))


def _done(result: Conversion) -> tuple[dict[str, Any], Conversion]:
    (text,) = result.files.values()
    return yaml.safe_load(text), result


def verdict(result: Conversion, setting: str) -> Verdict:
    found = [one.verdict for entry in result.ledger.entries for one in entry.effects if one.setting == setting]
    return max(found, default=Verdict.EXACT)


@pytest.mark.parametrize("option", ["maximize=true", "amsgrad=true"])
def test_an_option_that_no_optimizer_gets_is_not_written(option: str) -> None:
    written, result = to_axolotl(f"optimizer.{option}")
    assert "optim_args" not in written
    assert verdict(result, "optimizer.options") >= Verdict.APPROXIMATE


def test_an_option_that_the_optimizer_gets_is_written() -> None:
    written, result = to_axolotl("optimizer._component_=torch.optim.SGD", "optimizer.momentum=0.9", "~optimizer.fused")
    assert written["optim_args"] == {"momentum": 0.9}
    assert verdict(result, "optimizer.options") < Verdict.APPROXIMATE


@pytest.mark.parametrize("name", ["RMSprop", "Adagrad"])
def test_the_epsilon_of_other_optimizers_than_adam_is_kept(name: str) -> None:
    written, _ = to_axolotl(f"optimizer._component_=torch.optim.{name}", "optimizer.eps=1e-6", "~optimizer.fused")
    assert float(written["optim_args"]["eps"]) == 1e-6


def test_what_axolotl_does_not_hand_on_is_not_switched_on_elsewhere() -> None:
    written, _ = to_torchtune({"optimizer": "adamw_torch", "optim_args": {"amsgrad": True}})
    assert "amsgrad" not in written["optimizer"]


def test_steps_may_be_written_with_a_dot() -> None:
    written, _ = to_axolotl("epochs=2", "max_steps_per_epoch=10.0")
    assert written["max_steps"] == 20


def test_files_by_split_are_one_file_with_the_split_train() -> None:
    files = "dataset.data_files={train: a.json, test: b.json}"
    written, _ = to_axolotl("dataset.source=json", "~dataset.data_files", files, "dataset.split=test[:9]")
    (entry,) = written["datasets"]
    assert entry["path"] == "b.json"
    assert entry["split"] == "train[:9]"


def test_a_pattern_of_files_is_no_path() -> None:
    written, _ = to_axolotl("dataset.source=json", "~dataset.data_files", "dataset.data_files=rows/*.json")
    (entry,) = written["datasets"]
    assert entry["data_files"] == ["rows/*.json"]
    assert "*" not in entry["path"]


def test_an_alpha_that_axolotl_refuses_is_told() -> None:
    written, result = to_axolotl("model.lora_alpha=16.5")
    assert "lora_alpha" not in written or isinstance(written["lora_alpha"], int)
    assert verdict(result, "adapter.alpha") >= Verdict.APPROXIMATE


@pytest.mark.parametrize(("optimizer", "refused"), [("AdamW8bit", "adamw_bnb_8bit"), ("PagedAdamW8bit", "")])
def test_8_bit_optimizers_across_devices_are_those_that_start(optimizer: str, refused: str) -> None:
    document = TORCHTUNE.parse(LORA.read_bytes(), str(LORA), (f"optimizer._component_=bitsandbytes.optim.{optimizer}",
                                                              "~optimizer.fused"))  # fmt: skip
    context = Context("lora_finetune_distributed", 2)
    written, _ = _done(convert(document, (TORCHTUNE, "0.6.1"), (AXOLOTL, "0.21.0"), context, "out.yaml"))
    assert written["fsdp_version"] == 2
    assert written["optimizer"] != refused


@pytest.mark.parametrize("kind", ["context_qa", "context_qa.load_v2", "context_qa.load_404"])
def test_columns_that_no_builder_reads_are_a_hand_s_work(kind: str) -> None:
    _, result = to_torchtune({"datasets": [{"path": "data.json", "type": kind}]})
    (text,) = result.files.values()
    assert "\N{SYMBOL FOR NULL}" not in text
    assert PLACEHOLDER in text
    assert verdict(result, "data.sources[0].text") is Verdict.MANUAL


def test_tensor_parallelism_comes_with_a_plan_and_no_fused_optimizer() -> None:
    written, _ = to_torchtune({"adapter": None, "tensor_parallel_size": 2, "fsdp_version": 2,
                               "fsdp_config": {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}}, Context(None, 4))  # fmt: skip
    assert written["tensor_parallel_plan"] == {"_component_": "torchtune.models.llama3.base_llama_tp_plan"}
    assert not written["optimizer"].get("fused")


@pytest.mark.parametrize("every", [0.5, 0.1])
def test_a_share_of_steps_between_checkpoints_is_no_fault(every: float) -> None:
    _, result = to_torchtune({"save_steps": every})
    assert result.files


def test_a_tied_output_gets_no_adapter() -> None:
    written, result = to_torchtune({"lora_target_modules": ["q_proj", "lm_head"]})
    assert written["model"]["apply_lora_to_output"] is False
    assert verdict(result, "adapter.target_modules") >= Verdict.APPROXIMATE


def test_offloading_said_by_checkpointing_is_kept() -> None:
    written, _ = to_torchtune({"gradient_checkpointing": "offload"})
    assert written["enable_activation_checkpointing"] is True
    assert written["enable_activation_offloading"] is True


def test_dora_is_not_written_for_the_recipe_that_leaves_it_unprepared() -> None:
    pairs = [{"path": "data.json", "type": "chat_template.default", "chat_template": "llama3"}]
    written, result = to_torchtune({"rl": "dpo", "datasets": pairs, "peft_use_dora": True})
    assert "use_dora" not in written["model"] or written["model"]["use_dora"] is False
    assert verdict(result, "adapter.use_dora") >= Verdict.APPROXIMATE


def test_the_api_says_the_same() -> None:
    text = api.convert(str(LORA), "axolotl", "torchtune", overrides=("optimizer.maximize=true",))
    assert verdict(text, "optimizer.options") >= Verdict.APPROXIMATE
