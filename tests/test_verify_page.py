"""The page of a real verify run, as Chromium has it: curves, rates, the token grid, the ledger. It loads nothing."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ftmigrate import api
from ftmigrate.cli import main
from ftmigrate.verify import environments
from ftmigrate.verify.measure import measured, report
from ftmigrate.verify.page import page
from tests.test_audit import CHROMIUM, browser
from tests.test_verify_measure import REAL, run
from tests.test_verify_pair import BASE
from tests.test_verify_pair import report as example

OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-dev-shm-usage", "--window-size=1200,2400"]  # fmt: skip
STEPS = 3


def dom(place: Path) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={place.parent / 'home'}", "--dump-dom", place.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout


def test_memory_and_speed_stand_side_by_side() -> None:
    level = report([measured(run()), measured(run(memory=2**30, tokens=[]))], REAL).json()
    shown = page({**example(), "levels": [level]})
    assert "<tr><th>peak memory</th><td>3.00 GiB</td><td>1.00 GiB</td></tr>" in shown
    assert "<tr><th>tokens a second</th><td>20</td><td>not known</td></tr>" in shown


@browser
def test_a_real_run_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("torchtune", "0.6.1"), ("axolotl", "0.21.0")):
        if environments.find(name, version) is None:
            pytest.skip(f"NOT VERIFIED against {name} {version}: run `ftmigrate env create {name}`")
    made = api.convert(str(BASE), "axolotl@0.21.0", recipe="lora_finetune_single_device", world_size=1, rows=48)
    tree = yaml.safe_load(next(iter(made.files.values()))) | {"train_on_inputs": False}
    target, place, found = tmp_path / "made.yaml", tmp_path / "page.html", tmp_path / "found.json"
    target.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    words = ["verify", str(BASE), str(target), "--recipe", "lora_finetune_single_device", "--rows", "48", "--level", "train",
             "--steps", str(STEPS), "--html", str(place), "--report", str(found)]  # fmt: skip
    assert main(words) == 1
    text = place.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import|\ssrc=", text)

    shown = dom(place)
    for name in ("rates", "loss", "norm"):
        figure = re.search(rf'data-curves="{name}".*?</figure>', shown, re.DOTALL)
        assert figure is not None, name
        lines = re.findall(r'<polyline class="(\w+)" points="([^"]+)"', figure[0])
        assert [side for side, _ in lines] == ["source", "target"]
        assert all(len(points.split()) >= STEPS for _, points in lines)
    grid = re.search(r'<div class="grid">.*</section>', shown, re.DOTALL)
    assert grid is not None
    for side in ("source", "target"):
        rows = re.findall(rf'data-side="{side}">(.*?)</div>', grid[0], re.DOTALL)
        assert len(rows) == 12
        assert "Below is an instruction" in "".join(
            html.unescape(one) for one in re.findall(r"<b [^>]*>([^<]*)</b>", rows[0])
        )
    assert 'class="t on apart"' in grid[0]  # trained in the source only
    assert 'class="t apart"' in grid[0]
    told = json.loads(found.read_text(encoding="utf-8"))
    assert [one["level"] for one in told["levels"]] == ["schema", "load", "shapes", "plan", "tokens", "train"]
    ledger = re.findall(r'<tr data-setting="([^"]+)"', shown)
    assert ledger == [one["setting"] for one in told["ledger"]]
    assert "data.sources[0].loss_mask" in ledger
