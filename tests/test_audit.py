"""`audit`: what it counts, what it says, and the HTML page as headless Chromium shows it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ftmigrate.audit.causes import Cause, Groups
from ftmigrate.cli import main
from tests.conftest import FIXTURES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LORA = (FIXTURES / "torchtune" / "llama_lora.yaml").read_text(encoding="utf-8")
NASTY = "</script><img src=x onerror=alert(1)>"
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is NOT looked at")


def put(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two that convert, three that name a component nobody knows, one refused, one broken, one of the target's."""
    root = tmp_path_factory.mktemp("audit") / "project"
    put(root / "good" / "one.yaml", LORA)
    put(root / "good" / "two.yaml", LORA.replace("batch_size: 4", f"batch_size: 2  # {NASTY}"))
    custom = LORA.replace("torchtune.datasets.chat_dataset", "team.data.rows")
    put(root / "custom" / "one.yaml", custom)
    put(root / "custom" / "two.yaml", custom.replace("batch_size: 4", "batch_size: 2"))
    put(root / "both.yaml", custom.replace("OutputLoss\n", "OutputLoss\n  num_output_chunks: 16\n"))
    put(root / "gone.yaml", LORA.replace("batch_size: 4", "batch_size: ${nowhere}"))
    put(root / "broken.yaml", LORA + "x: [1,\n")
    put(root / "done.yaml", "base_model: m\ndatasets:\n  - path: d\n    type: alpaca\nmicro_batch_size: 1\n")
    put(root / "other.yaml", "a: 1\n")
    return root


@pytest.fixture(scope="module")
def page(tree: Path) -> Path:
    made = tree.parent / "page.html"
    assert main(["audit", str(tree), "--to", "axolotl", "--html", str(made), "--jobs", "1"]) == 0
    return made


def audit(tree: Path, *options: str) -> int:
    return main(["audit", str(tree), "--to", "axolotl", "--jobs", "1", *options])


