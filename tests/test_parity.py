"""Cases that were trained in both frameworks: the converted file has the settings that were measured to train the same.

What plain settings cannot reach must be told in the ledger with its measured size. tools/train_cases.py trains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import yaml
from train_cases import FIXTURES, Case, cases

from ftmigrate import api
from ftmigrate.conversion import Conversion
from ftmigrate.run.compare import LOSSES

TARGET = "axolotl@0.21.0"
CASES: Mapping[str, Case] = cases()

USER = "<|start_header_id|>user<|end_header_id|>\n\n"
REPLY = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
ASK = "Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
TASK = "Below is an instruction that describes a task"
ALPACA = {
    "type.format": f"{USER}{TASK}, paired with an input that provides further context. "
    f"{ASK}### Input:\n{{input}}\n\n### Response:{REPLY}",
    "type.no_input_format": f"{USER}{TASK}. {ASK}### Response:{REPLY}",
}
BASE: dict[str, Any] = {
    "base_model": "model",
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "lora_target_modules": ["q_proj", "v_proj", "o_proj"],
    "datasets[0].path": "alpaca.json",
    **{f"datasets[0].{key}": text for key, text in ALPACA.items()},
    "train_on_inputs": True,
    "special_tokens.eos_token": "<|eot_id|>",
    "dataset_prepared_path": "out/prepared",
    "curriculum_sampling": True,
    "sequence_len": 511,
    "excess_length_strategy": "truncate",
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "num_epochs": 1,
    "max_steps": 12,
    "dataloader_drop_last": True,
    "optimizer": "adamw_torch_fused",
    "learning_rate": 0.001,
    "weight_decay": 0.01,
    "lr_scheduler": "cosine",
    "warmup_steps": 2,
    "max_grad_norm": 0.0,
    "bf16": False,
    "tf32": False,
    "logging_steps": 1,
}
NO_KEYS = ("val_set_size", "cosine_min_lr_ratio", "lora_modules_to_save", "use_eaft", "plugins", "adam_beta1")
FULL = dict.fromkeys(("adapter", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"))
CHAT = {
    "datasets[0].type": "chat_template",
    "datasets[0].chat_template": "llama3",
    "eot_tokens": ["<|eot_id|>"],
    "train_on_inputs": False,
    "special_tokens.eos_token": None,
    **{f"datasets[0].{key}": None for key in ALPACA},
}
PAIRS = {
    "datasets[0].path": "pairs.json",
    "datasets[0].type.field_instruction": "question",
    "datasets[0].type.field_output": "answer",
    "datasets[0].type.no_input_format": f"{USER}{{instruction}}{REPLY}",
    "train_on_inputs": False,
}
COMPLETION = {
    "datasets[0].path": "text.json",
    "datasets[0].type": "completion",
    "special_tokens.eos_token": "<|end_of_text|>",
    "max_grad_norm": 0.0,
    **{f"datasets[0].{key}": None for key in ALPACA},
}
PACKED = {
    "sample_packing": True,
    "sequence_len": 1024,
    "micro_batch_size": 1,
    "max_steps": None,
    "pad_to_sequence_len": None,
}

PACKED_TEXT = {
    **COMPLETION, **PACKED, "sequence_len": 256, "num_epochs": 2, "sample_packing_sequentially": True,
    "dataloader_drop_last": None, "train_on_inputs": None,
}  # fmt: skip

# case -> the keys that differ from BASE; None: not written
KEYS: dict[str, dict[str, Any]] = {
    "a": {},
    "a_shuffled": {"curriculum_sampling": None},
    "b": {"train_on_inputs": False},
    "c": FULL,
    "c_decay": {**FULL, "weight_decay": 0.1},
    "d_sharegpt": {
        **CHAT,
        "datasets[0].path": "sharegpt.json",
        "datasets[0].field_messages": "conversations",
        "datasets[0].message_property_mappings.role": "from",
        "datasets[0].message_property_mappings.content": "value",
    },
    "d_openai": {
        **CHAT,
        "datasets[0].path": "openai.json",
        "datasets[0].field_messages": "messages",
        "datasets[0].message_property_mappings.role": "role",
        "datasets[0].message_property_mappings.content": "content",
    },
    "e": {**PAIRS, "datasets[0].type.format": f"{USER}{{instruction}}{REPLY}"},
    "e_system": {
        **PAIRS,
        **{
            f"datasets[0].type.{key}": "<|start_header_id|>system<|end_header_id|>\n\nAnswer in one line.<|eot_id|>"
            f"{USER}{{instruction}}{REPLY}"
            for key in ("format", "no_input_format")
        },
    },
    "f": {**COMPLETION, "gradient_accumulation_steps": 1, "max_steps": 24, "train_on_inputs": None},
    "f_accumulated": {**COMPLETION, "train_on_inputs": None},
    "f_cut": {
        **COMPLETION,
        "gradient_accumulation_steps": 1,
        "max_steps": 24,
        "sequence_len": 127,
        "train_on_inputs": None,
    },
    "g": {**PACKED, "sample_packing_sequentially": True, "dataloader_drop_last": None},
    "g_shuffled": {**PACKED, "curriculum_sampling": None, "dataloader_drop_last": None},
    "h": {"max_grad_norm": 1.0},
    "i": {"peft_use_dora": True},
    "k": {"num_epochs": 2, "max_steps": 22},
    "l": {"num_epochs": 2, "max_steps": 20},
    "m": {"bf16": True, "peft_autocast_adapter_dtype": False},
    "m_full": {**FULL, "bf16": True},
    "p": {
        "lora_target_modules": [
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head",
        ],
    },
    "q": {"sequence_len": 255},
    "two_sources": {
        "curriculum_sampling": None,
        "max_steps": 23,
        "datasets[1].path": "more.json",
        **{f"datasets[1].{key}": text for key, text in ALPACA.items()},
    },
    "warmup_of_one": {"warmup_steps": 1},
    "warmup_of_none": {"warmup_steps": 0},
    "warmup_of_many": {"warmup_steps": 100},
    "accumulation_of_one": {"gradient_accumulation_steps": 1, "max_steps": 24},
    "accumulation_of_four": {"gradient_accumulation_steps": 4, "num_epochs": 2},
    "ragged": {"gradient_accumulation_steps": 4, "num_epochs": 2, "max_steps": 10},
    "ragged_shuffled": {"gradient_accumulation_steps": 4, "num_epochs": 2, "max_steps": 10, "curriculum_sampling": None},
    "short_epochs": {"num_epochs": 5, "max_steps": 25, "curriculum_sampling": None},
    "full_masked": {**FULL, "train_on_inputs": False, "weight_decay": 0.1, "max_grad_norm": 0.5},
    "packed_masked": {
        **PACKED, "micro_batch_size": 2, "train_on_inputs": False, "sample_packing_sequentially": True,
        "dataloader_drop_last": None, "num_epochs": 2,
    },
    "packed_text": PACKED_TEXT,
    "packed_text_split": PACKED_TEXT,
    "quantized": {"adapter": "qlora", "load_in_4bit": True},
    "odd_alpaca": {"datasets[0].path": str(FIXTURES / "odd_alpaca.json")},
    "odd_masked": {"datasets[0].path": str(FIXTURES / "odd_alpaca.json"), "train_on_inputs": False},
    "odd_chat": {
        **CHAT,
        "datasets[0].path": str(FIXTURES / "odd_chat.json"),
        "datasets[0].field_messages": "conversations",
        "datasets[0].message_property_mappings.role": "from",
        "datasets[0].message_property_mappings.content": "value",
    },
}  # fmt: skip

# case -> what is lost beside HERE: setting -> what its note says
TEXT, MASK = "data.sources[0].text", "data.sources[0].loss_mask"
NAMES = "data.sources[{}].special_names"
HERE = {
    "launch.device": "cuda",
    "tokenizer.eos_token": "the saved tokenizer",
    NAMES.format(0): "0.016 in the loss where 12 of 48 rows did",
}
BLANKS = {TEXT: "8.8e-4"}
COUNTED = {"memory.chunked_loss": "0.3 % in rows of 350 tokens"}
SYSTEM = {TEXT: "a column that the source does not read: system"}
HEADER = {MASK: "measured 0.02 to 0.11"}
ORDER = {"data.order": "0.026"}
DECAY = {"optimizer.weight_decay_scope": "6e-5 at weight decay 0.01, 5.6e-4 at 0.1"}
AUTOCAST = {"precision.autocast": "4.5e-4 (LoRA, bf16 adapters) to 6e-3 (full fine-tune)"}
SPLIT = {"sequence.overlong": "16 of 12"}
LEFT = {"duration.partial_step": "0.007"}
PACKS = {"sequence.packing_algorithm": "7 against 8, 0.068"}
STARTS = {"data.sources[0].loss_mask": "2.4e-5"}
LOST: dict[str, dict[str, str]] = {
    "a": BLANKS | COUNTED,
    "a_shuffled": BLANKS | COUNTED | ORDER,
    "b": BLANKS | HEADER,
    "c": BLANKS | COUNTED | DECAY,
    "c_decay": BLANKS | COUNTED | DECAY,
    "d_sharegpt": HEADER | SYSTEM,
    "d_openai": HEADER | SYSTEM,
    "e": BLANKS | HEADER,
    "e_system": BLANKS | HEADER,
    "f": SPLIT | COUNTED,
    "f_accumulated": SPLIT | COUNTED | {"gradient.loss_normalisation": "3e-5"},
    "f_cut": SPLIT | COUNTED,
    "g": BLANKS | COUNTED | LEFT | STARTS | {"sequence.packing_algorithm": "<|end_of_text|>"},
    "g_shuffled": BLANKS | COUNTED | LEFT | STARTS | ORDER | PACKS,
    "h": BLANKS | COUNTED,
    "i": BLANKS | COUNTED,
    "k": BLANKS | COUNTED,
    "l": BLANKS | COUNTED | {"duration.epoch_steps": "0.021"},
    "m": BLANKS | COUNTED | AUTOCAST,
    "m_full": BLANKS | COUNTED | AUTOCAST | DECAY | {"precision.weights": "6e-3"},
    "p": BLANKS | COUNTED,
    "q": BLANKS | COUNTED,
    "two_sources": BLANKS
    | COUNTED
    | ORDER
    | {"data.sources[1].text": "8.8e-4", NAMES.format(1): "0.016 in the loss where 12 of 48 rows did"},
    "warmup_of_one": BLANKS | COUNTED | {"schedule.warmup_steps": "0.019"},
    "warmup_of_none": BLANKS | COUNTED,
    "warmup_of_many": BLANKS | COUNTED,
    "accumulation_of_one": BLANKS | COUNTED,
    "accumulation_of_four": BLANKS | COUNTED,
    "ragged": BLANKS | COUNTED | LEFT,
    "ragged_shuffled": BLANKS | COUNTED | LEFT | ORDER,
    "short_epochs": BLANKS | COUNTED | ORDER | {"duration.epoch_steps": "0.021"},
    "full_masked": BLANKS | HEADER | DECAY,
    "packed_masked": BLANKS | HEADER | LEFT | {"sequence.packing_algorithm": "<|end_of_text|>"},
    "packed_text": SPLIT | COUNTED | LEFT | {"gradient.loss_normalisation": "3e-5"},
    "packed_text_split": SPLIT
    | COUNTED
    | LEFT
    | {
        "gradient.loss_normalisation": "3e-5",
        "sequence.split_across_packs": "6 steps for 5",
    },
    "quantized": BLANKS | COUNTED | {"model.quantizer": "The same grid"},
    "odd_alpaca": BLANKS | COUNTED,
    "odd_masked": BLANKS | HEADER,
    "odd_chat": HEADER | SYSTEM,
}


@cache
def converted(name: str, exact: bool = False, rows: bool = True) -> Conversion:
    case = CASES[name]
    return api.convert(
        str(case.config),
        TARGET,
        "torchtune",
        overrides=case.overrides,
        recipe=case.recipe,
        rows=case.rows if rows else None,
        exact=exact,
    )


def lost(made: Conversion) -> dict[str, str]:
    """The settings that differ, with their notes."""
    effects = (effect for entry in made.ledger.entries for effect in entry.effects)
    return {effect.setting: effect.note for effect in effects if effect.verdict in LOSSES}


def test_each_case_is_stated() -> None:
    assert set(KEYS) == set(LOST) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_keys(name: str) -> None:
    found = converted(name).keys
    wanted = BASE | KEYS[name]
    wrong = {key: (found.get(key), value) for key, value in wanted.items() if found.get(key) != value}
    assert not wrong
    assert not set(NO_KEYS) & set(found)


@pytest.mark.parametrize("name", CASES)
def test_what_is_lost_is_told_with_its_size(name: str) -> None:
    notes = lost(converted(name))
    wanted = HERE | LOST[name]
    if "eot_tokens" in KEYS[name]:
        del wanted["tokenizer.eos_token"]
    assert set(notes) == set(wanted)
    untold = {setting: notes[setting] for setting, size in wanted.items() if size not in notes[setting]}
    assert not untold


@pytest.mark.parametrize("name", ["a_shuffled", "two_sources"])
def test_exact_reaches_the_order(name: str) -> None:
    made = converted(name, exact=True)
    assert made.keys["shuffle_merged_datasets"] is False
    assert "curriculum_sampling" not in made.keys
    assert {"data.order", "seed.value"}.isdisjoint(lost(made))


def test_exact_reaches_the_order_by_the_seed_alone_where_there_is_no_module() -> None:
    case = CASES["d_openai"]
    made = api.convert(str(case.config), "axolotl@0.20.0", "torchtune", overrides=(*case.overrides, "shuffle=true"),
                       exact=True, recipe=case.recipe, rows=case.rows, world_size=1)  # fmt: skip
    assert (made.keys["seed"], made.keys["shuffle_merged_datasets"]) == (0, False)
    assert "data.order" not in lost(made)
    assert len(made.files) == 1


@pytest.mark.parametrize("version", ["0.19.0", "0.20.0"])
@pytest.mark.parametrize("name", ["d_sharegpt", "d_openai"])
def test_exact_reaches_the_mask_by_a_template_where_there_is_no_module(name: str, version: str) -> None:
    case = CASES[name]
    made = api.convert(str(case.config), f"axolotl@{version}", "torchtune", overrides=case.overrides, exact=True,
                       recipe=case.recipe, rows=case.rows)  # fmt: skip
    entry = yaml.safe_load(next(iter(made.files.values())))["datasets"][0]
    assert (entry["type"], entry["chat_template"]) == ("chat_template", "jinja")
    for stand_in in ("[[dummy_message]]", "zzdummymessagezz"):
        assert stand_in in entry["chat_template_jinja"]
    assert "a column that the source does not read: system" in lost(made)[TEXT]
    assert all("column" in part for part in lost(made).get(MASK, "column").split("; "))


@pytest.mark.parametrize("name", ["d_sharegpt", "d_openai"])
def test_exact_reaches_the_mask_and_the_text_of_names_by_rows_of_its_own(name: str) -> None:
    made = converted(name, exact=True)
    entry = yaml.safe_load(next(iter(made.files.values())))["datasets"][0]
    assert entry["type"].endswith("_exact.rows")
    assert {MASK, TEXT, NAMES.format(0)}.isdisjoint(lost(made))


def test_left_over_micro_batches_count_where_the_rows_are_not_known() -> None:
    made = converted("k", rows=False)
    assert "max_steps" not in made.keys
    assert "0.007" in lost(made)["duration.partial_step"]
    assert "--rows" in lost(made)["duration.partial_step"]
