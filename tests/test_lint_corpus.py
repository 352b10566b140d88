"""No false alarm: every config the frameworks publish, linted at its own version.

FTMIGRATE_LINT_STEP=N takes every Nth file only.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from ftmigrate.document.model import Severity
from ftmigrate.linter import engine
from ftmigrate.linter.engine import Job, Result
from tests.conftest import CORPUS, WHEEL

STEP = int(os.environ.get("FTMIGRATE_LINT_STEP", "1"))
FOLDERS = {
    "torchtune@0.6.1": WHEEL,
    "torchtune@main": CORPUS / "torchtune-main",
    "axolotl@0.8.0": CORPUS / "axolotl-0.8.0",
    "axolotl@0.9.2": CORPUS / "axolotl-0.9.2",
    "axolotl@0.18.0": CORPUS / "axolotl-0.18",
}

# file -> (code, why the framework itself stops there)
STOPS = {
    # torchtune: `step % None` in the training loop
    "dev/8B_full_experimental.yaml": ("FT017", "log_every_n_steps: null is used as a divisor"),
    "qwen2_5/14B_to_7B_KD_lora_single_device.yaml": ("FT021", "lora_qwen2_5_7b does not exist"),
    "llama4/maverick_17B_128E_full.yaml": ("FT008", "InterpolationKeyError: model_dir"),
    # Axolotl: its schema's own validation refuses these
    "pythia-12b/config.yml": ("FT014", "max_packed_sequence_len is not supported any more"),
    "stablelm-2/1.6b/fft.yml": ("FT014", "flash_attn_rms_norm was removed"),
    "stablelm-2/1.6b/lora.yml": ("FT014", "flash_attn_rms_norm was removed"),
    "jeopardy-bot/config.yml": ("FT017", "tokens: Input should be a valid list"),
    "mpt-7b/config.yml": ("FT017", "tokens: Input should be a valid list"),
    "redpajama/config-3b.yml": ("FT017", "tokens: Input should be a valid list"),
    "expert_parallel/qwen3_30ba3b_ep_fft_4gpu.yaml": ("FT017", "warmup_steps: Input should be a valid integer"),
    "expert_parallel/qwen3_30ba3b_ep_fsdp_fft_4gpu.yaml": ("FT017", "warmup_steps: Input should be a valid integer"),
    "expert_parallel/qwen3_30ba3b_ep_lora_4gpu.yaml": ("FT017", "warmup_steps: Input should be a valid integer"),
    "llama-3/diffusion/sft-1b.yaml": ("FT017", "warmup_steps: Input should be a valid integer"),
    "falcon/config-7b-qlora.yml": ("AX202", "early_stopping_patience requires save_steps and eval_steps"),
    "xgen-7b/xgen-7b-8k-qlora.yml": ("AX202", "early_stopping_patience requires save_steps and eval_steps"),
    "gemma3/gemma-3-4b-vision-qlora.yml": ("AX204", "Require cfg.load_in_4bit to be True for qlora"),
    "mistral-medium-3_5/qlora-text.yml": ("FT017", "output_dir: Input should be a valid string"),
    "mistral-medium-3_5/qlora-vision.yml": ("FT017", "output_dir: Input should be a valid string"),
}


def files(spec: str) -> list[Path]:
    folder = FOLDERS[spec]
    if folder is None or not folder.is_dir():
        pytest.skip(f"the configs of {spec} are not here")
    return [path for path in sorted(folder.rglob("*")) if path.suffix in (".yaml", ".yml")][::STEP]


@cache
def linted(spec: str) -> list[tuple[Path, Result]]:
    """What is no training config is passed over, as in a directory."""
    found = []
    for path in files(spec):
        data = path.read_bytes()
        if engine.lint(data, str(path), Job(isolated=True), named=False) is not None:
            result = engine.lint(data, str(path), Job(spec, isolated=True), named=False)
            assert result is not None
            found.append((path, result))
    return found


@pytest.mark.parametrize("spec", FOLDERS)
def test_frameworks_are_told_apart(spec: str) -> None:
    for path in files(spec):
        result = engine.lint(path.read_bytes(), str(path), Job(isolated=True), named=False)
        if result is not None and result.framework:
            assert result.framework == spec.partition("@")[0], path


@pytest.mark.parametrize("spec", FOLDERS)
def test_no_check_dies(spec: str) -> None:
    assert [(path, result.faults) for path, result in linted(spec) if result.faults] == []


@pytest.mark.parametrize("spec", FOLDERS)
def test_no_error_where_the_framework_starts(spec: str) -> None:
    unexpected = []
    for path, result in linted(spec):
        expected = next((code for name, (code, _) in STOPS.items() if path.as_posix().endswith(name)), None)
        unexpected += [
            f"{path}:{one.line} {one.code} {one.message}"
            for one in result.diagnostics
            if one.severity is Severity.ERROR and one.code != expected
        ]
    assert unexpected == []


@pytest.mark.parametrize("spec", FOLDERS)
def test_boilerplate_is_one_line_at_most(spec: str) -> None:
    for path, result in linted(spec):
        codes = [one.code for one in result.diagnostics if one.severity is Severity.INFO]
        assert len(codes) == len(set(codes)), path


# code -> why what it warns of in the published configs is worth its line
WHY = {
    "AX004": "one file lists layers beside lora_target_linear, which adapts them all",
    "AX006": "chatml on an instruct model of Mistral, tuned with [INST]",
    "AX008": "lora_fan_in_fan_out on Llama and Mistral",
    "AX017": "patterns of unfrozen_parameters that match no name of an adapted model: nothing is trained",
    "AX025": "chat templates on base models, whose end of text is another: what ends a reply is not trained",
    "AX024": "warmup_ratio under lr_scheduler: constant, which has none",
    "AX023": "an example for Mixtral shards by MistralDecoderLayer, which that model has not",
    "FT010": "FSDP 1's keys under FSDP 2 and misspelt ones (eta_min): passed over by the loader",
    "FT012": "adam_eps, as others call it: passed over by the loader",
    "FT013": "DPO columns that these versions do not read yet, so that others are read",
    "FT014": "memory_efficient_fsdp_wrap went with torchtune 0.3",
    "FT015": "keys copied into recipes whose source never reads them",
    "FT016": "old spellings for which the release itself announces the end",
    "FT030": "a number that YAML 1.1 reads as text",
    "FT102": "a warmup of 100 steps in a run of 50",
    "FT104": "evals_per_epoch without any rows to evaluate on",
    "FT106": "lora_* keys in full fine-tuning, where adapter is empty",
    "FT110": "eager attention under packing: rows see each other",
    "FT112": "sequences of twice the model's positions without any scaling, or 500,000 tokens for 131,072",
    "FT121": "weights of fp16 without mixed precision",
    "FT124": "the same data set named twice",
    "FT137": "val_set_size: 0.05 in four examples that never evaluate",
    "TT009": "fsdp.cpu_offload, which no recipe reads: the parameters stay on the GPU",
}

# code -> how many warnings at most in all of a version's files
WARNINGS = {
    "torchtune@0.6.1": {"FT014": 1, "FT015": 11, "FT102": 1, "TT009": 3},
    "torchtune@main": {"FT010": 3, "FT014": 1, "FT015": 15, "FT102": 1, "TT009": 3},
    "axolotl@0.8.0": {"AX006": 1, "AX008": 2, "AX023": 1, "AX025": 1, "FT010": 5, "FT012": 2, "FT013": 10, "FT106": 4, "FT112": 3,
                      "FT121": 3, "FT124": 1},
    "axolotl@0.9.2": {"AX006": 1, "AX008": 2, "AX023": 1, "AX025": 1, "FT010": 4, "FT012": 2, "FT013": 10, "FT106": 4, "FT112": 3,
                      "FT121": 3, "FT124": 1},
    "axolotl@0.18.0": {"AX004": 1, "AX006": 1, "AX008": 2, "AX017": 3, "AX023": 1, "AX024": 1, "AX025": 2, "FT010": 67, "FT012": 2,
                       "FT016": 40, "FT030": 4, "FT104": 7, "FT106": 4, "FT110": 1, "FT112": 5, "FT121": 3, "FT124": 1, "FT137": 4},
}  # fmt: skip


@pytest.mark.parametrize("spec", WARNINGS)
def test_warnings_are_those_that_were_looked_at(spec: str) -> None:
    assert WARNINGS[spec].keys() <= WHY.keys()
    counts: dict[str, int] = {}
    for _, result in linted(spec):
        for one in result.diagnostics:
            if one.severity is Severity.WARNING:
                counts[one.code] = counts.get(one.code, 0) + 1
    assert {code: count for code, count in counts.items() if count > WARNINGS[spec].get(code, 0)} == {}
