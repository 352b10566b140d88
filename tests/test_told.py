"""Differences that are easily passed over, each told at the setting and at the leaf that it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftmigrate import api
from ftmigrate.cli import main
from ftmigrate.conversion import Conversion
from ftmigrate.conversion.ledger import Entry
from ftmigrate.run.compare import Verdict
from tests.conftest import FIXTURES

LORA = FIXTURES / "torchtune" / "llama_lora.yaml"
MISTRAL = (
    "model._component_=torchtune.models.mistral.lora_mistral_7b",
    "tokenizer._component_=torchtune.models.mistral.mistral_tokenizer",
    "checkpointer.model_type=MISTRAL",
)


def _convert(*overrides: str, path: Path = LORA, exact: bool = False) -> Conversion:
    return api.convert(str(path), "axolotl@0.21.0", "torchtune@0.6.1", overrides=overrides, exact=exact)


def _entry(result: Conversion, path: str) -> Entry:
    (found,) = (entry for entry in result.ledger.entries if entry.source_path == path)
    return found


def _verdict(result: Conversion, setting: str) -> Verdict:
    found = [e for entry in result.ledger.entries for e in entry.effects if e.setting == setting]
    return found[0].verdict if found else Verdict.EXACT


def _text(result: Conversion) -> str:
    return next(iter(result.files.values()))


# --- model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("longest", "verdict"), [(4096, Verdict.ADAPTED), (4100, Verdict.APPROXIMATE)])
def test_a_sliding_window_counts_only_above_its_length(longest: int, verdict: Verdict) -> None:
    result = _convert(*MISTRAL, f"tokenizer.max_seq_len={longest}")
    assert _verdict(result, "model.attention_span") is verdict
    if verdict is Verdict.APPROXIMATE:
        assert "sliding_window" in _entry(result, "model._component_").note


def test_no_window_no_difference() -> None:
    assert _verdict(_convert("tokenizer.max_seq_len=100000"), "model.attention_span") is Verdict.ADAPTED


def test_4_bit_weights_are_rounded_by_other_code() -> None:
    result = _convert("model._component_=torchtune.models.llama3_2.qlora_llama3_2_1b")
    entry = _entry(result, "model._component_")
    assert entry.verdict is Verdict.APPROXIMATE
    assert "the loss was not measured" in entry.note
    assert result.keys["load_in_4bit"] is True


def test_a_model_of_ones_own_is_left_to_do_at_its_place() -> None:
    result = _convert("model._component_=mylib.my_model")
    assert _entry(result, "model._component_").verdict is Verdict.MANUAL
    lines = _text(result).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("base_model:"))
    assert lines[at - 1] == "# TODO base_model: layers and widths: mylib.my_model"
    assert result.keys["adapter"] == "lora"
    assert result.keys["lora_r"] == 16


# --- data -------------------------------------------------------------------------------------------------------


def test_arguments_of_a_dataset_of_ones_own_are_kept() -> None:
    text = _text(_convert(path=FIXTURES / "torchtune" / "mixed_sources.yaml"))
    assert "# TODO datasets: mylib.my_dataset (root: data/house_style, max_turns: 6)" in text


def test_the_prompt_is_nothing_that_plain_text_has() -> None:
    assert "train_on_inputs" not in _convert(path=FIXTURES / "torchtune" / "text_completion.yaml").keys


# --- loss and evaluation ----------------------------------------------------------------------------------------


def test_a_chunked_loss_is_left_out_where_the_log_would_change() -> None:
    same, other = _convert(), _convert("dataset.train_on_input=true")
    assert same.keys["chunked_cross_entropy"] is True
    loss = "loss._component_=torchtune.modules.loss.CEWithChunkedOutputLoss"
    plain = _convert(loss, path=FIXTURES / "torchtune" / "text_completion.yaml")
    assert "chunked_cross_entropy" not in plain.keys
    entry = _entry(plain, "loss._component_")
    assert entry.verdict is Verdict.APPROXIMATE
    assert "chunked_cross_entropy: true is left out" in entry.note
    assert other.keys["chunked_cross_entropy"] is True  # a chat template's BOS has no label


def test_no_evaluation_key_without_evaluation(tmp_path: Path) -> None:
    config = tmp_path / "evaluated.yaml"
    more = (
        "dataset_val: {_component_: torchtune.datasets.chat_dataset, source: json, data_files: data/val.jsonl, "
        "conversation_column: messages, conversation_style: openai}\nrun_val_every_n_steps: 50\nbatch_size_val: 8\n"
    )
    config.write_text(LORA.read_text(encoding="utf-8") + more, encoding="utf-8")
    result = api.convert(str(config), "axolotl@0.21.0", "torchtune@main", recipe="lora_finetune_distributed")
    assert result.source["evaluation.batch_size"] == 8
    assert not [key for key in result.keys if "eval" in key or key == "val_set_size"]
    assert _entry(result, "batch_size_val").verdict is Verdict.DROPPED
    settings = [e.setting for entry in _convert().ledger.entries for e in entry.effects]
    assert not [path for path in settings if path.startswith("evaluation.") and path != "evaluation.data"]


def test_blanks_that_a_tokenizer_takes_off_are_told() -> None:
    """torchtune's sentencepiece tokenizers take blanks, and nothing else, off the end of each message (_utils.py)."""
    source = ("dataset._component_=torchtune.datasets.instruct_dataset", "~dataset.conversation_column",
              "~dataset.conversation_style")  # fmt: skip
    note = _entry(_convert(*MISTRAL, *source), "dataset._component_").note
    assert "blanks at the end of a message" in note
    assert "white space around a column" not in note


