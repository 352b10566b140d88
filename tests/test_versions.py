"""Every version: the order of releases, what each schema was checked against, and how older files are read."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import check_versions as checks
import extract_axolotl
import extract_torchtune
import pytest
import schema_patch as patch
import schema_store as store
from hypothesis import given
from hypothesis import strategies as st
from package_source import Package

from ftmigrate import schema
from ftmigrate.document.model import Unresolved, format_path
from ftmigrate.frameworks import registry, versions
from ftmigrate.frameworks.reader import Context, read
from ftmigrate.frameworks.torchtune import older
from ftmigrate.run.evaluation import evaluate
from ftmigrate.run.model import ClaimKind, Run
from ftmigrate.run.rendering import Piece, Rendering
from ftmigrate.run.source import Location

ROOT = Path(__file__).parent.parent

NAMES = ("torchtune", "axolotl")
ALL = [(name, version) for name in NAMES for version in schema.versions(name)]
EVERY = pytest.mark.parametrize(("name", "version"), ALL, ids=[f"{name}-{version}" for name, version in ALL])
TUNES = [version for version in schema.versions("torchtune") if version != "main"]


# --- the stored schemas -----------------------------------------------------------------------------------------


def test_the_versions_are_there_in_the_order_of_their_release() -> None:
    assert schema.versions("torchtune") == ["0.2.1", "0.3.0", "0.3.1", "0.4.0", "0.5.0", "0.6.0", "0.6.1", "main"]
    axolotl = schema.versions("axolotl")
    assert axolotl[:3] == ["0.5.2", "0.6.0", "0.7.0"]
    assert axolotl[-3:] == ["0.19.0", "0.20.0", "0.21.0"]
    assert {version.split(".")[1] for version in axolotl} == {str(number) for number in range(5, 22)}
    assert axolotl.index("0.9.1") < axolotl.index("0.9.1.post1") < axolotl.index("0.9.2") < axolotl.index("0.10.0")
    for name in NAMES:
        assert sorted(schema.versions(name), key=store.place) == schema.versions(name)


def test_the_newest_is_the_newest_release() -> None:
    assert registry.get("torchtune").newest == "0.6.1"
    assert registry.get("axolotl").newest == "0.21.0"


@cache
def expanded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = store.expand(schema.table(name))
    return found


@EVERY
def test_a_version_is_loaded_as_it_is_stored(name: str, version: str) -> None:
    """Sections are decoded when they are asked for; all together they are the table's."""
    loaded = schema.load(name, version)
    whole = expanded(name)[version]
    assert list(loaded.sections) == list(whole)
    assert len(loaded.sections) == len(whole)
    assert loaded.names("component torchtune.models.") == [
        one for one in whole if one.startswith("component torchtune.models.")
    ]
    assert {section: dict(keys) for section, keys in loaded.sections.items()} == whole
    absent = next((section for section in schema.table(name)["sections"] if section not in whole), None)
    if absent is not None:
        assert absent not in loaded.sections
        assert loaded.keys(absent) == {}
        assert loaded.facts(absent) is None


@given(st.lists(st.sampled_from(["0.6.1", "main", "0.10.0", "0.9.1", "0.9.1.post1", "0.2.1"]), min_size=1, unique=True))
def test_versions_find_their_place_by_themselves(given_order: list[str]) -> None:
    table = None
    for version in given_order:
        table = store.merge(table, "f", {version: {"s": {"k": {"type": version}}}})
    right = [v for v in ("0.2.1", "0.6.1", "0.9.1", "0.9.1.post1", "0.10.0", "main") if v in given_order]
    assert table is not None
    assert table["versions"] == right


@pytest.mark.parametrize(
    ("ranges", "inside", "outside"),
    [
        (["0.6.1", "main"], ["0.6.1", "main"], ["0.6.0", "0.7.0"]),
        (["0.3.0..0.5.0"], ["0.3.0", "0.3.1", "0.5.0"], ["0.2.1", "0.5.1", "main"]),
        (["0.9.0.."], ["0.9.0", "0.9.1.post1", "0.10.0", "main"], ["0.8.1"]),
        (["0.1.0..0.2.0", "main"], ["0.1.5", "main"], ["0.3.0"]),
    ],
)
def test_corrections_hold_for_ranges_of_versions(ranges: list[str], inside: list[str], outside: list[str]) -> None:
    assert all(patch.covers(ranges, version) for version in inside)
    assert not any(patch.covers(ranges, version) for version in outside)


