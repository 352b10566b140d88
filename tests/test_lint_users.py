"""Mistakes that users make, found by reading the linter's answers by hand: what it says, and what its fixes write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftmigrate.cli import main
from tests.conftest import FIXTURES

AXOLOTL = """\
base_model: meta-llama/Llama-3.2-1B
datasets:
  - path: data/rows.jsonl
    type: alpaca
sequence_len: 512
micro_batch_size: 1
gradient_accumulation_steps: 1
num_epochs: 1
learning_rate: 0.0001
output_dir: runs/a
"""
TORCHTUNE = (FIXTURES / "torchtune" / "llama_lora.yaml").read_text(encoding="utf-8")


def found(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    path = folder / "a.yaml"
    path.write_text(text, encoding="utf-8")
    main(["lint", "--isolated", "--format", "json", str(path)])
    diagnostics: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["diagnostics"]
    return diagnostics


# what is put in for what, the code, what the message holds, its severity
CASES = [
    ("", "use_dora: true", "FT010", "did you mean `peft_use_dora`?", "warning"),
    ("base_model:", "base_modle:", "FT010", "Axolotl stops without it", "error"),
    ("base_model: meta-llama/Llama-3.2-1B\n", "", "FT020", "`base_model` is missing", "error"),
    ("    type: alpaca", "    type: alpaca\n    sequence_len: 2048", "FT011", "but of the top level", "warning"),
    ("    type: alpaca", "    type: chatml.intel", "AX011", "nothing says that they are learnt from", "error"),
    ("  - path: data/rows.jsonl\n    type", "  - type", "AX018", "no `path:`", "error"),
    ("", "optimizer: AdamW_Torch", "AX019", "did you mean `adamw_torch`?", "error"),
    ("", "lr_scheduler: cosine_with_warmup", "AX019", "did you mean `cosine`?", "error"),
    ("", "warmup_ratio: 10", "FT102", "10 times all steps", "warning"),
    ("", "warmup_ratio: 1e1", "FT102", "10 times all steps", "warning"),
    ("", "bf16: full", "FT018", "Legal: true, false, auto.", "error"),
]


@pytest.mark.parametrize(("before", "after", "code", "says", "severity"), CASES, ids=[case[1][:24] for case in CASES])
def test_it_is_told(
    before: str, after: str, code: str, says: str, severity: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(tmp_path, AXOLOTL, capsys) == []
    text = AXOLOTL.replace(before, after, 1) if before else f"{AXOLOTL}{after}\n"
    told = [(one["code"], one["severity"]) for one in found(tmp_path, text, capsys) if says in one["message"]]
    assert told == [(code, severity)]


def test_a_key_that_other_recipes_read_is_not_called_newer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = found(tmp_path, f"{TORCHTUNE}\noptimizer_in_bwd: true\n", capsys)
    assert [one["code"] for one in told if "optimizer_in_bwd" in one["message"]] == ["FT015"]


def test_a_resolver_that_nobody_has_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = found(tmp_path, TORCHTUNE.replace("output_dir: ", "output_dir: ${env:SCRATCH}/", 1), capsys)
    assert [one["code"] for one in told if "Write `${oc.env:…}`" in one["message"]] == ["TT018"]


LISTED = TORCHTUNE.replace("[q_proj, v_proj, output_proj]", "\n    - q_proj\n    - output_proj")


@pytest.mark.parametrize(
    ("before", "after", "line", "says"),
    [
        ("    - output_proj", "    - o_proj", "    - o_proj", "did you mean `output_proj`?"),
        (
            "checkpoint_files: [model.safetensors]",
            "checkpoint_files:\n    filename_format: model-{}-of-{}.safetensors\n    max_filename: 2",
            "    max_filename: 2",
            "`max_filename` is text",
        ),
    ],
)
def test_an_item_is_told_where_it_stands(
    before: str, after: str, line: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = LISTED.replace(before, after, 1)
    told = [one["line"] for one in found(tmp_path, text, capsys) if says in one["message"]]
    assert told == [text.splitlines().index(line) + 1]


@pytest.mark.parametrize(
    "block",
    ["fsdp_config:\n  sharding_strategy: SHARD_GRAD_OP\n", "rope_scaling:\n  rope_type: linear\n  factor: 2.0\n"],
)
def test_no_fix_takes_away_what_another_key_says_now(
    block: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = found(tmp_path, AXOLOTL + block, capsys)
    assert "FT014" in [one["code"] for one in told]
    assert main(["lint", "--isolated", "--fix", "--unsafe-fixes", str(tmp_path / "a.yaml")]) == 1
    assert (tmp_path / "a.yaml").read_text(encoding="utf-8").endswith(block)


def test_a_share_that_is_none_is_no_fault_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found by tools/fuzz_lint.py: text of dots where a number belongs."""
    assert "FT102" not in [one["code"] for one in found(tmp_path, f"{AXOLOTL}warmup_ratio: '...'\n", capsys)]
