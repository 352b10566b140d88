"""`convert DIR`: what is found, what is written, what a second, an interrupted and a failing run leave behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from ftmigrate.cli import main
from ftmigrate.conversion import convert as convert_document
from ftmigrate.directory import pool
from ftmigrate.directory.progress import bar
from ftmigrate.directory.tree import items
from ftmigrate.directory.walk import candidates, walk
from tests.conftest import FIXTURES

LORA = FIXTURES / "torchtune" / "llama_lora.yaml"
TEXT = FIXTURES / "torchtune" / "text_completion.yaml"
MIXED = FIXTURES / "torchtune" / "mixed_sources.yaml"
BROKEN = "model:\n  _component_: torchtune.models.llama3.llama3_8b\n  x: [1,\n"
OTHERS = "apiVersion: v1\nkind: ConfigMap\ndata:\n  base_model: x\n"


def put(place: Path, text: str | Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text.read_text(encoding="utf-8") if isinstance(text, Path) else text, encoding="utf-8")
    return place


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Configs of ours among everything a repository holds beside them."""
    root = tmp_path / "project"
    put(root / "lora.yaml", LORA)
    put(root / "teams" / "a b" / "text.yml", TEXT)
    put(root / "teams" / "mixed.yaml", MIXED)
    put(root / "deploy" / "service.yaml", OTHERS)
    put(root / "deploy" / "two.yaml", f"{OTHERS}---\n{OTHERS}")
    put(root / "deploy" / "chart.yaml", "a: {{ .Values.x }}\n")
    put(root / "notes.txt", "_component_: none")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "converted"


def convert(root: Path, out: Path, *options: str) -> int:
    return main(["convert", str(root), "--to", "axolotl", "-o", str(out), "--jobs", "1", *options])


def index(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "ftmigrate-index.json").read_text(encoding="utf-8"))
    return found