# --- checked.json -----------------------------------------------------------------------------------------------


@cache
def checked() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(checks.CHECKED.read_text(encoding="utf-8"))
    return found


@EVERY
def test_the_schema_was_checked_against_the_imported_release(name: str, version: str) -> None:
    result = checked()[name].get(version)
    assert result is not None, f"run tools/check_versions.py {name} {version}=DIR"
    stale = f"the schema of {name} {version} has changed since: run tools/check_versions.py {name} {version}=DIR"
    assert result["digest"] == checks.digest(expanded(name)[version]), stale
    assert "impossible" not in result
    counts = result["components" if name == "torchtune" else "sections"]
    assert counts.get("differing", 0) == 0
    assert counts["identical"] >= (180 if name == "torchtune" else 16)
    assert not [line for line in result["findings"] if line.startswith("differ")]
    if name == "torchtune":
        harmless = {"configs checked", "absent config", "unread key"}
        assert set(result["configs"]) <= harmless
        assert result["configs"]["configs checked"] >= 56
    else:
        assert counts["not importable"] == 0


def test_what_cannot_be_checked_says_why() -> None:
    for name, found in checked().items():
        for version, result in found.items():
            assert (version in schema.versions(name)) != ("impossible" in result), (name, version)
            assert result.get("impossible") != ""


def test_checks_name_no_place_of_a_machine() -> None:
    text = checks.CHECKED.read_text(encoding="utf-8")
    assert not [place for place in ("/tmp", "/root", "/home", "/work", "site-packages") if place in text]


# --- old spellings of torchtune -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "until", "new"), older.RENAMED, ids=[old for old, _, _ in older.RENAMED])
def test_renamed_components_were_there_until_then(old: str, until: str, new: str) -> None:
    known = schema.versions("torchtune")
    before = schema.load("torchtune", known[known.index(until) - 1])
    after = schema.load("torchtune", until)
    newest = schema.load("torchtune", "0.6.1")
    gone = before.names(f"component {old}")
    assert gone
    assert not after.names(f"component {old}")
    if not old.endswith((".", "FullModel", "padded_collate")):
        assert gone == [f"component {old}"]
        assert older.canonical(old, before.version) == new
        assert older.canonical(old, until) == old
    replaced = (
        new if not new.startswith("torchtune.rlhf.loss.IPO") else "torchtune.rlhf.loss.DPOLoss"
    )  # taken out in 0.5
    assert newest.names(f"component {replaced}")


def torchtune(version: str, text: str, recipe: str = "lora_finetune_single_device") -> Run:
    framework = registry.get("torchtune")
    document = framework.parse(text.encode(), "config.yaml", ())
    run = read(framework.table(version), document, Context(recipe))
    assert set(run.claims) == set(document.leaves)
    return run


def config(dataset: str = "_component_: torchtune.datasets.alpaca_dataset", **keys: str) -> str:
    known = {
        "tokenizer": "{_component_: torchtune.models.llama3.llama3_tokenizer, path: /m/tokenizer.model}",
        "model": "{_component_: torchtune.models.llama3.lora_llama3_8b, lora_attn_modules: [q_proj], lora_rank: 8}",
        "checkpointer": "{_component_: torchtune.training.FullModelHFCheckpointer, checkpoint_dir: /m, "
        "checkpoint_files: [a.safetensors], model_type: LLAMA3, output_dir: /o}",
        "dataset": "{" + dataset + "}",
        "batch_size": "2",
        "gradient_accumulation_steps": "4",
        "epochs": "1",
        "loss": "{_component_: torch.nn.CrossEntropyLoss}",
        **keys,
    }
    return "\n".join(f"{key}: {value}" for key, value in known.items())


ROW = {"instruction": "A", "input": "", "output": "B", "dialogue": "D", "summary": "S", "sentence": "X"}


