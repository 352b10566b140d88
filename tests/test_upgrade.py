"""Upgrading: the user's own text with few edits, each told; the run stays what it was, or the ledger says otherwise.

The full run over the corpus against both releases' own loaders needs FTMIGRATE_PYTHON_AXOLOTL_019, an interpreter with
Axolotl 0.19.0 (`ftmigrate env create axolotl@0.19.0`), beside the environment of 0.21.0; a sample runs without.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftmigrate import api, schema
from ftmigrate.cli import main
from ftmigrate.conversion import Conversion, convert
from ftmigrate.document import edit
from ftmigrate.document.blocks import spell
from ftmigrate.document.model import Value
from ftmigrate.document.yaml import PYYAML, parse
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.axolotl import older
from ftmigrate.frameworks.reader import Context, read
from ftmigrate.frameworks.table import Always, Between, in_force
from ftmigrate.run.compare import LOSSES, Verdict, compare
from ftmigrate.run.model import External, Run
from ftmigrate.verify import environments
from ftmigrate.verify.levels import Outcome, loaded
from ftmigrate.verify.probe import Probe
from tests.conftest import CORPUS, FIXTURES, WHEEL

AXOLOTL = registry.get("axolotl")
OLD, NEW = "0.19.0", "0.21.0"
OWN = sorted((FIXTURES / "axolotl").glob("*.yaml"))
MINIMAL = "base_model: a/b\ndatasets:\n  - path: c/d\n    type: alpaca\nlearning_rate: 0.0001\noutput_dir: o\n"


def upgraded(text: str, old: str = OLD, new: str = NEW, name: str = "c.yaml") -> Conversion:
    return convert(AXOLOTL.parse(text.encode(), name, ()), (AXOLOTL, old), (AXOLOTL, new), Context(), name)


def result(made: Conversion) -> str:
    assert made.refused is None, made.refused
    (text,) = made.files.values()
    return text


def run_of(text: str, version: str) -> Run:
    return read(AXOLOTL.table(version), AXOLOTL.parse(text.encode(), "c.yaml", ()))


def replayed(text: str, edits: tuple[Any, ...]) -> str:
    """The text with the ledger's edits made by hand."""
    lines = text.removeprefix("\ufeff").split("\n")
    for one in sorted(edits, key=lambda one: -one["line"]):
        after = one["after"].split("\n") if one["after"] else []
        if one["kind"] == "insert":
            continue
        before = one["before"].split("\n")
        start = one["line"] - 1
        assert lines[start : start + len(before)] == before
        lines[start : start + len(before)] = [*after, *["\0"] * (len(before) - len(after))]
    for line in dict.fromkeys(sorted((one["line"] for one in edits if one["kind"] == "insert"), reverse=True)):
        added = [
            x for one in edits if one["kind"] == "insert" and one["line"] == line for x in one["after"].split("\n")
        ]
        lines[line:line] = added
    return "\n".join(line for line in lines if line != "\0")


def told(made: Conversion) -> None:
    """Each difference between both runs is in the ledger with a loss, and nothing else is."""
    assert made.target is not None
    found = {one.path for one in compare(made.source, made.target) if one.loss in LOSSES}
    said = {effect.setting for entry in made.ledger.entries for effect in entry.effects if effect.verdict in LOSSES}
    assert said == found


# --- the text ---------------------------------------------------------------------------------------------------