def as_json(tree: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert audit(tree, "--format", "json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


# --- what it says -------------------------------------------------------------------------------------------------


def test_each_file_has_one_outcome_and_all_are_counted(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(tree, capsys)
    assert {item["path"]: item["outcome"] for item in found["files"]} == {
        "both.yaml": "manual",
        "broken.yaml": "unreadable",
        "custom/one.yaml": "manual",
        "custom/two.yaml": "manual",
        "done.yaml": "already",
        "gone.yaml": "refused",
        "good/one.yaml": "approximate",
        "good/two.yaml": "approximate",
    }
    assert found["summary"]["files"] == 8
    assert {word: count for word, count in found["summary"]["outcomes"].items() if count} == {
        "already": 1, "approximate": 2, "manual": 3, "refused": 1, "unreadable": 1,
    }  # fmt: skip
    converted = [item["summary"] for item in found["files"] if item["outcome"] in ("approximate", "manual")]
    assert found["summary"]["verdicts"] == {word: sum(one[word] for one in converted) for word in converted[0]}


def test_blockers_tell_how_many_files_each_would_free(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {item["name"]: item for item in as_json(tree, capsys)["blockers"]}
    component = found["team.data.rows"]
    assert (component["kind"], component["count"], component["frees"]) == ("manual", 3, 2)
    assert component["files"] == ["both.yaml", "custom/one.yaml", "custom/two.yaml"]
    chunks = found["loss.num_output_chunks"]
    assert (chunks["kind"], chunks["count"], chunks["frees"]) == ("dropped", 1, 0)
    (refused,) = [item for item in found.values() if item["kind"] == "refused"]
    assert "${nowhere}" in refused["name"]
    assert not refused["name"].startswith("line")
    (unreadable,) = [item for item in found.values() if item["kind"] == "unreadable"]
    assert (unreadable["count"], unreadable["frees"]) == (1, 1)


def test_a_loss_never_goes_without_a_cause(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(tree, capsys)
    blocked = {path for group in found["blockers"] for path in group["files"]}
    assert blocked == {item["path"] for item in found["files"]
                       if item["outcome"] in ("dropped", "manual", "refused", "unreadable", "fault")}  # fmt: skip
    nearly = {path for group in found["approximations"] for path in group["files"]}
    assert nearly == {item["path"] for item in found["files"]
                      if item["outcome"] != "refused" and item["summary"].get("approximate")}  # fmt: skip


def test_causes_solved_in_order_free_what_they_block_together() -> None:
    groups = Groups()
    a, b, c = (Cause("dropped", name) for name in "abc")
    for path, causes in {"1": [a], "2": [a], "3": [a, b], "4": [b, c], "5": [Cause("approximate", "x")]}.items():
        groups.add(path, causes)
    assert [(group.name, len(group.files), group.frees, group.freed) for group in groups.blockers()] == [
        ("a", 3, 2, 2),
        ("b", 2, 0, 3),
        ("c", 1, 0, 4),
    ]
    assert [group.name for group in groups.approximations()] == ["x"]


def test_the_text_says_the_same(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(tree) == 0
    said = capsys.readouterr().out
    assert "both.yaml: needs work by hand" in said
    assert re.search(r"gone\.yaml: not convertible \(line \d+: ", said)
    assert re.search(r"^ +3 +2 +\d+  work by hand: team\.data\.rows", said, re.MULTILINE)
    assert re.search(r"^ +2 converts approximately$", said, re.MULTILINE)
    assert "other.yaml" not in said


def test_strict_and_what_cannot_be_done(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(tree, "--strict") == 1
    assert audit(tree / "good", "--strict") == 0
    capsys.readouterr()
    for path, said in ((tree / "nowhere", "no such directory"), (tree / "other.yaml", "no such directory"),
                       (tmp_path, "holds no config")):  # fmt: skip
        assert audit(path) == 2
        assert said in capsys.readouterr().err


def test_nothing_but_the_page_is_written(tree: Path, tmp_path: Path) -> None:
    before = sorted(tree.rglob("*"))
    assert audit(tree, "--html", str(tmp_path / "deep" / "page.html")) == 0
    assert sorted(tree.rglob("*")) == before
    assert [path.name for path in tmp_path.rglob("*")] == ["deep", "page.html"]


# --- the page -----------------------------------------------------------------------------------------------------


class Resources(HTMLParser):
    """Whatever a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("link", "img", "iframe", "object", "embed", "source", "video", "audio", "base"):
            self.found.append(tag)
        self.found += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "action", "data")]


def test_the_page_loads_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    parser = Resources()
    parser.feed(text)
    assert parser.found == []
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in text


def shown(page: Path, script: str = "", **view: str) -> str:
    """The page's DOM as Chromium has it, after `script`, with the view that the fragment asks for."""
    assert CHROMIUM is not None
    place = page
    if script:
        place = page.with_name("scripted.html")
        text = page.read_text(encoding="utf-8")
        place.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    home = page.with_name("chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
               "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={home}", "--window-size=1400,1200",
               "--virtual-time-budget=2000", "--dump-dom"]  # fmt: skip
    command = [CHROMIUM, *options, f"{place.as_uri()}#{urlencode(view)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    dom = done.stdout
    assert "</html>" in dom
    return re.sub(r'<script type="application/json".*?</script>', "", dom, flags=re.DOTALL)


def rows(dom: str) -> list[str]:
    return [html.unescape(path) for path in re.findall(r'<tr class="row" data-path="([^"]*)"', dom)]


def pane(dom: str, side: str) -> list[str]:
    found = re.search(rf'aria-label="{side}">(.*?</div>)</div>', dom, re.DOTALL)
    assert found is not None
    return re.findall(r"<div [^>]*data-line=.*?</div>", found[1], re.DOTALL)


@browser
def test_worst_first_with_totals_and_causes(page: Path, tree: Path) -> None:
    dom = shown(page)
    assert rows(dom) == ["broken.yaml", "gone.yaml", "both.yaml", "custom/one.yaml", "custom/two.yaml",
                         "good/one.yaml", "good/two.yaml", "done.yaml"]  # fmt: skip
    assert f"<title>{tree.as_posix()} to Axolotl 0.21.0</title>" in dom
    assert re.search(r'data-outcome="manual"[^>]*><b>3</b> needs work by hand', dom)
    assert "8 of 8 files" in dom
    assert re.search(r'<td class="number">3</td><td class="number">2</td>.*?>team\.data\.rows</button>', dom)


@browser
@pytest.mark.parametrize(
    ("view", "paths"),
    [
        ({"sort": "path"}, ["both.yaml", "broken.yaml", "custom/one.yaml", "custom/two.yaml", "done.yaml", "gone.yaml",
                            "good/one.yaml", "good/two.yaml"]),
        ({"sort": "-path", "outcome": "manual"}, ["custom/two.yaml", "custom/one.yaml", "both.yaml"]),
        ({"sort": "-dropped", "outcome": "manual,approximate"},
         ["both.yaml", "custom/one.yaml", "custom/two.yaml", "good/one.yaml", "good/two.yaml"]),
        ({"find": "TWO good"}, ["good/two.yaml"]),
        ({"find": "output_chunks"}, ["both.yaml"]),
        ({"outcome": "refused,unreadable"}, ["broken.yaml", "gone.yaml"]),
        ({"find": "nobody has this"}, []),
        ({"sort": "nonsense", "outcome": "nonsense", "cause": "99", "open": "nowhere", "find": "gone"}, ["gone.yaml"]),
    ],
    ids=str,
)  # fmt: skip
def test_sorting_and_filtering(page: Path, view: dict[str, str], paths: list[str]) -> None:
    dom = shown(page, **view)
    assert rows(dom) == paths
    assert f"{len(paths)} of 8 files" in dom


@browser
def test_a_cause_shows_its_files(page: Path) -> None:
    dom = shown(page, "document.querySelectorAll('#blockers button[data-cause]').forEach("
                      "(one) => one.textContent === 'team.data.rows' && one.click());")  # fmt: skip
    assert rows(dom) == ["both.yaml", "custom/one.yaml", "custom/two.yaml"]
    assert "3 of 8 files with team.data.rows" in dom
    assert re.search(r'<button[^>]*aria-pressed="true"[^>]*>team\.data\.rows</button>', dom)


@browser
def test_a_file_opened_shows_which_line_became_which(page: Path) -> None:
    line = LORA.splitlines().index("clip_grad_norm: null") + 1
    dom = shown(page, open="good/one.yaml", line=str(line))
    source, target = pane(dom, "source"), pane(dom, "target")
    assert len(source) == len(LORA.splitlines())
    assert [html.unescape(re.sub(r"<[^>]*>", "", one)) for one in source if 'class="said on"' in one] == [
        f"{line}\u2192clip_grad_norm: null"
    ]
    lit = [re.sub(r"<[^>]*>", "", one) for one in target if 'class="said on"' in one]
    assert len(lit) == 1
    assert lit[0].endswith("max_grad_norm: 0.0")
    assert dom.count('<path d="M') > 5
    (curve,) = re.findall(r'<path d="M[^>]*class="on"[^>]*>', dom)
    assert "var(--adapted)" in curve
    said = re.search(r'<div class="said-of" role="status">(.*?)</div>', dom, re.DOTALL)
    assert said is not None
    assert "clip_grad_norm \u2192 max_grad_norm" in said[1]
    assert "Said by no line of the source" in dom


@browser
def test_every_entry_of_the_ledger_is_on_its_line(page: Path, tree: Path, tmp_path: Path) -> None:
    report = tmp_path / "ledger.json"
    done = main(["convert", str(tree / "good/one.yaml"), "--to", "axolotl", "-o", str(tmp_path / "x.yaml"),
                 "--report", str(report)])  # fmt: skip
    assert done == 0
    entries = json.loads(report.read_text("utf-8"))["entries"]
    dom = shown(page, open="good/one.yaml")
    marked = {int(re.findall(r'data-line="(\d+)"', one)[0]) for one in pane(dom, "source") if 'class="said' in one}
    assert marked == {entry["line"] for entry in entries if entry["line"]}
    silent = re.search(r'<ul class="silent">(.*?)</ul>', dom, re.DOTALL)
    assert silent is not None
    assert silent[1].count("<li") == sum(entry["line"] is None for entry in entries)


@browser
def test_the_keyboard_is_enough(page: Path) -> None:
    script = """
    const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
    document.querySelector('tr[data-path="good/one.yaml"] button').focus();
    document.activeElement.click();
    document.querySelector('.pane [tabindex="0"]').focus();
    press('ArrowDown'); press('ArrowDown'); press('Enter');
    document.body.dataset.line = document.activeElement.dataset.line;
    press('ArrowRight');
    document.body.dataset.side = document.activeElement.closest('.pane').getAttribute('aria-label');
    document.body.dataset.hash = decodeURIComponent(location.hash);"""
    dom = shown(page, script, find="good")
    body = re.search(r"<body[^>]*>", dom)
    assert body is not None
    said = [number + 1 for number, text in enumerate(LORA.splitlines()) if re.match(r"^[ ]*[^#\s].*: \S", text)]
    assert f'data-line="{said[2]}"' in body[0]
    assert 'data-side="target"' in body[0]
    assert f"line={said[2]}" in html.unescape(body[0])
    assert re.search(r'aria-expanded="true">good/one\.yaml', dom)


@browser
def test_text_of_a_config_stays_text(page: Path) -> None:
    dom = shown(page, open="good/two.yaml")
    assert "<img" not in dom
    assert html.escape(NASTY, quote=False) in dom


@browser
def test_what_was_not_converted_is_shown_with_its_reason(page: Path) -> None:
    refused = shown(page, open="gone.yaml")
    assert "nothing is written" in refused
    assert "leads nowhere" in refused
    assert len(pane(refused, "source")) == len(LORA.splitlines())
    unreadable = shown(page, open="broken.yaml")
    assert 'class="opened"' in unreadable


@browser
def test_nothing_is_told_to_the_console(page: Path) -> None:
    script = "document.querySelectorAll('button').forEach((one) => one.click());"
    catcher = "window.addEventListener('error', (event) => { document.body.dataset.error = event.message; });"
    dom = shown(page, f"{catcher}{script}{script}", open="both.yaml")
    assert "data-error" not in dom
