"""Environments, the probes' client, and level `load` against the real frameworks where they are at hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftmigrate.cli import main
from ftmigrate.verify import environments
from ftmigrate.verify.environments import EnvironmentProblem, Origin
from ftmigrate.verify.load import ABSENT, Lost, check_load, lookup, parse_path, same
from ftmigrate.verify.locks import directories, find_lock, read_lock
from ftmigrate.verify.probe import Probe, ProbeError

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


# Mechanics: a tiny package of our own, built and installed for real.


def wheel(folder: Path, name: str, version: str) -> None:
    """A wheel with one module and one script."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "def main():\n    print('it runs')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and installers that see nothing but a folder with one wheel."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "tinyframe", "1.0")
    for name, value in {
        "FTMIGRATE_CACHE": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheels),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FTMIGRATE_PYTHON_TINYFRAME", raising=False)
    return tmp_path / "cache"


def lock(folder: Path, *lines: str, version: str = "1.0") -> Path:
    path = folder / f"tinyframe-{version}-load.txt"
    path.write_text("\n".join([f"# python: {HERE}", *lines]) + "\n", encoding="utf-8")
    return path


def left_in(cache: Path) -> list[str]:
    folder = cache / "environments"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_built_environment_is_found_works_where_it_lies_and_is_removed(cache: Path, tmp_path: Path) -> None:
    said: list[str] = []
    made = environments.create("tinyframe", lock=lock(tmp_path, "tinyframe==1.0"), progress=said.append)
    assert (made.version, made.level, made.origin) == ("1.0", "load", Origin.BUILT)
    assert left_in(cache) == ["tinyframe-1.0-load"]
    assert any("tinyframe" in line for line in said)
    assert made.megabytes is not None
    script = made.python.with_name("tinyframe")
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout == "it runs\n"
    assert environments.find("tinyframe") == environments.find("tinyframe", "1.0") == made
    assert environments.find("tinyframe", "2.0") is None
    assert environments.create("tinyframe", lock=lock(tmp_path, "tinyframe==1.0")) == made

    broken = lock(tmp_path, "tinyframe==1.0", "absentpackage==3.0")
    with pytest.raises(EnvironmentProblem, match="absentpackage"):
        environments.create("tinyframe", lock=broken)  # a changed lock is a new build; its failure keeps the old one
    assert environments.list_() == [made]

    assert environments.remove("tinyframe", "2.0") == []
    assert environments.remove("tinyframe") == [made]
    assert left_in(cache) == []
    assert environments.list_() == []