def test_only_the_lines_that_must_change_do() -> None:
    text = (FIXTURES / "axolotl" / "fsdp1_qlora.yaml").read_text(encoding="utf-8")
    made = upgraded(text)
    now = result(made)
    gone = [line for line in text.splitlines() if line not in now.splitlines()]
    come = [line for line in now.splitlines() if line not in text.splitlines()]
    assert gone == [
        "fsdp:          # all of it",
        "  - full_shard",
        "  - auto_wrap  # by layer",
        "  fsdp_limit_all_gathers: true",
        "  fsdp_sync_module_states: true",
        "  fsdp_use_orig_params: false   # bitsandbytes wants it",
        "  fsdp_sharding_strategy: FULL_SHARD",
    ]
    assert come == [
        "fsdp_version: 2  # all of it",
        "# by layer",
        "  # fsdp_use_orig_params: false   # bitsandbytes wants it",
    ]
    told(made)
    assert made.ledger.edits is not None
    assert all("0.20.0" in one["why"] for one in made.ledger.edits)
    assert {one.path for one in compare(made.source, made.target) if one.loss in LOSSES} == {  # type: ignore[arg-type]
        "parallel.strategy",
        "gradient.loss_normalisation",
    }


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
@pytest.mark.parametrize("old", schema.versions("axolotl"))
def test_every_edit_is_in_the_ledger(path: Path, old: str) -> None:
    text = path.read_text(encoding="utf-8")
    made = upgraded(text, old)
    now = result(made)
    assert made.ledger.edits is not None
    assert replayed(text, made.ledger.edits) == now
    assert all(one["why"] for one in made.ledger.edits)
    told(made)
    assert result(upgraded(now, NEW)) == now


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_what_needs_nothing_is_returned_as_it_is(tmp_path: Path, ends: str, mark: str, last: bool) -> None:
    text = mark + (FIXTURES / "axolotl" / "single_full.yaml").read_text(encoding="utf-8").replace("\n", ends)
    data = (text if last else text.rstrip()).encode()
    path = tmp_path / "c.yaml"
    path.write_bytes(data)
    assert main(["upgrade", str(path), "--from", f"axolotl@{OLD}", "--to-version", NEW, "--in-place"]) == 0
    assert path.read_bytes() == data


def test_line_ends_and_a_missing_last_one_stay() -> None:
    text = (MINIMAL + "fsdp: [full_shard, auto_wrap]\nfsdp_config:\n  fsdp_offload_params: false").replace("\n", "\r\n")
    now = result(upgraded(text))
    assert "fsdp_version: 2\r\n" in now
    assert now.count("\n") == now.count("\r\n")
    assert not now.endswith("\n")


def test_a_key_that_stands_twice_goes_altogether() -> None:
    now = result(
        upgraded(
            MINIMAL + "fsdp: [full_shard]\nsequence_len: 8\nfsdp:\n  - auto_wrap\nfsdp_config: {offload_params: true}\n"
        )
    )
    assert "fsdp:" not in now
    assert now.count("fsdp_version: 2") == 1


def test_keys_that_gave_way_are_renamed_where_they_mean_the_same() -> None:
    text = MINIMAL + "flash_attention: true  # fast\nsequence_parallel_degree: 2\ndataset_processes: 4\ngc_steps: 3\n"
    made = upgraded(text, "0.11.0")
    now = result(made)
    assert "attn_implementation: flash_attention_2  # fast\n" in now
    assert "context_parallel_size: 2\n" in now
    assert "dataset_num_proc: 4\n" in now
    assert made.ledger.edits is not None
    kinds = {one["path"]: (one["kind"], one.get("to")) for one in made.ledger.edits}
    assert kinds["flash_attention"] == ("rename", "attn_implementation")
    assert kinds["dataset_processes"] == ("rename", "dataset_num_proc")
    told(made)


def test_what_had_no_effect_does_not_come_alive() -> None:
    """A key that the older version ignored must not act in the newer."""
    assert "use_dft" not in result(upgraded(MINIMAL + "use_dft: true\n", "0.19.0"))
    assert "use_dft" in result(upgraded(MINIMAL + "use_dft: true\n", "0.20.0"))
    assert "sequence_parallel_degree" not in result(upgraded(MINIMAL + "sequence_parallel_degree: 2\n", "0.5.2"))
    assert "warmup_steps" not in result(upgraded(MINIMAL + "warmup_steps: 0\n", "0.12.2"))
    assert "warmup_steps: 0" in result(upgraded(MINIMAL + "warmup_steps: 0\n", "0.9.2"))


def test_changed_defaults_are_written_out() -> None:
    lora = "adapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true\n"
    now = result(upgraded(MINIMAL + lora, "0.9.0"))
    assert "tf32: false\n" in now
    assert "lora_qkv_kernel: false\n" in now
    assert "lora_qkv_kernel" not in result(upgraded(MINIMAL + lora, "0.9.1"))
    assert "tf32" not in result(upgraded(MINIMAL + lora, "0.16.0"))
    assert "eval_strategy: epoch" in result(upgraded(MINIMAL + "val_set_size: 0.1\n", "0.9.2"))
    assert "eval_strategy" not in result(upgraded(MINIMAL + "val_set_size: 0.1\n", "0.10.0"))
    assert "max_grad_norm: 1.0" in result(upgraded(MINIMAL + "max_grad_norm: 0\n", "0.9.2"))