def pieces_of(run: Run, row: dict[str, Any] = ROW) -> tuple[Piece, ...]:
    used = run["data.sources[0].text"]
    assert isinstance(used, Rendering)
    return tuple(evaluate(used, row))


def text_of(run: Run, row: dict[str, Any] = ROW) -> str:
    return "".join(piece.text for piece in pieces_of(run, row))


def place_of(run: Run) -> str:
    where = run["data.sources[0].location"]
    assert isinstance(where, Location)
    return where.path


def test_rows_were_cut_by_the_dataset_in_0_2() -> None:
    assert torchtune("0.2.1", config())["sequence.max_length"] == 511  # the default 512, the last an EOS
    said = "_component_: torchtune.datasets.alpaca_dataset, max_seq_len: 100"
    run = torchtune("0.2.1", config(said))
    assert run["sequence.max_length"] == 99
    assert [format_path(path) for path in run.settings["sequence.max_length"].leaves] == ["dataset.max_seq_len"]
    assert torchtune("0.3.0", config())["sequence.max_length"] == 8192  # the model's positions: nothing is cut
    limit = "{_component_: torchtune.models.llama3.llama3_tokenizer, path: /m/tokenizer.model, max_seq_len: 100}"
    assert torchtune("0.3.0", config(tokenizer=limit))["sequence.max_length"] == 99


@pytest.mark.parametrize("version", TUNES)
def test_gradients_and_last_batches_by_version(version: str) -> None:
    before_0_4 = older.before(version, "0.4.0")
    run = torchtune(version, config())
    assert run["gradient.loss_normalisation"] == ("mean of micro batches" if before_0_4 else "tokens of the step")
    assert run["duration.partial_batch"] == ("kept" if before_0_4 else "dropped")
    alone = torchtune(version, config(gradient_accumulation_steps="1"))
    assert alone["gradient.loss_normalisation"] == "tokens of the step"
    spread = torchtune(version, config(), "lora_finetune_distributed")["gradient.loss_normalisation"]
    devices = "tokens of the step, all devices"
    expected = {
        "0.4.0": f"{devices}, and once more by their number",
        "0.5.0": f"{devices}, and once more by their number",
    }
    assert spread == expected.get(version, "mean of micro batches" if before_0_4 else devices)


@pytest.mark.parametrize(
    ("version", "end"), [("0.3.0", "\n<|endoftext|>"), ("0.3.1", "\n<|endoftext|>"), ("0.4.0", "<|endoftext|>"),
                         ("0.5.0", "<|endoftext|>"), ("0.6.0", "<|im_end|>"), ("0.6.1", "<|im_end|>")]
)  # fmt: skip
def test_the_end_of_a_qwen_row_by_version(version: str, end: str) -> None:
    tokenizer = "{_component_: torchtune.models.qwen2.qwen2_tokenizer, path: /m/vocab.json, merges_file: /m/merges.txt}"
    text = text_of(torchtune(version, config(tokenizer=tokenizer)))
    assert text.startswith("<|im_start|>user\nBelow is an instruction")
    assert text.endswith("<|im_start|>assistant\nB<|im_end|>" + end if version < "0.4" else "assistant\nB" + end)


def test_instruct_templates_of_0_2() -> None:
    head, tail = (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant",
    )
    end = "<|end_header_id|>\n\n{}<|eot_id|><|end_of_text|>"
    template = "_component_: torchtune.datasets.instruct_dataset, source: s, split: train, template: torchtune.data."
    cases = {
        "SummarizeTemplate, column_map: {output: summary}": ("Summarize this dialogue:\nD\n---\nSummary:", "S"),
        "GrammarErrorCorrectionTemplate": ("Correct this to standard English: X\n---\nCorrected:", "B"),
        "GrammarErrorCorrectionTemplate, column_map: {sentence: dialogue}": (
            "Correct this to standard English: D\n---\nCorrected:",
            "B",
        ),
    }
    for said, (asked, answered) in cases.items():
        run = torchtune("0.2.1", config(template + said))
        assert text_of(run) == head + asked + tail + end.format(answered)
        assert run.claims[("dataset", "template")].kind is ClaimKind.SETTING
    alpaca = torchtune("0.2.1", config(template + "AlpacaInstructTemplate, column_map: {instruction: dialogue}"))
    assert "### Instruction:\nD\n\n### Response:" in text_of(alpaca)
    assert place_of(alpaca) == "s"
    trained = {piece.text: piece.trained for piece in pieces_of(alpaca)}
    assert [kind for text, kind in trained.items() if "Instruction" in text] == [
        False
    ]  # instruct_dataset's own default
    mine = torchtune("0.2.1", config(template.removesuffix("torchtune.data.") + "my.Template"))
    assert isinstance(mine["data.sources[0].text"], Unresolved)


