"""`ftmigrate lint`: command line, formats, suppression, fixes, directories."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import ftmigrate
from ftmigrate import api
from ftmigrate.cli import main
from ftmigrate.linter import engine
from ftmigrate.linter.engine import Job
from ftmigrate.linter.rules import selected
from tests.conftest import FIXTURES

BASE = FIXTURES / "lint"
AXOLOTL = (BASE / "axolotl.yaml").read_text(encoding="utf-8")
TORCHTUNE = (BASE / "torchtune.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(text.encode())
    return name


def lint(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(["lint", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def told(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    _, out, _ = lint(*arguments, "--format", "json", capsys=capsys)
    found: dict[str, Any] = json.loads(out)
    return found


def codes(text: str, job: Job | None = None) -> list[tuple[str, int]]:
    result = engine.lint(text.encode(), "x.yaml", job or Job(isolated=True))
    assert result is not None
    return [(one.code, one.line) for one in result.diagnostics]


# --- status and places ------------------------------------------------------------------------------------------


def test_nothing_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = lint(write("a.yaml", AXOLOTL), capsys=capsys)
    assert (status, out) == (0, "")
    assert "nothing wrong; linted as axolotl 0.21.0" in err


def test_the_place_and_the_caret(capsys: pytest.CaptureFixture[str]) -> None:
    text = AXOLOTL.replace("lora_r: 16", "lora_ranks: 16")
    status, out, _ = lint(write("a.yaml", text), capsys=capsys)
    line = text.splitlines().index("lora_ranks: 16") + 1
    assert status == 1
    assert out.splitlines()[0].startswith(
        f"a.yaml:{line}:1: warning FT010 unknown-key: `lora_ranks` is no key of Axolotl"
    )
    assert out.splitlines()[1:3] == [f"{line:5} | lora_ranks: 16", "        ^^^^^^^^^^"]


@pytest.mark.parametrize(("level", "status"), [("error", 0), ("warning", 1), ("info", 1)])
def test_fail_on(level: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    write("a.yaml", AXOLOTL + "weight_decai: 1\n")
    assert lint("a.yaml", "--fail-on", level, capsys=capsys)[0] == status


def test_information_alone_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.yaml", AXOLOTL + "trust_remote_code: true\nlora_mlp_kernel: false\n")
    assert lint("a.yaml", capsys=capsys)[0] == 0
    assert lint("a.yaml", "--fail-on", "info", capsys=capsys)[0] == 1


def test_a_file_that_does_not_parse_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(write("a.yaml", "a: [1, 2\nb: 3\n"), capsys=capsys)
    assert [one["name"] for one in found["diagnostics"]] == ["syntax"]
    assert main(["lint", "a.yaml"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere.yaml",),
        ("a.yaml", "--framework", "nobody"),
        ("a.yaml", "--framework", "axolotl@9.9"),
        ("a.yaml", "--select", "XX1"),
        ("a.yaml", "--baseline", "a.yaml"),
        ("a.yaml", "--fix", "--diff"),
        ("a.yaml", "--rows", "0"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_status_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    write("a.yaml", AXOLOTL)
    status, _, err = lint(*arguments, capsys=capsys)
    assert status == 2
    assert err.startswith("ftmigrate: ")


def test_a_fault_of_ours_is_status_3(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from ftmigrate.linter import checks

    def broken(_: object) -> list[object]:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(checks.CHECKS, "found", [(("FT101",), broken), *checks.CHECKS.found])
    write("a.yaml", AXOLOTL.replace("num_epochs: 3", "num_epochs: 0"))
    status, out, err = lint("a.yaml", capsys=capsys)
    assert status == 3
    assert "FT105" in out  # the other checks go on
    assert "a fault of ours over a.yaml: the check FT101: ZeroDivisionError: on purpose" in err


def test_both_lines_of_a_repeated_key(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = told(write("a.yaml", AXOLOTL + "seed: 7\n"), capsys=capsys)["diagnostics"]
    lines = (AXOLOTL + "seed: 7\n").splitlines()
    assert (one["name"], one["severity"], one["line"]) == ("duplicate-key", "warning", len(lines))
    assert f"line {lines.index('seed: 42') + 1}" in one["message"]
    (other,) = told(write("b.yaml", TORCHTUNE + "seed: 8\n"), capsys=capsys)["diagnostics"]
    assert (other["name"], other["severity"]) == ("duplicate-key", "error")


# --- which files ------------------------------------------------------------------------------------------------


def test_directories_are_walked_and_other_files_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    write("configs/a.yaml", AXOLOTL.replace("num_epochs: 3", "num_epochs: 0"))
    write("configs/b.yaml", TORCHTUNE)
    write("docker-compose.yml", "services:\n  a: {image: x}\n")
    write("broken.yaml", "services: [\n")
    write("empty.yaml", "")
    status, out, err = lint(".", capsys=capsys)
    assert status == 1
    assert [line.split(":")[0] for line in out.splitlines() if "FT" in line] == ["configs/a.yaml"]
    assert "2 configs: 1 error" in err


def test_a_named_file_that_is_no_config_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = lint(write("c.yml", "services:\n  a: {image: x}\n"), capsys=capsys)
    assert (status, out) == (0, "")
    assert "c.yml: no training config of a framework known here; passed over" in err


def test_many_files_in_parallel_are_told_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        write(f"c/{number:02}.yaml", AXOLOTL.replace("num_epochs: 3", "num_epochs: 0"))
    paths = [one["path"] for one in told("c", "--jobs", "2", capsys=capsys)["diagnostics"]]
    assert paths == [f"c/{number:02}.yaml" for number in range(40)]


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO(AXOLOTL.replace("num_epochs: 3", "num_epochs: 0").encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=data))
    (one,) = told("-", "--stdin-filename", "conf/x.yaml", capsys=capsys)["diagnostics"]
    assert (one["path"], one["code"]) == ("conf/x.yaml", "FT105")


def test_the_version_pinned_beside_the_file_counts(capsys: pytest.CaptureFixture[str]) -> None:
    write("requirements.txt", "axolotl==0.9.2\n")
    status, _, err = lint(write("a.yaml", AXOLOTL + "sample_packing_sequentially: true\n"), capsys=capsys)
    assert "linted as axolotl 0.9.2" in err
    assert status == 1


# --- selection and suppression ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "select", "ignore", "wanted"),
    [
        ("FT101", (), (), True),
        ("FT101", (), ("FT1",), False),
        ("FT101", ("FT101",), ("FT1",), True),
        ("FT101", ("FT1",), ("FT101",), False),
        ("FT101", ("FT0",), (), False),
        ("FT101", ("",), (), True),
    ],
)
def test_selected(code: str, select: tuple[str, ...], ignore: tuple[str, ...], wanted: bool) -> None:
    assert selected(code, select, ignore) is wanted


def test_select_takes_names(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.yaml", AXOLOTL.replace("num_epochs: 3", "num_epochs: 0") + "weight_decai: 1\n")
    assert [one["code"] for one in told("a.yaml", "--select", "no-training", capsys=capsys)["diagnostics"]] == ["FT105"]
    assert [one["code"] for one in told("a.yaml", "--ignore", "FT1", capsys=capsys)["diagnostics"]] == ["FT010"]


@pytest.mark.parametrize("comment", ["# ftmigrate: ignore", "# ftmigrate: ignore[FT105]", "#ftmigrate: ignore[FT1, FT9]",
                                     "# ftmigrate: ignore[no-training]"])  # fmt: skip
def test_a_comment_hides_what_its_line_says(comment: str) -> None:
    assert codes(AXOLOTL.replace("num_epochs: 3", f"num_epochs: 0  {comment}")) == []
    assert codes(AXOLOTL.replace("num_epochs: 3", f"{comment}\nnum_epochs: 0")) == []


def test_a_comment_for_another_code_hides_nothing_and_is_told() -> None:
    text = AXOLOTL.replace("num_epochs: 3", "num_epochs: 0  # ftmigrate: ignore[FT010]")
    line = text[: text.index("num_epochs")].count("\n") + 1
    assert codes(text) == [("FT105", line), ("FT009", line)]


def test_a_comment_for_the_whole_file() -> None:
    text = "# ftmigrate: ignore-file[FT105]\n" + AXOLOTL.replace("num_epochs: 3", "num_epochs: 0")
    assert codes(text) == []


def test_a_suppression_inside_of_text_is_none() -> None:
    text = AXOLOTL.replace("num_epochs: 3", "num_epochs: 0\nwandb_name: 'x#ftmigrate: ignore-file'")
    assert [code for code, _ in codes(text)] == ["FT105"]


def test_the_projects_own_wishes(capsys: pytest.CaptureFixture[str]) -> None:
    write("pyproject.toml", '[tool.ftmigrate]\nignore = ["FT010"]\nfail-on = "error"\n'
                            '[tool.ftmigrate.per-path-ignores]\n"old/" = ["FT105"]\n')  # fmt: skip
    bad = AXOLOTL.replace("num_epochs: 3", "num_epochs: 0\nweight_decai: 1")
    write("old/a.yaml", bad)
    write("new/a.yaml", bad)
    assert [(one["path"], one["code"]) for one in told(".", capsys=capsys)["diagnostics"]] == [("new/a.yaml", "FT105")]
    alone = told("old", "--isolated", capsys=capsys)["diagnostics"]
    assert sorted(one["code"] for one in alone) == ["FT010", "FT105"]


def test_a_project_with_unknown_wishes_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    write("pyproject.toml", '[tool.ftmigrate]\nselct = ["FT010"]\n')
    status, _, err = lint(write("a.yaml", AXOLOTL), capsys=capsys)
    assert status == 2
    assert "has no key selct" in err


def test_a_baseline_hides_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.yaml", AXOLOTL + "weight_decai: 1\n")
    lint("a.yaml", "--format", "json", "--output-file", "known.json", capsys=capsys)
    assert lint("a.yaml", "--baseline", "known.json", capsys=capsys)[0] == 0
    write("a.yaml", "# moved\n" + AXOLOTL.replace("num_epochs: 3", "num_epochs: 0") + "weight_decai: 1\n")
    status, out, _ = lint("./a.yaml", "--baseline", "known.json", capsys=capsys)
    assert status == 1
    assert "FT105" in out
    assert "FT010" not in out


# --- formats ----------------------------------------------------------------------------------------------------

BAD = AXOLOTL.replace("num_epochs: 3", "num_epochs: 0") + 'weight_decai: 1  # 50 % <of> "it"\n'


def test_json_is_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(write("a.yaml", BAD), capsys=capsys)
    assert set(found) == {"ftmigrate", "diagnostics", "summary"}
    assert found["ftmigrate"] == ftmigrate.__version__
    assert found["summary"] == {"error": 1, "warning": 1, "info": 0}
    one = found["diagnostics"][-1]
    last = len(BAD.splitlines())
    assert {**one, "message": ""} == {
        "path": "a.yaml", "line": last, "column": 1, "end_line": last, "end_column": 13, "code": "FT010",
        "name": "unknown-key", "severity": "warning", "message": "",
        "fix": {"safe": False, "edits": [
            {"line": last, "column": 1, "end_line": last, "end_column": 13, "text": "weight_decay"}]},
    }  # fmt: skip


def test_github_annotations(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = lint(write("a,b.yaml", BAD), "--format", "github", capsys=capsys)
    first, second = out.splitlines()
    assert first.startswith("::error file=a%2Cb.yaml,line=")
    assert ",title=FT105 no-training::0 epochs" in first
    assert second.startswith("::warning file=a%2Cb.yaml,line=")


def test_junit(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.yaml", BAD)
    write("b.yaml", AXOLOTL)
    _, out, _ = lint(".", "--format", "junit", capsys=capsys)
    root = ElementTree.fromstring(out)
    assert (root.get("tests"), root.get("failures")) == ("3", "2")
    assert [suite.get("name") for suite in root] == ["a.yaml", "ftmigrate"]
    assert len(root.findall(".//failure")) == 2


def test_statistics(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = lint(write("a.yaml", BAD), "--statistics", capsys=capsys)
    assert status == 1
    assert [line.split() for line in out.splitlines()] == [
        ["1", "FT010", "warning", "unknown-key"], ["1", "FT105", "error", "no-training"]]  # fmt: skip


def test_output_file(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = lint(write("a.yaml", BAD), "--output-file", "told.txt", capsys=capsys)
    assert (status, out) == (1, "")
    assert "a.yaml:" in Path("told.txt").read_text(encoding="utf-8")


# --- fixes ------------------------------------------------------------------------------------------------------


def test_safe_fixes_only(capsys: pytest.CaptureFixture[str]) -> None:
    text = AXOLOTL.replace("warmup_ratio: 0.05", "warmup_steps: 1   # short") + "weight_decai: 1\n"
    write("a.yaml", text)
    assert lint("a.yaml", "--fix", capsys=capsys)[0] == 1
    assert Path("a.yaml").read_text(encoding="utf-8") == text.replace("warmup_steps: 1 ", "warmup_steps: 2 ")
    assert lint("a.yaml", "--unsafe-fixes", capsys=capsys)[0] == 0
    assert Path("a.yaml").read_text(encoding="utf-8").endswith("weight_decay: 1\n")


def test_a_diff_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.yaml", BAD)
    _, out, _ = lint("a.yaml", "--diff", "--unsafe-fixes", capsys=capsys)
    assert '-weight_decai: 1  # 50 % <of> "it"\n+weight_decay: 1  # 50 % <of> "it"\n' in out
    assert Path("a.yaml").read_text(encoding="utf-8") == BAD


def test_fixes_keep_line_ends_and_byte_order_mark(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\ufeff" + AXOLOTL.replace("warmup_ratio: 0.05", "warmup_steps: 1").replace("\n", "\r\n").rstrip("\r\n")
    write("a.yaml", text)
    lint("a.yaml", "--fix", capsys=capsys)
    assert Path("a.yaml").read_bytes().decode() == text.replace("warmup_steps: 1", "warmup_steps: 2")


def test_fixes_of_standard_input_go_to_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = AXOLOTL.replace("warmup_ratio: 0.05", "warmup_steps: 1")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    _, out, _ = lint("-", "--fix", capsys=capsys)
    assert out == text.replace("warmup_steps: 1", "warmup_steps: 2")


def test_what_is_left_goes_beside_a_repaired_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = AXOLOTL.replace("num_epochs: 3", "num_epochs: 0")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    status, out, err = lint("-", "--fix", capsys=capsys)
    assert (status, out) == (1, text)
    assert "FT105" in err


def test_the_earlier_of_two_equal_lines_goes(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.yaml", "seed: 42\n" + AXOLOTL)
    assert lint("a.yaml", "--fix", capsys=capsys)[0] == 0
    assert Path("a.yaml").read_text(encoding="utf-8") == AXOLOTL


# --- messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "line", "code", "words"),
    [
        (AXOLOTL, "lora_rank: 8", "FT012", "Here it is `lora_r`"),
        (AXOLOTL, "weight_decai: 0.1", "FT010", "did you mean `weight_decay`?"),
        (AXOLOTL, "enable_activation_offloading: true", "FT012", "it is one of torchtune. Here it is `activation_offloading`"),
        (TORCHTUNE, "learning_rate: 1e-4", "FT012", "it is one of Axolotl. Here it is `optimizer.lr`"),
        (TORCHTUNE, "packed: true", "FT011", "but of `dataset`"),
        (TORCHTUNE, "save_every_n_steps: 10", "FT013", "newer than torchtune 0.6.1: known since main"),
        (TORCHTUNE, "fake_quant_after_n_steps: 10", "FT015", "never read by the recipe lora_finetune_single_device"),
        (AXOLOTL, "liger_rms_norm: true", "FT015", "axolotl.integrations.liger.LigerPlugin"),
    ],
)  # fmt: skip
def test_the_message_tells_which_unknown_key_it_is(base: str, line: str, code: str, words: str) -> None:
    result = engine.lint(f"{base}{line}\n".encode(), "x.yaml", Job(isolated=True))
    assert result is not None
    (one,) = result.diagnostics
    assert one.code == code
    assert words in one.message


def test_a_variable_is_no_unknown_key() -> None:
    assert codes("base: runs\n" + TORCHTUNE.replace("output_dir: runs/support", "output_dir: ${base}/support")) == []


# --- what others build on ---------------------------------------------------------------------------------------


def test_api() -> None:
    write("a.yaml", BAD)
    assert [one.code for one in ftmigrate.lint("a.yaml")] == ["FT105", "FT010"]
    assert [one.code for one in ftmigrate.lint("a.yaml", select=("FT1",))] == ["FT105"]


CONVERTED = [
    pytest.param(path, source, target, id=f"{path.stem}-to-{target}")
    for source, target in (("torchtune", "axolotl"), ("axolotl", "torchtune"))
    for path in sorted((FIXTURES / source).rglob("*.yaml"))
    if path.name != "cases.yaml"
]


@pytest.mark.parametrize(("path", "source", "target"), CONVERTED)
def test_what_convert_writes_lints_clean(path: Path, source: str, target: str) -> None:
    result = api.convert(str(path), target, source)
    for name, text in result.files.items():
        if not name.endswith(".yaml"):
            continue
        found = engine.lint(text.encode(), name, Job(target, isolated=True))
        assert found is not None
        assert found.faults == ()
        assert [one for one in found.diagnostics if str(one.severity) != "info"] == []


# --- components that the program names itself ---------------------------------------------------------------------


@pytest.mark.parametrize("named", ["", "  _component_: null\n"])
@pytest.mark.parametrize("version", ["0.2.1", "0.3.0", "0.6.1", "main"])
def test_a_recipe_fills_in_the_profiler(version: str, named: str) -> None:
    """Its keys are those of the component that is filled in; of other keys the component must still be named."""
    job = Job(f"torchtune@{version}", isolated=True, select=("FT020", "FT022", "FT010", "FT017"))
    text = TORCHTUNE.rstrip("\n") + f"\nprofiler:\n{named}  enabled: false\n"
    assert [one for one in codes(text, job) if one[1] >= len(TORCHTUNE.splitlines())] == []
    found = codes(text + "  wait_stepz: 3\n", job)
    assert found[-1] == ("FT022", len(text.splitlines()) + 1)
    lines = TORCHTUNE.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("optimizer:"))
    assert ("FT020", at + 1) in codes("\n".join([*lines[: at + 1], *lines[at + 2 :]]), job)


# --- the same thing twice -------------------------------------------------------------------------------------------


def test_the_more_precise_rule_tells_alone() -> None:
    """In the stronger severity of both; the other one tells where it is the only one that is wanted."""
    text = TORCHTUNE.replace("max_steps_per_epoch: null", "max_steps_per_epoch: None")
    assert text != TORCHTUNE
    line = next(index for index, one in enumerate(text.splitlines(), 1) if "None" in one)
    result = engine.lint(text.encode(), "x.yaml", Job(isolated=True))
    assert result is not None
    assert [(one.code, one.severity) for one in result.diagnostics if one.line == line] == [("FT031", "error")]
    assert codes(text, Job(isolated=True, select=("FT017",))) == [("FT017", line)]
    assert ("FT017", line) in codes(text.replace("None", "None  # ftmigrate: ignore[FT031]"))


def test_packing_with_preferences_is_told_once() -> None:
    text = (BASE / "axolotl.dpo.yaml").read_text(encoding="utf-8").replace("packing: false", "packing: true")
    line = next(index for index, one in enumerate(text.splitlines(), 1) if "packing: true" in one)
    assert [code for code, at in codes(text) if at == line] == ["AX016"]


@pytest.mark.parametrize(
    ("written", "repaired"),
    [
        ("lora_target_modules: [q_proj, v_projj]  # two\n", "lora_target_modules: [q_proj, v_proj]  # two\n"),
        ("lora_target_modules:\n  - 'v_projj'\n  - q_proj\n", "lora_target_modules:\n  - 'v_proj'\n  - q_proj\n"),
        ("lora_target_modules: [v_projj, v_projj]\n", None),
    ],
)
def test_an_item_of_a_list_is_repaired_where_it_stands_once(written: str, repaired: str | None) -> None:
    text = AXOLOTL.replace("lora_target_linear: true\n", written)
    done = engine.lint(text.encode(), "x.yaml", Job(fix="unsafe", isolated=True))
    assert done is not None
    assert done.fixed == (None if repaired is None else text.replace(written, repaired))


@pytest.mark.parametrize(
    ("written", "repaired"),
    [
        ("fsdp:\n  cpu_offload: true\n", "fsdp_cpu_offload: true\n"),
        ("fsdp:\n  cpu_offload: true\n  wrap: 1\n", None),
        ("fsdp: {cpu_offload: true}\n", None),
        ("fsdp:\n  # why\n  cpu_offload: true\n", None),
    ],
)
def test_a_key_is_moved_up_where_it_stands_alone(written: str, repaired: str | None) -> None:
    job = Job("torchtune@0.6.1", select=("TT009",), fix="unsafe", isolated=True)
    done = engine.lint((TORCHTUNE + written).encode(), "x.yaml", job)
    assert done is not None
    assert done.fixed == (None if repaired is None else TORCHTUNE + repaired)