def test_what_cannot_be_kept_is_said() -> None:
    made = upgraded(MINIMAL + "s2_attention: true\n", "0.16.0")
    assert "s2_attention" not in result(made)
    (entry,) = [entry for entry in made.ledger.entries if entry.source_path == "s2_attention"]
    assert entry.verdict is Verdict.DROPPED
    staged = "adapter: qlora\nload_in_4bit: true\nlora_modules_to_save: [lm_head]\nfsdp_version: 2\n"
    made = upgraded(MINIMAL + staged + "fsdp_config:\n  offload_params: true\n  cpu_ram_efficient_loading: true\n")
    assert "cpu_ram_efficient_loading" not in result(made)
    (entry,) = [entry for entry in made.ledger.entries if entry.source_path == "fsdp_config.cpu_ram_efficient_loading"]
    assert entry.verdict is Verdict.APPROXIMATE
    assert "lora_modules_to_save" in entry.note


def test_a_value_that_is_refused_with_the_rest_gives_way_to_the_nearest() -> None:
    sharded = "fsdp: [full_shard, auto_wrap]\nfsdp_config:\n  fsdp_offload_params: false\n"
    made = upgraded(MINIMAL + "optimizer: adamw_bnb_8bit  # small\n" + sharded)
    assert "optimizer: adamw_torch_8bit  # small\n" in result(made)
    told(made)
    assert "save_safetensors" not in result(upgraded(MINIMAL + "save_safetensors: false\n", "0.9.2"))
    assert "save_safetensors" in result(upgraded(MINIMAL + "save_safetensors: true\n", "0.9.2"))


def test_what_the_newer_version_refuses_altogether_is_refused() -> None:
    text = MINIMAL.replace("a/b", "tiiuae/falcon-7b") + "fsdp_version: 2\nfsdp_config:\n  offload_params: true\n"
    made = upgraded(text)
    assert made.refused is not None
    assert "Falcon" in made.refused
    assert len(made.ledger.entries) == len(AXOLOTL.parse(text.encode(), "c", ()).leaves)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{base_model: a/b, learning_rate: 0.1, fsdp: [full_shard], fsdp_config: {offload_params: true}}", "braces"),
        (
            MINIMAL + "x: &a\n  fsdp_offload_params: true\n  fsdp_sharding_strategy: FULL_SHARD\nfsdp_config: *a\n",
            "alias",
        ),
    ],
)
def test_a_text_that_cannot_be_edited_in_place_is_refused(text: str, why: str) -> None:
    made = upgraded(text)
    assert made.refused is not None
    assert why in made.refused