def test_samsum_and_grammar_of_0_2_have_their_template_and_source() -> None:
    samsum = torchtune("0.2.1", config("_component_: torchtune.datasets.samsum_dataset"))
    assert "Summarize this dialogue:\nD\n---\nSummary:" in text_of(samsum)
    assert place_of(samsum) == "samsum"
    assert place_of(torchtune("0.3.0", config("_component_: torchtune.datasets.samsum_dataset"))) == "Samsung/samsum"


def test_chats_of_0_2_have_their_columns_fixed() -> None:
    chat = (
        "_component_: torchtune.datasets.chat_dataset, source: s, split: train, max_seq_len: 64, conversation_style: "
    )
    run = torchtune("0.2.1", config(chat + "openai"))
    row = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
    assert text_of(run, row).endswith("\n\nA<|eot_id|><|end_of_text|>")
    formatted = torchtune("0.2.1", config(chat + "openai, chat_format: torchtune.data.Llama2ChatFormat"))
    unknown = formatted["data.sources[0].text"]
    assert isinstance(unknown, Unresolved)
    assert "Llama2ChatFormat" in unknown.expression


def test_preference_pairs_of_0_2() -> None:
    pairs = "_component_: torchtune.datasets.stack_exchanged_paired_dataset, max_seq_len: 1024"
    loss = "{_component_: torchtune.modules.loss.DPOLoss, beta: 0.2}"
    run = torchtune("0.2.1", config(pairs, loss=loss), "lora_dpo_single_device")
    later = torchtune(
        "0.6.1", config(pairs.replace("exchanged", "exchange").split(",")[0], loss=loss), "lora_dpo_single_device"
    )
    assert run["data.sources[0].location"] == later["data.sources[0].location"]
    assert run["data.sources[0].text"] == later["data.sources[0].text"]
    assert run["method.beta"] == 0.2
    assert run["method.loss"] == later["method.loss"]


def test_phi3_left_system_messages_out_before_0_4() -> None:
    tokenizer = "{_component_: torchtune.models.phi3.phi3_mini_tokenizer, path: /m/tokenizer.model}"
    told = "_component_: torchtune.datasets.grammar_dataset, new_system_prompt: Be brief."
    row = {"input": "A", "output": "B"}
    for version, kept in (("0.3.1", False), ("0.4.0", True)):
        run = torchtune(version, config(told, tokenizer=tokenizer))
        assert ("Be brief." in text_of(run, row)) is kept


# --- which version a file is for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("requirements.txt", "torch\ntorchtune==0.4.0\n", "0.4.0"),
        ("requirements.txt", "torchtune[dev] == 0.3.1  # pinned\n", "0.3.1"),
        ("uv.lock", '[[package]]\nname = "torchtune"\nversion = "0.5.0"\n', "0.5.0"),
        ("poetry.lock", '[[package]]\nname = "torchtune"\nversion = "0.2.1"\n', "0.2.1"),
        ("pyproject.toml", '[project]\ndependencies = [\n  "torchtune==0.6.0",\n]\n', "0.6.0"),
        ("environment.yml", "dependencies:\n  - pip:\n    - torchtune==0.3.0\n", "0.3.0"),
        ("requirements.txt", "torchtune>=0.4.0\n", None),
        ("requirements.txt", "my-torchtune==0.4.0\n", None),
        ("requirements.txt", "torchtune==0.1.1\n", None),
        ("notes.txt", "torchtune==0.4.0\n", None),
    ],
)
def test_the_version_pinned_beside_the_config(tmp_path: Path, file: str, text: str, expected: str | None) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "configs").mkdir()
    (tmp_path / file).write_text(text)
    version, how = versions.find(registry.get("torchtune"), tmp_path / "configs" / "a.yaml")
    assert version == (expected or "0.6.1")
    assert how == (f"pinned in {tmp_path / file}" if expected else "the newest known")


