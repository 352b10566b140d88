"""Runs as configured on a device: what is compared and measured. The device is the CPU here; only its name differs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gpu_check
import pytest

from ftmigrate.cli import main
from ftmigrate.cli import verify as command
from ftmigrate.verify import environments, measure, real_model
from ftmigrate.verify.measure import Device, compare_losses, lengthened, long_rows, measured, report
from ftmigrate.verify.pair import Options, compare
from ftmigrate.verify.results import Outcome, Result
from tests.conftest import FIXTURES, ROOT
from tests.test_verify_shapes import BASE, pair

REAL = real_model.Real({}, "llama3", "config.json", {})


def logged(*losses: float | None) -> dict[str, Any]:
    return {"losses": list(losses), "device": "cpu"}


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ((2.0, 1.5), (2.01, 1.51), None),
        ((2.0, 1.5), (2.0, 1.6), "loss at step 2: 1.50000 in the source, 1.60000 in the target"),
        ((2.0, 1.5), (2.0, None), "loss at step 2: 1.50000 in the source, not finite in the target"),
        ((2.0, 1.5), (2.0,), "2 steps in the source, 1 in the target"),
    ],
)
def test_losses_are_equal_up_to_rounding_in_16_bits(
    source: tuple[float | None, ...], target: tuple[float | None, ...], text: str | None
) -> None:
    found = compare_losses(logged(*source), logged(*target), Device("cpu"))
    assert [one.text for one in found.differences] == ([text] if text else [])
    assert found.outcome is (Outcome.DIFFERS if text else Outcome.PASSED)


def test_no_loss_is_no_pass() -> None:
    assert compare_losses(logged(), logged(), Device("cpu")).outcome is Outcome.NOT_RUN


def run(**more: Any) -> dict[str, Any]:
    # between the hooks of steps 1 and 2 lie the passes of step 2, of 20 tokens
    return {"device": "cpu", "memory": 3 * 2**30, "seconds": [9.0, 8.0, 2.0, 4.0], "tokens": [10, 20, 30, 40, 80],
            "losses": [2.0], **more}  # fmt: skip


def test_speed_leaves_out_the_first_steps() -> None:
    found = measured(run())
    assert (found["step_seconds"], found["tokens_per_second"], found["tokens_per_step"]) == (3.0, 20.0, 60.0)
    assert measured(run(tokens=[]))["tokens_per_second"] is None
    assert measured(run(seconds=[9.0]))["step_seconds"] is None


def test_figures_on_a_cpu_are_said_to_be_none_of_a_gpu() -> None:
    found = report([measured(run()), measured(run(memory=None))], REAL)
    assert found.outcome is Outcome.PASSED
    assert "source: peak memory 3.00 GiB, 20 tokens a second, 3.000 s a step (cpu)" in found.details
    assert "target: peak memory not known" in found.details[1]
    assert any("neither figure says anything of a GPU" in detail for detail in found.details)
    on_gpu = report([measured(run(device="a GPU"))] * 2, REAL)
    assert not any("CPU" in detail for detail in on_gpu.details)
    assert report([measured(run(seconds=[]))] * 2, REAL).outcome is Outcome.NOT_RUN


def test_rows_reach_the_longest_sequence() -> None:
    row = {
        "messages": [{"role": "user", "content": "abc"}, {"role": "assistant", "content": "a longer answer"}],
        "n": 3,
    }
    found = lengthened(row, 100)
    assert [one["role"] for one in found["messages"]] == ["user", "assistant"]
    assert found["messages"][0]["content"] == "abc"
    assert 100 <= len(found["messages"][1]["content"]) < 120
    assert lengthened(row, 0) == row
    source, target = pair(BASE)
    (made,) = long_rows([source.run, target.run], 3)
    limit = source.run["sequence.max_length"]
    assert isinstance(limit, int)
    assert all(max(len(str(value)) for value in one.values()) >= limit for one in made)
    assert len(made) == 4 * 4  # batch 2, accumulation 2


def test_a_gpu_is_given_the_configured_run_and_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], Options]] = []

    def noted(source: Any, target: Any, levels: list[str], options: Options) -> list[Result]:
        seen.append((levels, options))
        return []

    monkeypatch.setattr(command, "has_gpu", lambda: True)
    monkeypatch.setattr("ftmigrate.verify.pair.compare", noted)
    monkeypatch.setattr(environments, "find", lambda *_, **__: None)
    path = str(FIXTURES / "torchtune" / "llama_lora.yaml")
    main(["verify", path, path, "--level", "train", "--device", "cuda", "--steps", "7"])
    main(["verify", path, path, "--level", "train"])
    (levels, options), (without, plain) = seen
    assert levels[-2:] == ["train", "speed"]
    assert options.device == Device("cuda", 7)
    assert "speed" not in without
    assert plain.device is None


# --- the command for a GPU ----------------------------------------------------------------------------------------


def test_the_check_says_that_there_is_no_gpu(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname"):
        (tools / name).symlink_to(Path("/bin") / name if (Path("/bin") / name).exists() else Path("/usr/bin") / name)
    done = subprocess.run(["/bin/sh", ROOT / "tools" / "gpu_check.sh"], env={"PATH": str(tools), "HOME": str(tmp_path)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert "there is no GPU" in done.stderr
    assert "nothing was checked" in done.stderr


def results(**speed: Any) -> list[Result]:
    train = compare_losses(logged(2.0, 1.5), logged(2.0, 1.51), Device("cpu"))
    return [Result("shapes", Outcome.PASSED), train, report([measured(run(**speed))] * 2, REAL)]


def test_the_check_prints_both_sides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_check, "run", lambda case, device: results())
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "--device", "cpu", "--json", str(tmp_path / "found.json")])
    assert gpu_check.main() == 0
    said = capsys.readouterr().out
    assert "THIS WAS NO GPU CHECK" in said
    row = next(line for line in said.splitlines() if line.startswith("tiny LoRA, bf16"))
    assert "passed  6.6e-03     2.0000 / 2.0000  1.5000 / 1.5100  3.00 / 3.00  20 / 20   3.000 / 3.000" in row
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["gpu_checked"] is False
    assert set(found["cases"]) == {case.name for case in gpu_check.CASES if case.small}


def test_what_could_not_run_ends_the_check_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = [Result(level, Outcome.NOT_RUN, ("out of memory",)) for level in gpu_check.LEVELS]
    monkeypatch.setattr(gpu_check, "run", lambda case, device: lost)
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "--device", "cpu"])
    assert gpu_check.main() == 2


@pytest.mark.parametrize("case", gpu_check.CASES, ids=lambda case: case.name)
def test_a_case_converts(case: gpu_check.Case) -> None:
    from ftmigrate import api

    made = api.convert(str(case.config), "axolotl@0.21.0", overrides=case.overrides, recipe=case.recipe, world_size=1)
    assert made.refused is None


# --- the real frameworks ------------------------------------------------------------------------------------------


def tried(levels: tuple[str, ...], changes: Mapping[str, Any] | None = None) -> list[Result]:
    for name, version in (("torchtune", "0.6.1"), ("axolotl", "0.21.0")):
        if environments.find(name, version) is None:
            pytest.skip(f"NOT VERIFIED against {name} {version}: run `ftmigrate env create {name}`")
    sides = pair(BASE, ("dtype=bf16",), changes)
    return compare(*sides, levels, Options(device=Device("cpu", measure.WARM + 3)))


def test_bf16_trains_alike_and_both_sides_are_measured() -> None:
    train, speed = tried(("train", "speed"))
    assert train.outcome is Outcome.PASSED, (train.details, train.differences)
    assert len(train.data["source"]) == measure.WARM + 3
    exact = all(a["loss"] == b["loss"] for a, b in zip(train.data["source"], train.data["target"], strict=True))
    assert not exact  # rounding in 16 bits is not the same on both sides: this was not fp32
    assert speed.outcome is Outcome.PASSED, speed.details
    for side in ("source", "target"):
        found = speed.data[side]
        assert found["memory"] > 100 * 2**20
        assert found["tokens_per_step"] > 100
        assert found["tokens_per_second"] > 0


def test_another_mask_is_caught_as_configured() -> None:
    (train,) = tried(("train",), {"train_on_inputs": False})
    assert train.outcome is Outcome.DIFFERS
    assert train.differences[0].text.startswith("loss at step 1: ")