KEYS = st.sampled_from(["a", "b", "c", "d", "e"])
SCALARS = st.one_of(
    st.integers(-5, 5), st.booleans(), st.sampled_from(["x", "1e-4", "yes", "# no", "a: b", ""]), st.none()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(SCALARS, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
TREES = st.dictionaries(KEYS, VALUES, min_size=1, max_size=5)


@given(TREES, TREES, st.booleans())
def test_a_rewritten_text_reads_as_wanted_and_keeps_its_comments(
    old: dict[str, Value], new: dict[str, Value], noted: bool
) -> None:
    """Whatever changes, what `rewrite` gives reads as wanted, and no comment is lost."""
    lines = [line for key, value in old.items() for line in spell(key, value)]
    text = "".join(
        f"{line}  # note {n}\n" if noted and line.endswith(("1", "x")) else f"{line}\n" for n, line in enumerate(lines)
    )
    document = parse(text.encode(), "c", PYYAML)
    now, edits = edit.rewrite(document, PYYAML, new)
    assert edit.same(parse(now.encode(), "c", PYYAML).tree, new)
    assert all(f"note {n}" in now for n in range(len(lines)) if f"note {n}\n" in text)
    assert (now == text) == (not edits)


# --- reading by version -------------------------------------------------------------------------------------------


def test_entries_hold_between_versions() -> None:
    one, two = (Always("seed.value", n, "why") for n in (1, 2))
    rows = (Between(None, "0.2", (one,)), Between("0.2", None, (two,)), Between("0.1", "0.3", (one,)))
    order = ["0.1", "0.2", "0.3"]
    assert [in_force(rows, version, order) for version in order] == [(one, one), (two, one), (two,)]


@pytest.mark.parametrize(
    ("version", "text", "setting", "expected"),
    [
        ("0.16.1", "gradient_accumulation_steps: 4", "gradient.loss_normalisation", "tokens of the step, each device by itself"),
        ("0.17.0", "gradient_accumulation_steps: 4", "gradient.loss_normalisation", "mean of micro batches"),
        ("0.19.0", "gradient_accumulation_steps: 4", "gradient.loss_normalisation", "mean of micro batches"),
        ("0.19.0", "gradient_accumulation_steps: 1", "gradient.loss_normalisation", "tokens of the step, each device by itself"),
        ("0.19.0", "gradient_accumulation_steps: 4\nuse_eaft: true\neaft_alpha: 0.0", "gradient.loss_normalisation",
         "tokens of the step, each device by itself"),
        ("0.20.0", "gradient_accumulation_steps: 4", "gradient.loss_normalisation", "tokens of the step, each device by itself"),
        ("0.19.0", "fsdp: [full_shard, auto_wrap]", "parallel.strategy", "fsdp1"),
        ("0.11.0", "fsdp_config: {fsdp_offload_params: true}", "parallel.strategy", "single or ddp, as launched"),
        ("0.12.0", "fsdp_config: {fsdp_offload_params: true}", "parallel.strategy", "fsdp1"),
        ("0.19.0", "fsdp_config: {version: 2, offload_params: true}", "parallel.strategy", "fsdp2"),
        ("0.20.0", "fsdp_config: {offload_params: true}", "parallel.strategy", "fsdp2"),
        ("0.19.0", "fsdp: [shard_grad_op, auto_wrap]", "parallel.reshard_after_forward", False),
        ("0.19.0", "fsdp: [full_shard, auto_wrap]", "parallel.reshard_after_forward", True),
        ("0.19.0", "fsdp: full_shard offload", "parallel.cpu_offload", True),
        ("0.15.0", "", "precision.tf32", False),
        ("0.16.0", "", "precision.tf32", "auto"),
        ("0.9.2", "val_set_size: 0.1", "evaluation.every", "epoch"),
        ("0.10.0", "val_set_size: 0.1", "evaluation.every", "no"),
        ("0.13.2", "save_safetensors: false", "saving.safetensors", False),
        ("0.14.0", "save_safetensors: false", "saving.safetensors", True),
        ("0.7.0", "", "optimizer.name", "adamw_hf"),
        ("0.8.0", "", "optimizer.name", "adamw"),
        ("0.16.1", "flash_attention: true", "model.attention", "flash_attention_2"),
        ("0.11.0", "attn_implementation: eager", "model.attention", "auto"),
        ("0.9.1", "gradient_checkpointing: unsloth", "memory.activation_checkpointing", True),
    ],
)  # fmt: skip
def test_settings_hold_the_value_of_the_time(version: str, text: str, setting: str, expected: object) -> None:
    assert run_of(MINIMAL + text + "\n", version)[setting] == expected


def test_a_template_that_had_another_text_is_not_described() -> None:
    text = MINIMAL.replace("alpaca", "chat_template") + "chat_template: mistral_v1\n"
    for name in ("text", "loss_mask"):
        assert "before 0.18.0" in str(run_of(text, "0.17.0")[f"data.sources[0].{name}"])
        assert "before" not in str(run_of(text, "0.18.0")[f"data.sources[0].{name}"])
    (entry, *_) = [e for e in upgraded(text, "0.17.0").ledger.entries if e.verdict is Verdict.MANUAL]
    assert "mistral_v1" in entry.note
    assert set(older.TEMPLATES_SINCE.values()) <= set(schema.versions("axolotl"))


def test_turns_that_hang_on_others_were_found_otherwise() -> None:
    """Seen by running 0.18.0: a trained system message inside the first user turn was not trained."""
    text = MINIMAL.replace("    type: alpaca", "    type: chat_template\n    roles_to_train: [system, assistant]")
    text += "chat_template: mistral_v1\n"
    assert "before 0.19.0" in str(run_of(text, "0.18.0")["data.sources[0].loss_mask"])
    assert "before" not in str(run_of(text, "0.18.0")["data.sources[0].text"])
    assert "before" not in str(run_of(text, "0.19.0")["data.sources[0].loss_mask"])


def test_what_was_not_compared_is_told() -> None:
    assert run_of(MINIMAL, "0.18.0").notes == ()
    (note,) = run_of(MINIMAL, "0.17.0").notes
    assert note in upgraded(MINIMAL, "0.17.0").ledger.notes


def test_a_key_of_another_version_is_unknown_and_the_version_named() -> None:
    run = run_of(MINIMAL + "use_dft: true\n", "0.19.0")
    assert "0.20.0" in run.claims[("use_dft",)].why


@pytest.mark.parametrize(
    ("content", "stage", "offload"),
    [
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}, 3, "weights"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, 2, "optimizer state"),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "none"}}}, 3, False),
        (None, 1, False),
    ],
)
def test_deepspeed_is_read_as_parallelism(tmp_path: Path, content: object, stage: int, offload: object) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "deepspeed_configs").mkdir()
    (tmp_path / "configs").mkdir()
    if content is not None:
        (tmp_path / "deepspeed_configs" / "zero1.json").write_text(json.dumps(content), encoding="utf-8")
    path = tmp_path / "configs" / "c.yaml"
    path.write_text(MINIMAL + "deepspeed: deepspeed_configs/zero1.json\n", encoding="utf-8")
    run = api.read(str(path), f"axolotl@{NEW}")
    assert run["parallel.strategy"] == "deepspeed"
    assert run["parallel.zero_stage"] == stage
    assert run["parallel.cpu_offload"] == offload
    assert {"parallel.strategy", "parallel.zero_stage"} <= set(run.claims[("deepspeed",)].settings)