def test_the_nearest_pin_wins_and_none_is_sought_above_the_repository(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("axolotl==0.9.2\n")
    project = tmp_path / "project"
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    (project / ".git").mkdir()
    find = versions.find
    axolotl = registry.get("axolotl")
    assert find(axolotl, inner / "c.yaml")[0] == "0.21.0"
    (project / "requirements.txt").write_text("axolotl[flash-attn,deepspeed]==0.10.0\n")
    assert find(axolotl, inner / "c.yaml")[0] == "0.10.0"
    (inner / "requirements.txt").write_text("axolotl==0.19.0\n")
    assert find(axolotl, inner / "c.yaml")[0] == "0.19.0"
    assert find(axolotl, None) == ("0.21.0", "the newest known")


@pytest.mark.parametrize(
    ("component", "version", "named"),
    [
        ("torchtune.models.qwen3.qwen3_0_6b_base", "main", True),
        ("torchtune.modules.get_cosine_schedule_with_warmup", "0.4.0", True),
        ("torchtune.models.llama3_1.llama3_1_8b", "0.6.1", False),
        ("mylib.models.mine", "0.6.1", False),
    ],
)
def test_a_component_that_the_newest_release_has_not_tells_the_version(
    component: str, version: str, named: bool
) -> None:
    torchtune = registry.get("torchtune")
    text = f"model:\n  _component_: {component}\nlog:\n  _component_: mylib.Log\n"
    found, how = versions.find(torchtune, None, torchtune.parse(text.encode(), "a.yaml", ()))
    assert (found, component in how) == (version, named)


# --- the releases themselves ------------------------------------------------------------------------------------

WHEELS = os.environ.get("FTMIGRATE_WHEELS")
RELEASES = Path(WHEELS) if WHEELS else None
"""A folder of unpacked releases: `torchtune-0.5.0`, `axolotl-0.12.2`, ..."""


def release(name: str, version: str) -> Path:
    if RELEASES is None:
        pytest.skip("FTMIGRATE_WHEELS (a folder of unpacked releases, torchtune-0.5.0 and so on) is not set: NOT read")
    found = RELEASES / f"{name}-{version}"
    if not found.is_dir():
        pytest.skip(f"FTMIGRATE_WHEELS has no {found.name}: NOT read")
    return found


@pytest.mark.parametrize("version", TUNES)
def test_every_config_of_a_release_is_read_with_its_own_version(version: str) -> None:
    root = release("torchtune", version) / "recipes" / "configs"
    files = sorted(root.rglob("*.yaml"))
    assert len(files) >= 57
    framework = registry.get("torchtune")
    table = framework.table(version)
    for file in files:
        document = framework.parse(file.read_bytes(), str(file), ())
        run = read(table, document, Context())
        assert run.recipe, file
        assert set(run.claims) == set(document.leaves), file
        pending = [format_path(path) for path, claim in run.claims.items() if claim.kind is ClaimKind.PENDING]
        assert pending == [], file
        for path, claim in run.claims.items():
            if claim.kind is ClaimKind.UNKNOWN:
                keys = schema.load("torchtune", version).keys(f"recipe {run.recipe}")
                assert path[0] not in keys, (file, format_path(path), claim)


@EVERY
def test_a_schema_is_what_the_release_says(name: str, version: str) -> None:
    root = release(name, version)
    corrections = ROOT / "schemas" / f"{name}.patch.json"
    if name == "torchtune":
        found = extract_torchtune.extract(root, version, corrections)
    else:
        found = extract_axolotl.extract(Package(root))
        patch.apply(found, patch.corrections(corrections, version))
    assert store.same(found, expanded(name)[version])