def test_a_failed_build_leaves_nothing_and_shows_the_installers_last_words(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        environments.create("tinyframe", lock=lock(tmp_path, "tinyframe==1.0", "absentpackage==3.0"))
    assert "ended with status" in str(caught.value)
    assert "absentpackage==3.0" in str(caught.value)
    assert left_in(cache) == []


def test_an_interrupted_build_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environments.create("tinyframe", lock=lock(tmp_path, "tinyframe==1.0"), progress=interrupt)
    assert left_in(cache) == []


def test_what_a_killed_build_left_is_cleared_and_a_python_that_is_not_here_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (cache / "environments" / f".tinyframe-1.0-load.{ended.pid}.abc").mkdir(parents=True)
    path = lock(tmp_path, "tinyframe==1.0")
    path.write_text("# python: 3.99\ntinyframe==1.0\n", encoding="utf-8")
    monkeypatch.setattr(environments, "find_uv", lambda: None)  # uv would look for one in the net
    with pytest.raises(EnvironmentProblem, match=r"needs Python 3\.99.*--python"):
        environments.create("tinyframe", lock=path)
    assert left_in(cache) == []


BACKEND = """\
import shutil


def build_wheel(folder, settings=None, metadata=None):
    shutil.copy("tinyframe-9.9-py3-none-any.whl", folder)
    return "tinyframe-9.9-py3-none-any.whl"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that builds itself, without setuptools."""
    place = tmp_path / "checkout"
    (place / "tinyframe").mkdir(parents=True)
    (place / "tinyframe" / "__init__.py").touch()
    wheel(place, "tinyframe", "9.9")
    (place / "backend.py").write_text(BACKEND, encoding="utf-8")
    (place / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
    )
    return place


def main_lock(folder: Path) -> Path:
    return lock(folder, "# source", version="main")


def test_a_checkout_is_installed_from_a_copy(cache: Path, tmp_path: Path, checkout: Path) -> None:
    before = sorted(checkout.rglob("*"))
    made = environments.create("tinyframe", lock=main_lock(tmp_path), source=checkout)
    assert (made.version, made.origin) == ("main", Origin.BUILT)
    assert sorted(checkout.rglob("*")) == before
    code = "import tinyframe, importlib.metadata as m; print(m.version('tinyframe'), tinyframe.__file__)"
    said = subprocess.run([made.python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"9.9 {cache}")
    assert environments.find("tinyframe", "main") == made
    assert environments.create("tinyframe", lock=main_lock(tmp_path), source=checkout).seconds == made.seconds
    (checkout / "tinyframe" / "more.py").touch()
    assert environments.create("tinyframe", lock=main_lock(tmp_path), source=checkout).lock != made.lock
    assert left_in(cache) == ["tinyframe-main-load"]


def test_a_checkout_that_does_not_build_leaves_nothing(cache: Path, tmp_path: Path, checkout: Path) -> None:
    (checkout / "backend.py").write_text("raise RuntimeError('the backend is broken')", encoding="utf-8")
    with pytest.raises(EnvironmentProblem, match="the backend is broken"):
        environments.create("tinyframe", lock=main_lock(tmp_path), source=checkout)
    assert left_in(cache) == []


def test_a_checkout_is_asked_for_and_looked_at(cache: Path, tmp_path: Path, checkout: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="name a checkout of it with --source"):
        environments.create("tinyframe", lock=main_lock(tmp_path))
    with pytest.raises(EnvironmentProblem, match=r"--source is for a version that is no release"):
        environments.create("tinyframe", lock=lock(tmp_path, "tinyframe==1.0"), source=checkout)
    (checkout / "tinyframe" / "__init__.py").unlink()
    with pytest.raises(EnvironmentProblem, match="holds no package tinyframe"):
        environments.create("tinyframe", lock=main_lock(tmp_path), source=checkout)
    with pytest.raises(EnvironmentProblem, match=r"has no pyproject\.toml"):
        environments.create("tinyframe", lock=main_lock(tmp_path), source=tmp_path)
    assert left_in(cache) == []


def test_an_interpreter_without_the_framework_is_refused(cache: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="has no package tinyframe"):
        environments.create("tinyframe", python=sys.executable)
    assert left_in(cache) == []


@pytest.mark.parametrize("text", ["", "#!/bin/sh\necho hello\n"])
def test_what_is_no_interpreter_is_refused(cache: Path, tmp_path: Path, text: str) -> None:
    program = tmp_path / "program"
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755 if text else 0o644)
    with pytest.raises(EnvironmentProblem, match="interpreter"):
        environments.create("tinyframe", python=program)


def test_an_interpreter_is_registered_with_the_version_it_reports(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import version

    pytest_version = version("pytest")  # any package of this interpreter will do for a framework
    with pytest.raises(EnvironmentProblem, match=f"has pytest {pytest_version}, not 0.1"):
        environments.create("pytest", "0.1", python=sys.executable)
    made = environments.create("pytest", python=sys.executable)
    assert (made.version, made.origin, made.megabytes) == (pytest_version, Origin.REGISTERED, None)
    assert environments.find("pytest", pytest_version) == made
    assert environments.remove("pytest", pytest_version) == [made]
    assert Path(sys.executable).exists()
    monkeypatch.setenv("FTMIGRATE_PYTHON_PYTEST", sys.executable)
    named = environments.find("pytest")
    assert named is not None
    assert (named.version, named.origin, named.home) == (pytest_version, Origin.VARIABLE, None)
    monkeypatch.setenv("FTMIGRATE_PYTHON_PYTEST", "/nowhere/python")
    with pytest.raises(EnvironmentProblem, match="FTMIGRATE_PYTHON_PYTEST"):
        environments.find("pytest")


def test_the_command(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        status = main(["env", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    status, _, error = run("create", "nosuch")
    assert status == 2
    assert "no lock file for nosuch" in error
    assert run("create", "a b")[0] == 2
    assert run("create", "tinyframe", "--python", sys.executable)[0] == 2
    status, made, _ = run("create", "pytest", "--python", sys.executable)
    assert status == 0
    assert made.startswith("pytest@")
    assert run("list")[1] == made
    assert run("remove", "pytest@0.1")[0] == 2
    assert run("remove", "pytest")[0] == 0
    assert run("list")[1] == ""


def test_shipped_locks_pin_every_line_and_name_no_place() -> None:
    shipped = list(directories("axolotl")[0].glob("*.txt"))
    assert {path.name.split("-")[0] for path in shipped} == {"axolotl", "torchtune"}
    for path in shipped:
        plan = read_lock(path)
        assert find_lock(plan.framework, plan.version, plan.level) == plan
        assert (f"{plan.framework}=={plan.version}" in plan.packages) is not plan.source
        for line in (*plan.packages, *plan.cuda, *plan.gpu):
            pinned, _, marker = line.partition(";")
            assert pinned.strip().count("==") == 1, line
            assert not {"/", "@", "+", "-e"} & {*pinned.split(), *pinned}, line
            assert marker.strip() in ("", 'platform_system == "Linux"'), line


# The client: programs that misbehave.


def talk(tmp_path: Path, body: str, **more: Any) -> Probe:
    script = tmp_path / "program.py"
    script.write_text(
        "import json, sys, time\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        "    def answer(**more): print(json.dumps({'id': request['id'], 'ok': True, **more}), flush=True)\n"
        "    if request['op'] == 'version': answer(version='1'); continue\n"
        f"    {body}\n",
        encoding="utf-8",
    )
    return Probe(sys.executable, "program", script=script, **more)


def test_a_probe_that_dies_gives_its_last_words(tmp_path: Path) -> None:
    with talk(tmp_path, "sys.exit('the roof is on fire')") as probe:
        assert probe.about == {"version": "1"}
        with pytest.raises(ProbeError, match=r"ended with status 1\n.*the roof is on fire"):
            probe.request("load")
        with pytest.raises(ProbeError, match="not started"):
            probe.request("load")


def test_a_probe_that_hangs_is_ended(tmp_path: Path) -> None:
    with talk(tmp_path, "time.sleep(600)", request_seconds=0.3) as probe:
        with pytest.raises(ProbeError, match=r"no answer to 'load' in 0\.3 s"):
            probe.request("load")
        assert probe._process is None


def test_lines_that_are_no_answer_are_passed_over(tmp_path: Path) -> None:
    with talk(tmp_path, "print('hello'); print('{}'); answer(got=request['text'])") as probe:
        assert probe.request("load", text="ä\n" * 100_000)["got"] == "ä\n" * 100_000


def test_a_probe_that_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="cannot run"), Probe(tmp_path / "none", "axolotl"):
        pass
    with pytest.raises(ProbeError, match="has no probe"):
        Probe(sys.executable, "nosuch")
    with pytest.raises(ProbeError, match="axolotl does not import"), Probe(sys.executable, "axolotl"):
        pass


# Comparison.


def test_values_are_compared_as_values() -> None:
    assert same(2e-4, 0.0002)
    assert same(1, 1.0)
    assert not same(1, True)
    assert not same("1", 1)
    assert not same(None, 0)
    assert same([1, "a"], [1.0, "a"])
    assert not same([1], [1, 2])
    assert same({"a": 1}, {"a": 1, "b": 2})
    assert not same({"a": 1, "c": 2}, {"a": 1})
    assert parse_path("a.b[0][1].c") == ("a", "b", 0, 1, "c")
    assert lookup({"a": [{"b": 3}]}, ("a", 0, "b")) == 3
    assert lookup({"a": [{"b": 3}]}, ("a", 1, "b")) is ABSENT
    assert lookup({"a": 3}, ("a", "b")) is ABSENT


# The real frameworks.


def real(framework: str, version: str) -> Iterator[Probe]:
    found = environments.find(framework, version)
    if found is None:
        pytest.skip(
            f"NOT VERIFIED against {framework} {version}: no environment; run `ftmigrate env create {framework}` "
            f"or set {environments.variable_name(framework)}"
        )
    with Probe(found.python, framework) as probe:
        yield probe


@pytest.fixture(scope="module")
def axolotl() -> Iterator[Probe]:
    yield from real("axolotl", "0.21.0")


@pytest.fixture(scope="module")
def torchtune() -> Iterator[Probe]:
    yield from real("torchtune", "0.6.1")


GOOD_AXOLOTL = """\
base_model: an-org/a-model
datasets:
  - path: an-org/some-rows
    type: alpaca
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_modules: [q_proj, v_proj]
sequence_len: 512
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 1
optimizer: adamw_torch
learning_rate: 2e-4
lr_scheduler: cosine
bf16: true
"""
WRITTEN = {
    "base_model": "an-org/a-model",
    "datasets[0].type": "alpaca",
    "lora_r": 8,
    "lora_target_modules": ["q_proj", "v_proj"],
    "num_epochs": 1,
    "learning_rate": 2e-4,
    "lr_scheduler": "cosine",
    "bf16": True,
}


def test_axolotl_takes_a_good_config_and_keeps_what_was_written(axolotl: Probe, tmp_path: Path) -> None:
    assert axolotl.about["version"] == "0.21.0"
    path = tmp_path / "c.yml"
    path.write_text(GOOD_AXOLOTL, encoding="utf-8")
    for source in (path, GOOD_AXOLOTL):
        report = check_load(axolotl, source, WRITTEN)
        assert report.passed, report
        assert report.resolved is not None
        assert report.resolved["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("bf16: full", "bf16"),
        ("fsdp_version: 1\nfsdp_config:\n  reshard_after_forward: true", "fsdp"),
        ("micro_batch_size: many", "micro_batch_size"),
        ("datasets:", "datasets"),
        ("lora_r: [1", "parse"),
    ],
)
def test_axolotl_refuses_a_bad_config(axolotl: Probe, change: str, said: str) -> None:
    key = change.split(":")[0]
    kept = "".join(line for line in GOOD_AXOLOTL.splitlines(True) if not line.startswith(f"{key}:"))
    kept = kept.replace("  - path: an-org/some-rows\n    type: alpaca\n", "") if key == "datasets" else kept
    report = check_load(axolotl, f"{kept}{change}\n", {})
    assert not report.accepted
    assert said in (report.error or "").lower()


def test_a_key_that_axolotl_does_not_know_is_lost(axolotl: Probe) -> None:
    text = f"{GOOD_AXOLOTL}no_such_key: 3\nlora_dropout: 0.5\nweight_decay: null\n"
    report = check_load(
        axolotl, text, {**WRITTEN, "no_such_key": 3, "datasets[0].nor_this": "x", "lora_dropout": 0.25, "seed": None}
    )
    assert report.accepted
    assert report.lost == (
        Lost("no_such_key", 3, ABSENT),
        Lost("datasets[0].nor_this", "x", ABSENT),
        Lost("lora_dropout", 0.25, 0.5),
    )


def test_axolotl_is_told_the_gpus(axolotl: Probe) -> None:
    text = f"{GOOD_AXOLOTL}attn_implementation: sage\n"
    assert check_load(axolotl, text, {}, compute_capability="sm_80").accepted
    assert "SageAttention" in (check_load(axolotl, text, {}, compute_capability="sm_75").error or "")
    workers = {gpus: check_load(axolotl, GOOD_AXOLOTL, {}, gpus=gpus).resolved or {} for gpus in (1, 4)}
    assert [workers[gpus]["dataloader_num_workers"] for gpus in (1, 4)] == [1, 4]


def test_axolotl_normalizes_where_the_models_config_lies_here(axolotl: Probe, tmp_path: Path) -> None:
    model = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 320,
    }
    (tmp_path / "config.json").write_text(json.dumps(model), encoding="utf-8")
    text = GOOD_AXOLOTL.replace("an-org/a-model", str(tmp_path))
    answer = axolotl.request("load", text=text)
    assert answer["normalized"]["batch_size"] == 8
    assert answer["normalized"]["model_config_type"] == "llama"
    assert "batch_size" not in answer["resolved"]
    assert check_load(axolotl, text, {"bf16": True}).notes == ()
    assert axolotl.request("load", text=GOOD_AXOLOTL)["normalized"] is None


def test_a_plugins_keys_do_not_leak_into_the_next_config(axolotl: Probe) -> None:
    key = {"kd_alpha": 0.25}
    text = f"{GOOD_AXOLOTL}kd_alpha: 0.25\n"
    plugin = "plugins:\n  - axolotl.integrations.kd.KDPlugin\n"
    for _ in range(2):
        assert check_load(axolotl, text + plugin, key).passed
        assert check_load(axolotl, text, key).lost == (Lost("kd_alpha", 0.25, ABSENT),)


def test_one_import_serves_fifty_requests(axolotl: Probe) -> None:
    before = axolotl.request("version")
    for number in range(50):
        report = check_load(axolotl, GOOD_AXOLOTL.replace("lora_r: 8", f"lora_r: {number + 1}"), {"lora_r": number + 1})
        assert report.passed, report
    after = axolotl.request("version")
    assert after["import_seconds"] == before["import_seconds"]
    assert after["id"] > before["id"] + 50


GOOD_TORCHTUNE = """\
output_dir: out
model:
  _component_: torchtune.models.llama3_2.lora_llama3_2_1b
  lora_attn_modules: [q_proj, v_proj]
  lora_rank: 8
dataset:
  _component_: torchtune.datasets.alpaca_dataset
  packed: false
optimizer:
  _component_: torch.optim.AdamW
  lr: 3e-4
metric_logger:
  _component_: torchtune.training.metric_logging.DiskLogger
  log_dir: ${output_dir}/logs
"""


def test_torchtune_takes_a_good_config_and_resolves_it(torchtune: Probe) -> None:
    written = {
        "model.lora_rank": 8,
        "model.lora_attn_modules": ["q_proj", "v_proj"],
        "optimizer.lr": 3e-4,
        "metric_logger.log_dir": "out/logs",
    }
    report = check_load(torchtune, GOOD_TORCHTUNE, written)
    assert report.passed, report
    assert any(note.startswith("optimizer: ") and "params" in note for note in report.notes)
    other = check_load(torchtune, GOOD_TORCHTUNE, {"optimizer.lr": 1e-4, "batch_size": 2})
    assert other.lost == (Lost("optimizer.lr", 1e-4, 3e-4), Lost("batch_size", 2, ABSENT))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lora_rank: 8", "lora_ranks: 8", "lora_llama3_2_1b.*lora_ranks"),
        ("lr: 3e-4", "learning_rate: 3e-4", "optimizer.*learning_rate"),
        ("alpaca_dataset", "no_such_dataset", "no_such_dataset"),
        ("${output_dir}", "${nowhere}", "nowhere"),
        ("output_dir: out", "output_dir: ???", "output_dir"),
        ("output_dir: out", "output_dir: out\noutput_dir: out", "duplicate"),
        ("output_dir: out", "output_dir: out\nmore: [{_component_: nope.nope}]", r"more\[0\].*nope"),
    ],
)
def test_torchtune_refuses_a_bad_config(torchtune: Probe, old: str, new: str, said: str) -> None:
    report = check_load(torchtune, GOOD_TORCHTUNE.replace(old, new), {})
    assert not report.accepted
    assert re.search(said, report.error or "", re.DOTALL), report.error