def written(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


# --- what is found ------------------------------------------------------------------------------------------------


def test_only_files_with_a_mark_are_candidates(tree: Path) -> None:
    found = [path.as_posix() for path in candidates(tree)]
    assert found == ["deploy/service.yaml", "deploy/two.yaml", "lora.yaml", "teams/a b/text.yml", "teams/mixed.yaml"]


def test_hidden_folders_environments_and_what_git_ignores_are_passed_over(tree: Path) -> None:
    for place in (".hidden", "env", "node_modules/x", "scratch", "teams/old"):
        put(tree / place / "run.yaml", LORA)
    put(tree / "env" / "pyvenv.cfg", "home = /usr\n")
    put(tree / ".gitignore", "scratch/\n*.bak.yaml\n")
    put(tree / "teams" / ".gitignore", "old\n!kept.bak.yaml\n")
    put(tree / "lora.bak.yaml", LORA)
    put(tree / "teams" / "kept.bak.yaml", LORA)
    found = [path.as_posix() for path in walk(tree) if path.parts[0] != "deploy"]
    assert found == ["lora.yaml", "teams/a b/text.yml", "teams/kept.bak.yaml", "teams/mixed.yaml"]


@pytest.mark.parametrize(
    "rules",
    [
        {"": "*.yaml\n!keep*.yaml\n"},
        {"": "/one.yaml\nsub/one.yaml\n"},
        {"": "sub/\n!sub/keep.yaml\n"},
        {"": "sub/*\n!sub/keep.yaml\n!sub/deep/\n"},
        {"": "**/deep/one.yaml\n", "sub": "keep.yaml\n"},
        {"": "*.yaml\n", "sub": "!*.yaml\n", "sub/deep": "/keep.yaml\n"},
        {"": "# a comment\n\\#x.yaml\ntw?.yaml\n[ok]*.yaml\ntrail.yaml   \n"},
        {"sub": "deep\n"},
    ],
    ids=str,
)
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed: its rules cannot be compared")
def test_the_same_files_as_git_itself_lists(tmp_path: Path, rules: dict[str, str]) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for folder in ("", "sub", "sub/deep", "other/sub"):
        for name in ("one.yaml", "two.yaml", "keep.yaml", "keeper.yaml", "#x.yaml", "trail.yaml", "ok.yml"):
            put(tmp_path / folder / name, "a: 1\n")
    for folder, text in rules.items():
        put(tmp_path / folder / ".gitignore", text)
    command = [
        "git",
        "-C",
        str(tmp_path),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.yaml",
        "*.yml",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    assert sorted(path.as_posix() for path in walk(tmp_path)) == sorted(filter(None, said))
    below = {path.removeprefix("sub/") for path in said if path.startswith("sub/")}
    if below:
        assert {path.as_posix() for path in walk(tmp_path / "sub")} == below


def test_a_directory_that_git_ignores_is_walked_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    put(tmp_path / ".gitignore", "build/\n")
    put(tmp_path / "build" / "run.yaml", LORA)
    assert [path.as_posix() for path in walk(tmp_path / "build")] == ["run.yaml"]
    assert list(walk(tmp_path)) == []


def test_links_make_no_loops_and_count_nothing_twice(tree: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside" / "run.yaml", LORA)
    (tree / "loop").symlink_to(tree)
    (tree / "teams" / "up").symlink_to("..")
    (tree / "same.yaml").symlink_to(tree / "lora.yaml")
    (tree / "gone.yaml").symlink_to(tree / "nowhere.yaml")
    (tree / "self.yaml").symlink_to("self.yaml")
    (tree / "foreign.yaml").symlink_to(outside)
    found = [path.as_posix() for path in walk(tree) if path.parts[0] != "deploy"]
    assert found == ["foreign.yaml", "lora.yaml", "teams/a b/text.yml", "teams/mixed.yaml"]


# --- what is written ----------------------------------------------------------------------------------------------


def test_the_structure_is_kept_and_an_index_tells_what_became_of_each(tree: Path, out: Path) -> None:
    put(tree / "teams" / "broken.yaml", BROKEN)
    assert convert(tree, out) == 2
    names = {"ftmigrate-index.json", "ftmigrate-index.md", "lora.yaml", "teams/a b/text.yaml", "teams/mixed.yaml"}
    assert set(written(out)) == names
    found = index(out)
    assert {item["path"]: (item["outcome"], item["target"]) for item in found["files"]} == {
        "lora.yaml": ("approximate", "lora.yaml"),
        "teams/a b/text.yml": ("approximate", "teams/a b/text.yaml"),
        "teams/broken.yaml": ("unreadable", None),
        "teams/mixed.yaml": ("manual", "teams/mixed.yaml"),
    }
    (broken,) = [item for item in found["files"] if item["outcome"] == "unreadable"]
    assert broken["line"]
    assert broken["reason"]
    assert found["summary"]["files"] == 4
    assert found["summary"]["outcomes"]["approximate"] == 2
    table = (out / "ftmigrate-index.md").read_text(encoding="utf-8")
    assert "| teams/a b/text.yml | [teams/a b/text.yaml](<teams/a b/text.yaml>) | converts approximately |" in table
    assert f"cannot be read: line {broken['line']}: " in table


def test_each_file_is_what_converting_it_alone_gives(tree: Path, out: Path, tmp_path: Path) -> None:
    assert convert(tree, out) == 0
    alone = tmp_path / "alone" / "lora.yaml"
    assert main(["convert", str(tree / "lora.yaml"), "--to", "axolotl", "-o", str(alone)]) == 0
    mine = out / "lora.yaml"
    assert mine.read_text("utf-8") == alone.read_text("utf-8").replace(str(alone), str(mine))


def test_a_yml_beside_a_yaml_keeps_its_name(tmp_path: Path) -> None:
    put(tmp_path / "in" / "run.yaml", LORA)
    put(tmp_path / "in" / "run.yml", TEXT)
    put(tmp_path / "in" / "other.yml", TEXT)
    found = {item.path: item.out for item in items(tmp_path / "in", Path("out"))}
    assert found == {"run.yaml": "out/run.yaml", "run.yml": "out/run.yml", "other.yml": "out/other.yaml"}


def test_options_that_describe_the_run_hold_for_every_file(tree: Path, out: Path) -> None:
    assert convert(tree, out, "--set", "batch_size=7") == 0
    texts = [(out / name).read_text("utf-8") for name in ("lora.yaml", "teams/a b/text.yaml", "teams/mixed.yaml")]
    assert all("\nmicro_batch_size: 7" in text for text in texts)


def test_strict_asks_for_no_loss(tree: Path, out: Path) -> None:
    assert convert(tree, out, "--strict") == 1
    (tree / "teams" / "mixed.yaml").unlink()
    assert convert(tree, out, "--strict") == 0


def test_configs_of_the_target_are_left_where_they_are(tree: Path, out: Path) -> None:
    put(tree / "done.yaml", "base_model: m\ndatasets:\n  - path: d\n    type: alpaca\nmicro_batch_size: 1\n")
    assert convert(tree, out) == 0
    assert not (out / "done.yaml").exists()
    assert [item["outcome"] for item in index(out)["files"] if item["path"] == "done.yaml"] == ["already"]


def test_only_the_framework_asked_for(tree: Path, out: Path) -> None:
    put(tree / "done.yaml", "base_model: m\ndatasets:\n  - path: d\n    type: alpaca\nmicro_batch_size: 1\n")
    assert convert(tree, out, "--from", "torchtune@0.6.1") == 0
    assert {item["framework"] for item in index(out)["files"]} == {"torchtune"}


@pytest.mark.parametrize("form", ["file", "stdout"])
def test_the_report_holds_every_ledger(
    tree: Path, out: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tree / "broken.yaml", BROKEN)
    report = tmp_path / "report.json"
    assert convert(tree, out, *(["--report", str(report)] if form == "file" else ["--format", "json"])) == 2
    text = report.read_text("utf-8") if form == "file" else capsys.readouterr().out
    found = json.loads(text)
    assert set(found) == {"ftmigrate", "files", "problems", "summary"}
    assert [Path(ledger["source"]["path"]).name for ledger in found["files"]] == ["lora.yaml", "text.yml", "mixed.yaml"]
    for ledger in found["files"]:
        assert ledger["target"]["paths"] == [path for path in ledger["target"]["paths"] if Path(path).exists()]
        assert sum(ledger["summary"].values()) == len(ledger["entries"])
    assert [(item["path"], item["outcome"]) for item in found["problems"]] == [("broken.yaml", "unreadable")]


# --- again --------------------------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(tree: Path, out: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert convert(tree, out, "--report", str(report)) == 0
    everything = [*out.rglob("*"), report]
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in everything}
    assert convert(tree, out, "--report", str(report)) == 0
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in before} == before
    assert set(out.rglob("*")) | {report} == set(everything)


def test_results_inside_the_directory_are_no_sources(tree: Path) -> None:
    assert convert(tree, tree / "converted") == 0
    before = written(tree / "converted")
    assert convert(tree, tree / "converted") == 0
    assert written(tree / "converted") == before


def test_another_file_is_kept_unless_forced(tree: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = put(out / "lora.yaml", "mine: true\n")
    assert convert(tree, out) == 2
    assert mine.read_text("utf-8") == "mine: true\n"
    assert f"{mine}: not written" in capsys.readouterr().err
    assert [item["path"] for item in index(out)["files"] if item["kept"]] == ["lora.yaml"]
    assert (out / "teams" / "mixed.yaml").exists()
    assert convert(tree, out, "--force") == 0
    assert "base_model" in mine.read_text("utf-8")


@pytest.mark.parametrize(
    ("where", "options", "said"),
    [
        (".", [], "holds the sources"),
        ("..", [], "holds the sources"),
        ("lora.yaml", [], "is no directory"),
        ("-", [], "name the one to write with -o"),
        ("../out", ["--verify"], "--verify takes one file"),
        ("../out", ["--to", "nobody"], "no framework known here"),
        ("../out", ["--from", "axolotl"], "holds no config"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_written(
    tree: Path, where: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(tree.parent)
    assert convert(tree, Path("-") if where == "-" else tree / where, *options) == 2
    assert said in capsys.readouterr().err
    assert written(tree.parent) == before


# --- failing and interrupted --------------------------------------------------------------------------------------


def test_a_fault_of_ours_stops_no_other_file(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def faulty(document: Any, *rest: Any, **options: Any) -> Any:
        if document.name.endswith("lora.yaml"):
            raise ZeroDivisionError("made to fail")
        return convert_document(document, *rest, **options)

    monkeypatch.setattr("ftmigrate.directory.work.convert", faulty)
    assert convert(tree, out) == 3
    assert (out / "teams" / "mixed.yaml").exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "made to fail" in line]
    assert line.startswith(f"{tree / 'lora.yaml'}: a fault of ours: ZeroDivisionError")
    assert index(out)["summary"]["outcomes"]["fault"] == 1


def _die_on(number: int, item: int) -> tuple[int, int]:
    if item == number:
        os._exit(9)
    return item, os.getpid()


def test_a_process_that_dies_takes_only_its_own_file_with_it() -> None:
    found = list(pool.each(partial(_die_on, 13), list(range(40)), 2, lambda item: (item, -1)))
    assert [item for item, _ in found] == list(range(40))
    assert [item for item, by in found if by == -1] == [13]
    assert os.getpid() not in {by for _, by in found}


def test_processes_give_what_one_gives(tree: Path, tmp_path: Path) -> None:
    text = LORA.read_text("utf-8")
    for number in range(12):
        put(tree / "many" / f"{number}.yaml", text.replace("batch_size: 4", f"batch_size: {number + 1}"))
    assert convert(tree, tmp_path / "out") == 0
    one = written(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert convert(tree, tmp_path / "out", "--jobs", "2") == 0
    assert written(tmp_path / "out") == one


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_stopped_while_writing_no_file_is_half_there(
    tree: Path, out: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert convert(tree, out) == 0
    whole = written(out)
    shutil.rmtree(out)
    calls = 0
    real = os.replace

    def stop(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(os, "replace", stop)
    assert convert(tree, out, "--report", str(tmp_path / "report.json")) == 2
    left = written(out)
    assert left == {name: text for name, text in whole.items() if name in left}
    assert len(left) == number - 1
    assert not (tmp_path / "report.json").exists()
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    assert convert(tree, out) == 0
    assert written(out) == whole


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path: Path, out: Path, how: signal.Signals) -> None:
    text = LORA.read_text("utf-8")
    for number in range(400):
        put(tmp_path / "in" / f"{number}.yaml", text.replace("batch_size: 4", f"batch_size: {number + 1}"))
    command = [sys.executable, "-m", "ftmigrate", "convert", str(tmp_path / "in"), "--to", "axolotl", "-o", str(out)]
    running = subprocess.Popen([*command, "--jobs", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    while running.poll() is None and not any(out.glob("*.yaml")):
        sleep(0.01)
    assert running.poll() is None
    if how is signal.SIGINT:
        os.killpg(running.pid, how)  # as a terminal does
    else:
        running.send_signal(how)
    _, said = running.communicate()
    assert running.returncode == 2
    assert said.strip() == "ftmigrate: interrupted"
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
    names = [path.name for path in out.iterdir()]
    assert not [name for name in names if name.startswith(".")]
    assert 0 < len(names) < 400
    assert all((out / name).read_text("utf-8").endswith("\n") for name in names)
    assert not {"ftmigrate-index.json", "ftmigrate-index.md"} & set(names)


# --- progress -----------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown, hidden = Terminal(), io.StringIO()
    assert list(bar(iter(range(500)), 500, shown)) == list(range(500))
    assert list(bar(iter(range(500)), 500, hidden)) == list(range(500))
    assert hidden.getvalue() == ""
    assert shown.getvalue().count("\r") == 101
    assert "250/500 files" in shown.getvalue()
    assert shown.getvalue().endswith("\r\x1b[K")