# --- the account ------------------------------------------------------------------------------------------------


def test_what_the_exact_mode_keeps_is_said() -> None:
    plain, exact = _convert("tokenizer.max_seq_len=2048"), _convert("tokenizer.max_seq_len=2048", exact=True)
    assert _entry(plain, "shuffle").note.endswith("--exact keeps it")
    assert _verdict(exact, "data.order") in (Verdict.ADAPTED, Verdict.EXACT, Verdict.MADE_EXPLICIT)
    said = {e.setting for entry in plain.ledger.entries for e in entry.effects if "--exact keeps" in e.note}
    kept = {setting for setting in said if _verdict(exact, setting) < Verdict.APPROXIMATE}
    assert said == kept
    assert not any("--exact keeps" in entry.note for entry in exact.ledger.entries)


def test_fused_layers_say_which_parts_have_adapters() -> None:
    phi = ("model._component_=torchtune.models.phi3.lora_phi3_mini",
           "tokenizer._component_=torchtune.models.phi3.phi3_mini_tokenizer", "checkpointer.model_type=PHI3_MINI")  # fmt: skip
    note = _entry(_convert(*phi), "model.lora_attn_modules").note
    assert "qkv_proj: an adapter each on its parts q, v in the source, one on all of it in the target" in note
    assert "share one A matrix" in note


def test_the_report_tells_equal_notes_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(LORA), "--to", "axolotl"]) == 0
    told = " ".join(capsys.readouterr().err.split())  # lines are as long as the terminal is wide
    assert "approximate tokenizer._component_ (line 14), dataset._component_ (line 28)" in told
    assert told.count("the part of that text that is trained") == 1


def test_where_the_merged_model_lies_is_said() -> None:
    text = _text(_convert())
    assert "in runs/support/merged" in text


def test_seed_has_a_heading_of_its_own() -> None:
    lines = _text(_convert("cudnn_deterministic_mode=1")).splitlines()
    assert lines[lines.index("# Seed") + 1 :][:2] == ["seed: 7", "full_determinism: true"]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("epoch: 3", "did you mean epochs"),
        ("num_epochs: 3", "it is one of Axolotl"),
        ("image: repo/image", "is no key of torchtune 0.6.1"),
        ("teacher_model: x", "never read by the recipe"),
    ],
)
def test_an_unknown_key_is_told_for_what_it_is(tmp_path: Path, key: str, told: str) -> None:
    text = (FIXTURES / "torchtune" / "llama_lora.yaml").read_text(encoding="utf-8").replace("epochs: 3\n", "")
    config = tmp_path / "a.yaml"
    config.write_text(f"{text}{key}\n", encoding="utf-8")
    made = api.convert(str(config), "axolotl", "torchtune@0.6.1")
    name = key.partition(":")[0]
    entry = next(entry for entry in made.ledger.entries if entry.source_path == name)
    assert entry.verdict.word == "inert"
    assert told in entry.note
    assert any(note.startswith("unknown to the framework") and name in note for note in made.ledger.notes)


@pytest.mark.parametrize(("every", "verdict"), [("null", "inert"), ("50", "dropped")])
def test_rows_for_evaluation_count_only_where_they_are_evaluated(every: str, verdict: str) -> None:
    rows = ("dataset_val._component_=torchtune.datasets.alpaca_cleaned_dataset", "batch_size_val=8")
    overrides = (*rows, f"run_val_every_n_steps={every}")
    made = api.convert(str(LORA), "axolotl", "torchtune@main", recipe="lora_finetune_distributed", overrides=overrides)
    assert _entry(made, "dataset_val._component_").verdict.word == verdict
    assert _entry(made, "batch_size_val").verdict.word == verdict


def test_a_column_that_only_the_target_reads_is_told() -> None:
    """Found by hand: Axolotl's chats take a system message from a column, which torchtune does not read."""
    effects = [effect for entry in _convert().ledger.entries for effect in entry.effects]
    (text,) = {effect.note for effect in effects if effect.setting == "data.sources[0].text"}
    assert "a column that the source does not read: system" in text


def test_pairs_whose_prompt_is_in_a_column_of_its_own_are_by_hand(tmp_path: Path) -> None:
    config = tmp_path / "dpo.yaml"
    config.write_text(
        "base_model: Qwen/Qwen2.5-0.5B\nrl: dpo\nchat_template: chatml\nlearning_rate: 1e-5\nmicro_batch_size: 1\n"
        "gradient_accumulation_steps: 1\nnum_epochs: 1\ndatasets:\n  - path: a/b\n    type: chat_template.default\n"
        "    field_messages: conversation\n",
        encoding="utf-8",
    )
    made = api.convert(str(config), "torchtune", "axolotl")
    entry = _entry(made, "datasets[0].field_messages")
    assert entry.verdict is Verdict.MANUAL
    assert "the column conversation cannot be read" in entry.note


@pytest.mark.parametrize(("mode", "verdict"), [(1, Verdict.APPROXIMATE), (2, Verdict.ADAPTED)])
def test_a_warning_is_not_an_error(mode: int, verdict: Verdict) -> None:
    made = _convert(f"cudnn_deterministic_mode={mode}")
    entry = _entry(made, "cudnn_deterministic_mode")
    assert entry.verdict is verdict
