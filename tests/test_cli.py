"""The contracts of the command line: exit statuses, which stream holds what, files written whole and never lost."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml

from ftmigrate import __version__, api
from ftmigrate.cli import main
from ftmigrate.frameworks import registry
from ftmigrate.run.compare import Verdict
from tests.conftest import FIXTURES, ROOT

SOURCE = FIXTURES / "torchtune" / "llama_lora.yaml"
LEFT = FIXTURES / "torchtune" / "left_by_a_run" / "torchtune_config.yaml"
LEFT_OVERRIDES = ("batch_size=2", "optimizer.lr=1e-4", "model.lora_rank=64")
WORDS = [verdict.word for verdict in Verdict]


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; `stdin` is its standard input."""

    def runs(*arguments: object, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin.encode())))
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Done(status, *capsys.readouterr())

    return runs


@pytest.fixture
def lossless(tmp_path: Path) -> Path:
    """A config that converts with nothing dropped or left to do by hand: one of the target's own, to its own version."""
    path = tmp_path / "own.yaml"
    text = "base_model: org/model\ndatasets:\n  - path: org/rows\n    type: alpaca\nlearning_rate: 1.0e-5\n"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def dropping(tmp_path: Path) -> Path:
    path = tmp_path / "dropping.yaml"
    text = SOURCE.read_text(encoding="utf-8")
    chunked = "CEWithChunkedOutputLoss\n"
    assert chunked in text
    path.write_text(text.replace(chunked, f"{chunked}  num_output_chunks: 16\n"), encoding="utf-8")
    return path


# --- convert: streams and files ---------------------------------------------------------------------------------


def test_the_config_goes_to_standard_output(run: Run) -> None:
    done = run("convert", SOURCE, "--to", "axolotl")
    assert done.status == 0
    assert yaml.safe_load(done.out)["micro_batch_size"] == 4
    assert "torchtune" in done.err
    assert not any(line.startswith("  approximate") for line in done.out.splitlines())