def test_a_deepspeed_config_that_is_not_at_hand_is_external() -> None:
    run = run_of(MINIMAL + "deepspeed: my/own.json\n", NEW)
    assert run["parallel.zero_stage"] == External("my/own.json")
    assert run_of(MINIMAL + "deepspeed: x/zero3_bf16_cpuoffload_all.json\n", NEW)["parallel.cpu_offload"] is True


# --- writing by version -------------------------------------------------------------------------------------------


def test_accumulation_is_weighted_by_tokens_in_every_version_written() -> None:
    source = str(FIXTURES / "torchtune" / "llama_lora.yaml")
    for version in AXOLOTL.written:
        made = api.convert(source, f"axolotl@{version}", "torchtune@0.6.1")
        (text,) = made.files.values()
        assert ("use_eaft: true" in text) == (version == "0.19.0")
        assert not [e for entry in made.ledger.entries for e in entry.effects
                    if e.setting == "gradient.loss_normalisation" and e.verdict in LOSSES]  # fmt: skip


def test_versions_that_are_not_known_well_enough_are_not_written() -> None:
    made = api.convert(str(FIXTURES / "torchtune" / "llama_lora.yaml"), "axolotl@0.15.0", "torchtune@0.6.1")
    assert made.refused is not None
    assert "0.19.0" in made.refused


def test_older_versions_are_not_given_newer_keys() -> None:
    text = MINIMAL + "attn_implementation: varlen\nuse_dft: true\nbalance_labels: true\n"
    made = upgraded(text, NEW, OLD)
    assert "balance_labels" not in result(made)
    assert "use_dft" not in result(made)


# --- the command --------------------------------------------------------------------------------------------------


def test_the_version_is_the_newest_that_takes_all_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(MINIMAL + "fsdp: [full_shard]\nfsdp_config:\n  offload_params: true\n", encoding="utf-8")
    report = tmp_path / "report.json"
    assert main(["upgrade", str(path), "--to-version", NEW, "--report", str(report)]) == 0
    out, err = capsys.readouterr()
    assert "fsdp_version: 2" in out
    assert "Axolotl 0.19.0 (the newest that takes all its keys" in err
    ledger = json.loads(report.read_text(encoding="utf-8"))
    assert [one["path"] for one in ledger["edits"]] == ["fsdp"]
    assert ledger["source"]["version"] == "0.19.0"
    path.write_text(MINIMAL + "relora_steps: 5\n", encoding="utf-8")
    assert main(["upgrade", str(path), "--to-version", NEW]) == 0
    assert "Axolotl 0.11.0" in capsys.readouterr().err


