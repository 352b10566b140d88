"""`convert --exact` to Axolotl: what it writes beside the config, that it is read back, and that Axolotl does it.

FTMIGRATE_UPDATE=1 writes the files of tests/exact/ anew. Tests of the real Axolotl need an interpreter that has it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from train_cases import OUT, TIMES, cases, run

from ftmigrate import api
from ftmigrate.cli import main
from ftmigrate.conversion import Conversion
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.axolotl import companion, exact_rows
from ftmigrate.frameworks.axolotl.strategies import Undecodable
from ftmigrate.frameworks.table import Field, Group
from ftmigrate.run import vocabulary
from ftmigrate.run.compare import LOSSES
from ftmigrate.run.likeness import compare
from ftmigrate.run.rendering import Rendering
from ftmigrate.verify import environments
from ftmigrate.verify.levels import loaded
from ftmigrate.verify.pair import Options
from ftmigrate.verify.probe import Probe
from ftmigrate.verify.results import Outcome
from ftmigrate.verify.schema_level import check_schema
from ftmigrate.verify.train_level import gap
from tests.conftest import FIXTURES, ROOT

HERE = Path(__file__).parent / "exact"
TARGET = "axolotl@0.21.0"
BASE = FIXTURES / "torchtune" / "parity" / "base.yaml"
KNOWN = cases()
UPDATE = bool(os.environ.get("FTMIGRATE_UPDATE"))


def exactly(name: str, **more: Any) -> Conversion:
    case = KNOWN[name]
    told = {"rows": case.rows, "world_size": 1, "exact": True, **more}
    config = os.path.relpath(case.config, ROOT)
    return api.convert(config, TARGET, "torchtune", overrides=case.overrides, recipe=case.recipe, **told)


def lost(made: Conversion) -> set[str]:
    effects = (effect for entry in made.ledger.entries for effect in entry.effects)
    return {effect.setting for effect in effects if effect.verdict in LOSSES}


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


# --- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b", "c_decay", "f_accumulated", "ragged_shuffled", "short_epochs"])
def test_the_files_that_are_written(name: str) -> None:
    for path, text in exactly(name).files.items():
        kept = HERE / name / path
        if UPDATE:
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(text, encoding="utf-8")
        assert kept.read_text(encoding="utf-8") == text


# case -> the plugins that it needs
PLUGINS = {
    "a": ["Rows"],
    "a_shuffled": ["Rows", "CarriedSteps"],
    "c": ["Rows", "DecayAll"],
    "d_openai": ["Rows"],
    "f_accumulated": ["Rows", "CountFirstTokens"],
    "g": ["Rows", "CarriedSteps"],
    "g_shuffled": ["Rows", "CarriedSteps"],
    "l": ["Rows", "EvenEpochs"],
    "m": ["Rows", "PureBf16"],
    "m_full": ["Rows", "PureBf16", "DecayAll"],
    "odd_chat": ["Rows"],
    "ragged_shuffled": ["Rows", "CarriedSteps"],
    "short_epochs": ["Rows", "EvenEpochs"],
    "warmup_of_one": ["Rows", "WarmupAsWritten"],
}


@pytest.mark.parametrize("name", PLUGINS)
def test_only_what_is_needed_stands_beside_the_config(name: str) -> None:
    made = exactly(name)
    listed = made.keys.get("plugins") or []
    assert {one.split(".")[1] for one in listed} == set(PLUGINS[name])
    assert len(listed) == len(PLUGINS[name])
    assert len(made.files) == (2 if listed else 1)
    for text in list(made.files.values())[1:]:
        classes = {node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
        files = {companion.PIECES[one] for one in PLUGINS[name]}
        assert classes & set(companion.PIECES) == {one for one, file in companion.PIECES.items() if file in files}


# what no means reaches -> its cause
IMPOSSIBLE = {
    "memory.chunked_loss": "memory only",
    "launch.device": "the fixture trains on a CPU",
    "model.quantizer": "the target has no torchao 4-bit weights",
    "sequence.split_across_packs": "rows stay whole in Axolotl's packs",
}


@pytest.mark.parametrize("name", KNOWN)
def test_nothing_but_the_impossible_is_lost(name: str) -> None:
    assert lost(exactly(name)) <= set(IMPOSSIBLE)


@pytest.mark.parametrize("name", KNOWN)
def test_reading_the_written_file_again_gives_the_same_run(name: str) -> None:
    made = exactly(name)
    assert made.target is not None
    out, text = next(iter(made.files.items()))
    framework = registry.get("axolotl")
    document = framework.parse(text.encode(), out, ())
    assert {out: text, **framework.beside(document)} == dict(made.files)
    verdicts = {entry.verdict.word for entry in made.ledger.entries if "plugins" in entry.target_paths}
    assert bool(verdicts & {"adapted", "made_explicit"}) is ("plugins" in made.keys)


def test_show_tells_what_a_plugin_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = exactly("c_decay")
    place = tmp_path / "made.yaml"
    place.write_text(next(iter(made.files.values())), encoding="utf-8")
    assert main(["show", str(place), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    found = shown["settings"]["optimizer.weight_decay_scope"]
    assert (found["value"], found["origin"]) == ("all", "explicit")


def test_four_bit_weights_and_several_devices_keep_axolotl_s_own_precision() -> None:
    case = KNOWN["quantized"]
    made = api.convert(str(case.config), TARGET, "torchtune", overrides=(*case.overrides, "dtype=bf16"), exact=True,
                       recipe=case.recipe, rows=48, world_size=1)  # fmt: skip
    assert "PureBf16" not in companion.loaded(made.keys["plugins"])
    full = KNOWN["m_full"]
    spread = api.convert(str(full.config), TARGET, "torchtune", overrides=full.overrides, exact=True,
                         recipe="full_finetune_distributed", rows=48, world_size=2)  # fmt: skip
    assert companion.loaded(spread.keys["plugins"]) <= {"Rows", "DecayAll"}


def test_a_stranger_s_plugin_says_nothing() -> None:
    assert companion.loaded(["team.DecayAll", "made_exact.Unknown", "made_exact.DecayAll.x", 3]) == frozenset()
    assert companion.loaded(["made_exact.DecayAll", "made_exact:Rows"]) == {"DecayAll", "Rows"}


@pytest.mark.parametrize(
    ("stem", "name"), [("made", "made_exact"), ("llama-3.1_8B", "llama_3_1_8B_exact"), ("3b", "_3b_exact")]
)
def test_a_module_s_name_is_one_that_python_imports(stem: str, name: str) -> None:
    assert companion.module(stem) == name
    assert name.isidentifier()


def test_rows_of_one_form_share_it_and_others_have_their_own(tmp_path: Path) -> None:
    alike = yaml.safe_load(next(iter(exactly("two_sources").files.values())))
    assert len(alike["exact_rows"]) == 1
    head, _, tail = KNOWN["two_sources"].config.read_text(encoding="utf-8").rpartition("alpaca_dataset")
    place = tmp_path / "two.yaml"
    place.write_text(f"{head}instruct_dataset{tail}", encoding="utf-8")
    made = api.convert(str(place), TARGET, "torchtune", exact=True, rows=96, world_size=1,
                       recipe="lora_finetune_single_device")  # fmt: skip
    own = yaml.safe_load(next(iter(made.files.values())))
    assert len(own["exact_rows"]) == 2
    assert not {path for path in lost(made) if path.startswith("data.")}
    assert made.target is not None
    for index in (0, 1):
        first, second = (run[f"data.sources[{index}].text"] for run in (made.source, made.target))
        assert isinstance(first, Rendering)
        assert isinstance(second, Rendering)
        assert not compare(first, second)


@pytest.mark.parametrize("form", [None, {}, {"turns": {}}, {"turns": 3, "messages": [], "train": []}])
def test_a_form_that_is_none_is_not_read(form: object) -> None:
    with pytest.raises(Undecodable):
        exact_rows.rendering(form)


# --- the command --------------------------------------------------------------------------------------------------

COMMAND = ["convert", str(BASE), "--from", "torchtune", "--to", TARGET, "--exact", "--rows", "48", "--world-size", "1",
           "--recipe", "lora_finetune_single_device"]  # fmt: skip


def test_the_module_is_written_beside_and_the_command_finds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my-run.yaml"
    report = tmp_path / "ledger.json"
    assert main([*COMMAND, "-o", str(out), "--report", str(report)]) == 0
    beside = tmp_path / "my_run_exact.py"
    assert f"PYTHONPATH={tmp_path} axolotl train {out}" in out.read_text(encoding="utf-8")
    ledger = json.loads(report.read_text(encoding="utf-8"))
    assert ledger["target"]["paths"] == [str(out), str(beside)]
    assert "class Rows(BasePlugin)" in beside.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["lint", str(out)]) == 0, capsys.readouterr()
    out.unlink()
    assert main([*COMMAND, "-o", str(out)]) == 2
    assert "my_run_exact.py exists already" in capsys.readouterr().err
    assert not out.exists()
    assert main([*COMMAND, "-o", str(out), "--force"]) == 0


def test_a_directory_has_a_module_beside_each_config(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    for place in (source / "one.yaml", source / "sub" / "two-b.yaml"):
        place.write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    options = [
        "--to",
        TARGET,
        "--from",
        "torchtune",
        "--exact",
        "--rows",
        "48",
        "--recipe",
        "lora_finetune_single_device",
    ]
    assert main(["convert", str(source), "-o", str(out), *options]) == 0
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.suffix in (".py", ".yaml")}
    assert written == {"one.yaml", "one_exact.py", "sub/two-b.yaml", "sub/two_b_exact.py"}
    for path in out.rglob("*.yaml"):
        assert main(["lint", str(path)]) == 0


def test_standard_output_has_no_place_for_a_second_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(COMMAND) == 2
    told = capsys.readouterr()
    assert "base_axolotl_exact.py must stand beside the config" in told.err
    assert told.out == ""


def test_a_key_of_the_module_is_none_without_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made.yaml"
    assert main([*COMMAND, "-o", str(out)]) == 0
    out.write_text(out.read_text(encoding="utf-8").replace("  - made_exact.Rows\n", "  - other.Rows\n"), "utf-8")
    capsys.readouterr()
    assert main(["lint", str(out)]) == 1
    assert "exact_rows" in capsys.readouterr().out


# --- Axolotl itself -----------------------------------------------------------------------------------------------

PYTHON = os.environ.get("FTMIGRATE_PYTHON_AXOLOTL")
needs_axolotl = pytest.mark.skipif(not PYTHON, reason="FTMIGRATE_PYTHON_AXOLOTL names no interpreter with Axolotl")


@needs_axolotl
def test_each_piece_by_itself(tmp_path: Path) -> None:
    """tests/exact/pieces.py asks the module with all pieces, in Axolotl's own interpreter."""
    assert PYTHON is not None
    (tmp_path / "made_exact.py").write_text(companion.text("made.yaml", companion.PIECES), encoding="utf-8")
    done = subprocess.run([PYTHON, str(HERE / "pieces.py")], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == sorted(companion.PIECES)


@pytest.fixture(scope="module")
def probes() -> Iterator[dict[str, Probe]]:
    with ExitStack() as stack:
        found = {}
        for name, version in (("torchtune", "0.6.1"), ("axolotl", "0.21.0")):
            environment = environments.find(name, version)
            if environment is None:
                pytest.skip(f"NOT VERIFIED against {name} {version}: run `ftmigrate env create {name}`")
            found[name] = stack.enter_context(Probe(environment.python, name))
        yield found


@pytest.mark.parametrize("name", ["c_decay", "f_accumulated", "short_epochs"])
def test_axolotl_s_own_loader_takes_it(name: str, probes: dict[str, Probe]) -> None:
    made = exactly(name)
    document = registry.get("axolotl").parse(next(iter(made.files.values())).encode(), "made.yaml", ())
    found = loaded(probes["axolotl"], document, 1)
    assert found.outcome is Outcome.PASSED, found.details


# --- the table of figures -----------------------------------------------------------------------------------------

TABLE: dict[str, dict[str, dict[str, Any]]] = json.loads(OUT.read_text(encoding="utf-8"))
ROUNDED = {"m", "m_full"}  # bf16: the order of sums shows
UNREACHED = {"packed_text_split": "rows are cut at a pack's end", "quantized": "another library rounds to NF4"}
RUN = [name for name, found in TABLE.items() if "exact" in found and name not in UNREACHED]
# told of each: another device, and rows with odd contents
MAY_NOT_COUNT = {"launch.device", "data.sources[0].text", "data.sources[0].special_names"}
PLAIN = [name for name, found in TABLE.items() if "plain" in found]


def test_the_table_is_of_the_cases() -> None:
    assert set(TABLE) <= set(KNOWN)


def test_what_an_exact_row_names_as_its_proof_was_trained() -> None:
    entries = [
        entry for entry in registry.get("axolotl").table("0.21.0").entries if getattr(entry, "exact_only", False)
    ]
    proofs = [str(entry.proof) for entry in entries if isinstance(entry, Field | Group)]
    cases_ = [proof.removeprefix("trained: ") for proof in proofs if proof.startswith("trained: ")]
    assert cases_
    assert {name: TABLE[name]["exact"]["train"] for name in cases_ if name not in ROUNDED} == {
        name: "passed" for name in cases_ if name not in ROUNDED
    }
    assert set(cases_) <= set(TABLE)


@pytest.mark.parametrize("name", RUN)
def test_the_exact_figures(name: str) -> None:
    found = TABLE[name]["exact"]
    assert found["plan"] == "passed"
    assert found["steps"][0] == found["steps"][1] >= 20
    assert found["loss"] <= (1e-2 if name in ROUNDED else 1e-5)

    assert found["tokens"] == "passed"


@pytest.mark.parametrize("name", PLAIN)
def test_what_differs_in_the_plain_file_is_in_its_ledger(name: str) -> None:
    """A level that differs names settings that the ledger calls lost; what no level names is among them too."""
    plain = exactly(name, exact=False, rows=KNOWN[name].rows * TIMES)
    found = set(TABLE[name]["plain"].get("because", ())) - {"None"}
    assert found <= set(lost(plain))
    bent = {path for path in lost(plain) if vocabulary.spec(path).effect == "training"} - MAY_NOT_COUNT
    assert TABLE[name]["plain"]["train"] == "passed" or found or bent


# --- trained again -------------------------------------------------------------------------------------------------

EVER = ["full_masked", "ragged_shuffled", "odd_chat"]


def of_today(names: list[str], count: int) -> list[str]:
    """So many of the cases, others each day: all take minutes, and tools/nightly.sh trains them all."""
    first = date.today().toordinal() * count
    return [names[(first + further) % len(names)] for further in range(count)]


@pytest.mark.parametrize("name", list(dict.fromkeys([*EVER, *of_today(RUN, 2)])))
def test_an_exact_conversion_trains_the_same(name: str, probes: dict[str, Probe]) -> None:
    found = {one.level: one for one in run(KNOWN[name], probes, Options(steps=20, explain=False), exact=True)}
    rounded = {"train"} if name in ROUNDED else set()
    assert {one.outcome for level, one in found.items() if level not in rounded} == {Outcome.PASSED}, found
    apart = gap(found["train"].data["source"], found["train"].data["target"])
    assert apart.counts == (20, 20)
    assert apart.loss <= (1e-2 if name in ROUNDED else 1e-5)


@pytest.mark.parametrize("name", list(dict.fromkeys(["f_cut", *of_today(PLAIN, 1)])))
def test_a_plain_conversion_trains_as_it_was_found_to(name: str, probes: dict[str, Probe]) -> None:
    found = run(KNOWN[name], probes, Options(steps=24, explain=False), exact=False)
    kept = TABLE[name]["plain"]
    assert {one.level: str(one.outcome) for one in found} == {one.level: kept[one.level] for one in found}
    assert {str(one.setting) for level in found for one in level.differences} == set(kept.get("because", ()))


def test_the_schema_level_knows_the_key_that_the_module_brings() -> None:
    made = exactly("d_openai")
    tree = yaml.safe_load(next(iter(made.files.values())))
    assert check_schema(tree, "axolotl", "0.21.0") == []
    tree["plugins"] = ["somebody.Else"]
    assert [one.path for one in check_schema(tree, "axolotl", "0.21.0")] == ["exact_rows"]