@pytest.mark.parametrize("output", [(), ("-o", "-")])
def test_dash_is_standard_output(
    run: Run, output: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("convert", SOURCE, "--to", "axolotl", *output)
    assert yaml.safe_load(done.out)
    assert list(tmp_path.iterdir()) == []


def test_dash_is_standard_input(run: Run) -> None:
    text = SOURCE.read_text(encoding="utf-8")
    done = run("convert", "-", "--to", "axolotl", stdin=text)
    assert done.status == 0
    assert yaml.safe_load(done.out) == yaml.safe_load(run("convert", SOURCE, "--to", "axolotl").out)


def test_a_file_gets_the_config_and_standard_output_nothing(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.yaml"
    done = run("convert", SOURCE, "--to", "axolotl", "-o", out)
    assert (done.status, done.out) == (0, "")
    assert yaml.safe_load(out.read_text(encoding="utf-8"))["lora_r"] == 16
    assert [path.name for path in out.parent.iterdir()] == ["out.yaml"]


def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    out, report = tmp_path / "out.yaml", tmp_path / "ledger.json"
    out.write_text("mine", encoding="utf-8")
    done = run("convert", SOURCE, "--to", "axolotl", "-o", out, "--report", report)
    assert (done.status, done.out) == (2, "")
    assert "--force" in done.err
    assert out.read_text(encoding="utf-8") == "mine"
    assert not report.exists()
    assert run("convert", SOURCE, "--to", "axolotl", "-o", out, "--force").status == 0
    assert yaml.safe_load(out.read_text(encoding="utf-8"))["base_model"]


def test_a_report_is_not_overwritten_either(run: Run, tmp_path: Path) -> None:
    out, report = tmp_path / "out.yaml", tmp_path / "ledger.json"
    report.write_text("mine", encoding="utf-8")
    assert run("convert", SOURCE, "--to", "axolotl", "-o", out, "--report", report).status == 2
    assert report.read_text(encoding="utf-8") == "mine"
    assert not out.exists()


def test_config_and_ledger_want_files_of_their_own(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.yaml"
    done = run("convert", SOURCE, "--to", "axolotl", "-o", out, "--report", tmp_path / "." / "out.yaml")
    assert done.status == 2
    assert not out.exists()


def test_writing_is_atomic(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half way leaves what was there, and no scrap beside it."""
    out = tmp_path / "out.yaml"
    out.write_text("mine", encoding="utf-8")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr(os, "replace", fails)
    done = run("convert", SOURCE, "--to", "axolotl", "-o", out, "--force")
    assert done.status == 2
    assert "No space left" in done.err
    assert out.read_text(encoding="utf-8") == "mine"
    assert list(tmp_path.iterdir()) == [out]


def test_a_place_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = run("convert", SOURCE, "--to", "axolotl", "-o", tmp_path / "file" / "out.yaml")
    assert (done.status, done.out) == (2, "")
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()[-1:]) == 1


def test_a_device_is_written_to_and_not_replaced(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("convert", SOURCE, "--to", "axolotl", "-o", pipe).status == 2
        assert run("convert", SOURCE, "--to", "axolotl", "-o", pipe, "--force").status == 0
        assert b"base_model" in os.read(reader, 65536)
        assert pipe.is_fifo()
    finally:
        os.close(reader)


def test_a_link_stays_a_link(run: Run, tmp_path: Path) -> None:
    link, out = tmp_path / "link.yaml", tmp_path / "out.yaml"
    out.write_text("mine", encoding="utf-8")
    link.symlink_to(out)
    assert run("convert", SOURCE, "--to", "axolotl", "-o", link).status == 2
    assert run("convert", SOURCE, "--to", "axolotl", "-o", link, "--force").status == 0
    assert link.is_symlink()
    assert "base_model" in out.read_text(encoding="utf-8")


def test_the_written_file_has_the_usual_mode(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.yaml"
    run("convert", SOURCE, "--to", "axolotl", "-o", out)
    mask = os.umask(0)
    os.umask(mask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~mask


# --- convert: exit status ---------------------------------------------------------------------------------------


def test_strict_with_a_dropped_setting(run: Run, dropping: Path, tmp_path: Path) -> None:
    done = run("convert", dropping, "--to", "axolotl", "--format", "json")
    assert done.json["summary"]["dropped"] + done.json["summary"]["manual"] > 0
    assert done.status == 0
    out = tmp_path / "out.yaml"
    assert run("convert", dropping, "--to", "axolotl", "--strict", "-o", out).status == 1
    assert out.exists()


def test_strict_without_a_loss(run: Run, lossless: Path) -> None:
    done = run("convert", lossless, "--to", "axolotl", "--strict")
    summary = run("convert", lossless, "--to", "axolotl", "--format", "json").json["summary"]
    assert summary["dropped"] + summary["manual"] == 0
    assert done.status == 0


def test_no_counterpart_is_2_and_the_ledger_is_written(run: Run, tmp_path: Path) -> None:
    out, report = tmp_path / "out.yaml", tmp_path / "ledger.json"
    quantize = ("--recipe", "quantize")
    done = run("convert", SOURCE, *quantize, "--to", "axolotl", "-o", out, "--report", report)
    assert (done.status, done.out) == (2, "")
    assert "not converted" in done.err
    assert not out.exists()
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["refused"]
    assert found["target"]["paths"] == []
    assert found["entries"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "required"),
        (("nonsense",), "invalid choice"),
        (("convert", SOURCE), "--to"),
        (("convert", SOURCE, "--to", "axolotl", "--nonsense"), "--nonsense"),
        (("convert", "no/such/file.yaml", "--to", "axolotl"), "no/such/file.yaml"),
        (("convert", SOURCE, "--to", "axolotel"), "did you mean axolotl?"),
        (("convert", SOURCE, "--from", "torchtun", "--to", "axolotl"), "did you mean torchtune?"),
        (("convert", SOURCE, "--to", "zzz"), "zzz is no framework known here. Known: "),
        (("convert", SOURCE, "--to", "axolotl@99.0"), "99.0"),
        (("convert", SOURCE, "--from", "torchtune@0.0.1", "--to", "axolotl"), "0.6.1"),
        (("convert", SOURCE, "--to", "axolotl", "--world-size", "0"), "0 is no number above 0"),
        (("convert", SOURCE, "--to", "axolotl", "--world-size", "many"), "many is no number above 0"),
        (("convert", SOURCE, "--to", "axolotl", "--rows", "-3"), "-3"),
        (("convert", SOURCE, "--to", "axolotl", "--set", "batch_size"), "batch_size"),
        (("convert", SOURCE, "--to", "axolotl", "--set", "~no_such_key"), "no_such_key"),
        (("convert", SOURCE, "--to", "axolotl", "--set", "batch_size=[1"), "batch_size"),
        (("show", "no/such/file.yaml"), "no/such/file.yaml"),
        (("show", SOURCE, "--from", "nobody"), "nobody"),
        (("show", SOURCE, "--format", "xml"), "xml"),
        (("diff", SOURCE), "B"),
        (("diff", SOURCE, "no/such/file.yaml"), "no/such/file.yaml"),
        (("diff", SOURCE, SOURCE, "--to", "axolotl@1"), "axolotl"),
        (("frameworks", "--format", "xml"), "xml"),
    ],
    ids=lambda value: " ".join(map(str, value)).replace(str(FIXTURES), "") if isinstance(value, tuple) else "",
)
def test_bad_usage_is_2(run: Run, arguments: tuple[object, ...], words: str) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (2, "")
    assert words in done.err
    assert "Traceback" not in done.err
    assert "fault of ours" not in done.err


@pytest.mark.parametrize("command", [("convert", "--to", "axolotl"), ("show",)])
@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "a: [1\n", "- a\n- b\n", "some text\n", "name: a web site\n", "a: \0\n"]
)
def test_what_is_no_config_is_2(run: Run, command: tuple[str, ...], text: str) -> None:
    done = run(command[0], "-", *command[1:], stdin=text)
    assert (done.status, done.out) == (2, "")
    assert done.err
    assert "Traceback" not in done.err


def test_help_and_version_are_0(run: Run) -> None:
    assert run("--version") == (0, f"ftmigrate {__version__}\n", "")
    for command in ("convert", "show", "diff", "frameworks"):
        done = run(command, "--help")
        assert (done.status, done.err) == (0, "")
        assert command in done.out


def test_a_fault_of_ours_is_3_with_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(api, "load", broken)
    for command in (("convert", SOURCE, "--to", "axolotl"), ("show", SOURCE), ("diff", SOURCE, SOURCE)):
        done = run(*command)
        assert (done.status, done.out) == (3, "")
        (line,) = done.err.splitlines()
        assert "ZeroDivisionError: a bug" in line
        assert "https://" in line


# --- convert: what describes the run ----------------------------------------------------------------------------


def test_overrides_are_those_of_the_run(run: Run) -> None:
    done = run("convert", SOURCE, "--to", "axolotl", "--set", "batch_size=2", "--set", "model.lora_rank=64",
               "--set", "~clip_grad_norm", "--set", "optimizer=torch.optim.SGD")  # fmt: skip
    found = yaml.safe_load(done.out)
    assert (found["micro_batch_size"], found["lora_r"], found["optimizer"]) == (2, 64, "sgd")


def test_an_override_says_so_in_the_ledger(run: Run) -> None:
    done = run("convert", SOURCE, "--to", "axolotl", "--format", "json", "--set", "batch_size=2")
    (entry,) = [entry for entry in done.json["entries"] if entry["source_path"] == "batch_size"]
    assert (entry["value"], entry["verdict"]) == (2, "exact")
    (before,) = [e for e in run("convert", SOURCE, "--to", "axolotl", "--format", "json").json["entries"]
                 if e["source_path"] == "batch_size"]  # fmt: skip
    assert before["value"] == 4


def test_recipe(run: Run) -> None:
    done = run("show", SOURCE, "--recipe", "full_finetune_distributed", "--format", "json")
    assert done.json["recipe"] == "full_finetune_distributed"
    assert done.json["settings"]["parallel.strategy"]["value"] == "fsdp2"
    assert run("show", SOURCE, "--format", "json").json["settings"]["parallel.strategy"]["value"] == "single"


@pytest.mark.parametrize(
    "command",
    [
        ("show", SOURCE),
        ("convert", SOURCE, "--to", "axolotl"),
        ("convert", SOURCE.parent, "--to", "axolotl", "-o", "elsewhere"),
        ("audit", SOURCE.parent, "--to", "axolotl"),
        ("diff", SOURCE, SOURCE),
        ("verify", SOURCE, SOURCE),
    ],
    ids=lambda command: f"{command[0]} {Path(command[1]).name}",
)
def test_a_recipe_that_is_none(run: Run, tmp_path: Path, command: tuple[object, ...]) -> None:
    command = tuple(tmp_path / "out" if word == "elsewhere" else word for word in command)
    done = run(*command, "--recipe", "lora_finetune_single_devise")
    assert (done.status, done.out) == (2, "")
    assert "no recipe lora_finetune_single_devise; did you mean lora_finetune_single_device?" in done.err
    assert "qat_distributed" in done.err
    assert not (tmp_path / "out").exists()


def test_a_recipe_may_be_told_as_its_file(run: Run) -> None:
    done = run("show", SOURCE, "--recipe", "recipes/full_finetune_distributed.py", "--format", "json")
    assert (done.status, done.json["recipe"]) == (0, "full_finetune_distributed")


def test_world_size_and_rows(run: Run) -> None:
    told = ("--recipe", "lora_finetune_distributed", "--world-size", "4", "--rows", "6400", "--format", "json")
    found = run("show", SOURCE, *told).json["settings"]
    assert found["parallel.world_size"]["value"] == 4
    assert found["batch.effective"]["value"] == 4 * 4 * 4
    assert found["duration.max_steps"]["value"] == 3 * (6400 // 4 // 4 // 4)
    open_ = run("show", SOURCE, "--recipe", "lora_finetune_distributed", "--format", "json").json["settings"]
    assert open_["parallel.world_size"]["value"] == {"symbol": "W"}


# --- the ledger as JSON -----------------------------------------------------------------------------------------


@pytest.fixture
def ledger(run: Run, tmp_path: Path) -> Any:
    report = tmp_path / "ledger.json"
    assert run("convert", SOURCE, "--to", "axolotl@0.21.0", "-o", tmp_path / "out.yaml", "--report", report).status == 0
    return json.loads(report.read_text(encoding="utf-8"))


def test_report_form(ledger: Any, tmp_path: Path) -> None:
    assert ledger["ftmigrate"] == __version__
    assert ledger["source"] == {
        "framework": "torchtune",
        "version": registry.get("torchtune").newest,
        "path": str(SOURCE),
    }
    assert ledger["target"] == {"framework": "axolotl", "version": "0.21.0", "paths": [str(tmp_path / "out.yaml")]}
    assert {"ftmigrate", "source", "target", "summary", "entries"} <= set(ledger)
    assert set(ledger["summary"]) == set(WORDS)
    for word, count in ledger["summary"].items():
        assert count == sum(entry["verdict"] == word for entry in ledger["entries"])


def test_report_entries(ledger: Any) -> None:
    keys = {"source_path", "line", "column", "value", "verdict", "target_paths", "note", "effects"}
    lines = SOURCE.read_text(encoding="utf-8").splitlines()
    for entry in ledger["entries"]:
        assert keys <= set(entry)
        assert entry["verdict"] in WORDS
        assert entry["note"] or entry["verdict"] == "exact"
        assert isinstance(entry["target_paths"], list)
        for effect in entry["effects"]:
            assert {"setting", "source", "target", "verdict", "note"} <= set(effect)
            assert effect["verdict"] in WORDS
        if entry["source_path"] is None:
            assert (entry["line"], entry["column"], entry["value"]) == (None, None, None)
            assert entry["verdict"] in ("made_explicit", "approximate", "dropped")
        else:
            assert 1 <= entry["line"] <= len(lines)
            last = entry["source_path"].split(".")[-1].split("[")[0]
            assert last in "\n".join(lines[max(entry["line"] - 2, 0) : entry["line"]])


def test_an_entry_is_as_bad_as_its_worst_effect(ledger: Any) -> None:
    order = ["inert", "exact", "adapted", "approximate", "dropped", "manual"]
    for entry in ledger["entries"]:
        effects = [
            "adapted" if effect["verdict"] == "made_explicit" else effect["verdict"] for effect in entry["effects"]
        ]
        if effects and entry["source_path"] is not None:
            assert entry["verdict"] == max(effects, key=order.index)


def test_source_paths_are_those_of_the_file(ledger: Any) -> None:
    paths = [entry["source_path"] for entry in ledger["entries"] if entry["source_path"] is not None]
    assert len(paths) == len(set(paths))
    assert {"model.lora_rank", "checkpointer.checkpoint_files", "optimizer.lr", "seed"} <= set(paths)


def test_format_json_is_the_report(run: Run, ledger: Any, tmp_path: Path) -> None:
    out = tmp_path / "second.yaml"
    done = run("convert", SOURCE, "--to", "axolotl@0.21.0", "-o", out, "--format", "json")
    assert out.exists()
    assert {**done.json, "target": None, "notes": None} == {**ledger, "target": None, "notes": None}


def test_a_report_for_standard_output_names_no_machine(run: Run) -> None:
    """Paths in the ledger are those that were given."""
    done = run("convert", "-", "--to", "axolotl", "--format", "json", stdin=SOURCE.read_text(encoding="utf-8"))
    assert str(ROOT) not in done.out


# --- show, diff, frameworks -------------------------------------------------------------------------------------


def test_show_json(run: Run) -> None:
    from ftmigrate.run import vocabulary

    done = run("show", SOURCE, "--format", "json")
    assert done.status == 0
    found = done.json
    assert (found["framework"], found["recipe"]) == ("torchtune", "lora_finetune_single_device")
    assert set(vocabulary.GLOBAL_SETTINGS) <= set(found["settings"])
    for setting in found["settings"].values():
        assert {"value", "origin", "leaves", "why"} <= set(setting)
    assert found["settings"]["adapter.rank"]["value"] == 16
    assert found["settings"]["adapter.rank"]["leaves"] == ["model.lora_rank"]


def test_show_text(run: Run) -> None:
    done = run("show", SOURCE)
    assert done.status == 0
    assert "learning_rate" in done.out
    assert "0.0002" in done.out
    assert str(SOURCE) in done.err
    hidden = run("show", LEFT, "--set", "model=torchtune.models.llama3_2.llama3_2_1b")
    assert "\n  rank " not in hidden.out
    assert "\n  rank " in run("show", LEFT, "--set", "model=torchtune.models.llama3_2.llama3_2_1b", "--all").out


def test_diff_of_the_same_is_0(run: Run) -> None:
    done = run("diff", LEFT, LEFT)
    assert (done.status, done.out) == (0, "")
    assert "same" in done.err


def test_diff_of_others_is_1(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SOURCE.read_text(encoding="utf-8").replace("2e-4", "3e-4"), encoding="utf-8")
    done = run("diff", SOURCE, other)
    assert done.status == 1
    assert "optimizer.learning_rate" in done.out
    found = run("diff", SOURCE, other, "--format", "json").json
    (difference,) = found["differences"]
    assert (difference["setting"], difference["a"], difference["b"]) == ("optimizer.learning_rate", 2e-4, 3e-4)
    assert difference["note"]
    assert run("diff", SOURCE, "-", stdin=other.read_text(encoding="utf-8")).status == 1


def test_diff_of_two_frameworks_is_what_the_ledger_says(run: Run, tmp_path: Path) -> None:
    out, report = tmp_path / "out.yaml", tmp_path / "ledger.json"
    run("convert", SOURCE, "--to", "axolotl", "-o", out, "--report", report)
    ledger = json.loads(report.read_text(encoding="utf-8"))
    told = {
        effect["setting"]
        for entry in ledger["entries"]
        for effect in entry["effects"]
        if effect["verdict"] in ("approximate", "dropped", "manual")
    }
    done = run("diff", SOURCE, out, "--format", "json")
    assert {item["setting"] for item in done.json["differences"]} == told
    assert done.status == 1


def test_frameworks(run: Run) -> None:
    done = run("frameworks", "--format", "json")
    assert (done.status, done.err) == (0, "")
    assert [found["name"] for found in done.json] == list(registry.names())
    for found in done.json:
        assert found["versions"] == registry.get(found["name"]).versions()
        assert found["status"]
    text = run("frameworks")
    assert all(name in text.out for name in registry.names())


# --- colour -----------------------------------------------------------------------------------------------------


def _on_a_terminal(tmp_path: Path, environment: dict[str, str]) -> str:
    """What a command prints when both its streams are a terminal."""
    parent, child = pty.openpty()
    base = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    command = [sys.executable, "-m", "ftmigrate", "show", str(SOURCE)]
    process = subprocess.Popen(
        command, stdout=child, stderr=child, stdin=subprocess.DEVNULL, cwd=ROOT, env={**base, **environment}
    )
    os.close(child)
    text = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    assert process.wait() == 0
    os.close(parent)
    return text.decode()


def test_colour_on_a_terminal_only(run: Run, tmp_path: Path) -> None:
    assert "\x1b[" in _on_a_terminal(tmp_path, {"TERM": "xterm"})
    assert "\x1b[" not in _on_a_terminal(tmp_path, {"TERM": "xterm", "NO_COLOR": "1"})
    assert "\x1b[" not in _on_a_terminal(tmp_path, {"TERM": "dumb"})
    for command in (("show", SOURCE), ("convert", SOURCE, "--to", "axolotl"), ("diff", SOURCE, LEFT)):
        done = run(*command)
        assert "\x1b[" not in done.out + done.err


def test_a_reader_that_stops_early_is_no_fault() -> None:
    command = f'"{sys.executable}" -m ftmigrate show "{SOURCE}" --format json | head -c 10'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert "Traceback" not in done.stderr
    assert "fault of ours" not in done.stderr
    assert done.returncode == 0


# --- the config that a run leaves behind ------------------------------------------------------------------------


def test_the_fixture_is_what_a_run_leaves() -> None:
    """torchtune saves the merged config with OmegaConf: without comments, interpolations as they were."""
    omegaconf = pytest.importorskip("omegaconf")
    made = omegaconf.OmegaConf.merge(
        omegaconf.OmegaConf.load(SOURCE), omegaconf.OmegaConf.from_dotlist(list(LEFT_OVERRIDES))
    )
    assert omegaconf.OmegaConf.to_yaml(made) == LEFT.read_text(encoding="utf-8")


def test_what_a_run_leaves_reads_as_the_file_it_was_made_from(run: Run) -> None:
    """The same verdicts, but for what only the comments of the written file tell: the hub id of the model."""
    sets = [word for override in LEFT_OVERRIDES for word in ("--set", override)]
    by_hand = run("convert", SOURCE, "--to", "axolotl", "--format", "json", *sets).json["entries"]
    left = run("convert", LEFT, "--to", "axolotl", "--format", "json").json["entries"]
    said = [{entry["source_path"]: entry for entry in entries if entry["source_path"]} for entries in (by_hand, left)]
    assert list(said[0]) == list(said[1])
    hub = {"model.base", "model.architecture", "tokenizer.source"}
    for path, entry in said[0].items():
        effects = [_without(found[path]["effects"], hub) for found in said]
        assert effects[0] == effects[1], path
        if not {effect["setting"] for effect in entry["effects"]} & hub:
            assert entry["verdict"] == said[1][path]["verdict"], path
            assert entry["target_paths"] == said[1][path]["target_paths"], path
    implicit = [{_mark(entry) for entry in entries if entry["source_path"] is None} for entries in (by_hand, left)]
    assert implicit[0] == implicit[1]


def _without(effects: list[dict[str, Any]], settings: set[str]) -> list[tuple[str, str]]:
    return [(effect["setting"], effect["verdict"]) for effect in effects if effect["setting"] not in settings]


def _mark(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["verdict"], ",".join(entry["target_paths"])