def test_a_version_pinned_beside_it_goes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "requirements.txt").write_text("axolotl==0.9.2\n", encoding="utf-8")
    path = tmp_path / "c.yaml"
    path.write_text(MINIMAL, encoding="utf-8")
    assert main(["upgrade", str(path), "--to-version", NEW]) == 0
    assert "Axolotl 0.9.2 (pinned" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("{own}", "--to-version", "9.9"), "not among the versions known"),
        (("{torchtune}", "--from", "torchtune@0.3.0", "--to-version", "0.6.1"), "torchtune configs are not upgraded"),
        (("{folder}", "--to-version", NEW), "is a directory"),
        (("-", "--to-version", NEW, "--in-place"), "--in-place goes with a file"),
    ],
)
def test_what_cannot_be_done_ends_with_2(
    arguments: tuple[str, ...], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"own": OWN[0], "torchtune": FIXTURES / "torchtune" / "llama_lora.yaml", "folder": tmp_path}
    assert main(["upgrade", *(argument.format(**places) for argument in arguments)]) == 2
    assert why in capsys.readouterr().err


# --- real configs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probes() -> Iterator[tuple[Probe | None, Probe]]:
    """Both releases' own loaders; None for 0.19.0 where no interpreter is named."""
    found = environments.find("axolotl", NEW)
    if found is None:
        pytest.skip(f"NOT VERIFIED against axolotl {NEW}: no environment; run `ftmigrate env create axolotl`")
    told_ = os.environ.get("FTMIGRATE_PYTHON_AXOLOTL_019")
    with Probe(found.python, "axolotl") as new:
        if told_ is None:
            yield None, new
            return
        with Probe(Path(told_), "axolotl") as old:
            yield old, new


def corpus_files(every: bool) -> list[Path]:
    found = [path for folder in sorted(CORPUS.glob("axolotl-*")) for path in sorted(folder.rglob("*.y*ml"))]
    return found if every else found[::12]


def test_what_the_older_loader_takes_the_newer_takes_upgraded(probes: tuple[Probe | None, Probe], corpus: Path) -> None:
    old, new = probes
    counts = dict.fromkeys(("taken by the older", "unchanged", "upgraded", "refused", "not importable"), 0)
    bad = []
    for path in corpus_files(old is not None):
        data = path.read_bytes()
        document = AXOLOTL.parse(data, str(path), ())
        probe = old or new
        if not probe.request("load", path=str(path), gpus=1, nodes=1, compute_capability="sm_90")["ok"]:
            continue
        counts["taken by the older"] += 1
        made = convert(document, (AXOLOTL, OLD), (AXOLOTL, NEW), Context(), str(path))
        if made.refused:
            counts["refused"] += 1
            continue
        text = result(made)
        told(made)
        assert made.ledger.edits is not None
        assert replayed(document.text, made.ledger.edits) == text.removeprefix("\ufeff")
        assert result(upgraded(text, NEW, name=str(path))) == text
        counts["unchanged" if text.encode() == data else "upgraded"] += 1
        answer = new.request("load", text=text, gpus=1, nodes=1, compute_capability="sm_90")
        if not answer["ok"] and answer["error"]["type"] == "ModuleNotFoundError":
            counts["not importable"] += 1  # a plugin's package is not in the environment
        elif not answer["ok"]:
            bad.append(f"{path}: {answer['error']['message'][:200]}")
    print(counts)
    assert not bad, "\n".join(bad)
    assert counts["unchanged"]
    assert counts["refused"] <= 3  # Falcon under FSDP twice, experts spread with sharded checkpoints
    if old is not None:
        assert counts["upgraded"]


def test_0_19_takes_what_is_written_for_it(probes: tuple[Probe | None, Probe]) -> None:
    old, _ = probes
    if old is None:
        pytest.skip("NOT VERIFIED against axolotl 0.19.0: name an interpreter with FTMIGRATE_PYTHON_AXOLOTL_019")
    count = 0
    for path in [
        *sorted((FIXTURES / "torchtune").rglob("*.yaml")),
        *(sorted(WHEEL.rglob("*.yaml"))[::6] if WHEEL else ()),
    ]:
        made = api.convert(str(path), f"axolotl@{OLD}", "torchtune@0.6.1")
        if made.refused or any(entry.verdict is Verdict.MANUAL for entry in made.ledger.entries):
            continue
        (text,) = made.files.values()
        assert made.target is not None
        gpus = 1 if made.target["parallel.strategy"] == "single" else 2
        found = loaded(old, AXOLOTL.parse(text.encode(), "c.yaml", ()), gpus)
        assert found.outcome is Outcome.PASSED, (path, found.details)
        count += 1
    assert count >= 4
