"""The hooks for pre-commit and the GitHub Action, each run as their users run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import FIXTURES, ROOT

AXOLOTL = (FIXTURES / "lint" / "axolotl.yaml").read_text(encoding="utf-8")
TORCHTUNE = (FIXTURES / "lint" / "torchtune.yaml").read_text(encoding="utf-8")
SAFE = "lr_scheduler_kwargs:\n  eta_min: 7e-7  # as in the paper\n"
SHIPPED = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml", "ftmigrate", "schemas")

WITHOUT_PRE_COMMIT = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("pre-commit")), reason="git or pre-commit is not installed"
)
WITHOUT_BASH = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")


def ours() -> dict[str, str]:
    """The environment without what would let a hook or the action find the checkout beside what it installed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GIT_", "FTMIGRATE"))}
    return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


# --- pre-commit -------------------------------------------------------------------------------------------------


class Repository:
    """A scratch repository, and what is needed to run pre-commit in it."""

    def __init__(self, folder: Path, home: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.environment = {**ours(), "PRE_COMMIT_HOME": str(home), "PRE_COMMIT_COLOR": "never"}
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        return self._run("git", *author, *arguments).stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", "a")
        return self.git("rev-parse", "HEAD")

    def hook(self, name: str, *arguments: str) -> tuple[int, str]:
        self.git("add", "--all")
        done = self._run("pre-commit", "run", name, "--all-files", *arguments, check=False)
        return done.returncode, done.stdout + done.stderr

    def _run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=check
        )


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository whose pre-commit takes the hooks from a copy of this checkout, at a commit of it."""
    base = tmp_path_factory.mktemp("pre-commit")
    source = Repository(base / "source", base / "home")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source.folder / name)
    revision = source.commit()
    made = Repository(base / "scratch", base / "home")
    hooks = [{"id": "ftmigrate-lint"}, {"id": "ftmigrate-fix"}]
    config = {"repos": [{"repo": str(source.folder), "rev": revision, "hooks": hooks}]}
    made.write(".pre-commit-config.yaml", yaml.safe_dump(config))
    return made


def test_every_hook_is_a_command_of_ours() -> None:
    from ftmigrate.cli.lint import configure

    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["ftmigrate-lint", "ftmigrate-fix"]
    for hook in hooks:
        import argparse

        program, command, *options = hook["entry"].split()
        assert (program, command) == ("ftmigrate", "lint")
        parser = argparse.ArgumentParser()
        configure(parser)
        assert parser.parse_args([*options, "a.yaml"]).skip_others
        assert (hook["language"], hook["types"]) == ("python", ["yaml"])


@WITHOUT_PRE_COMMIT
def test_pre_commit_lints_what_is_a_config_and_passes_over_the_rest(hooked: Repository) -> None:
    hooked.write("configs/good.yaml", AXOLOTL)
    hooked.write("recipe.yml", TORCHTUNE)
    hooked.write("docker-compose.yml", "services:\n  a: {image: x}\n")
    hooked.write("chart/templates/deployment.yaml", "kind: {{ .Values.kind }}\n{{ if x }}\n")
    hooked.write("pyproject.toml", '[tool.ftmigrate]\nignore = ["FT042"]\n')
    status, told = hooked.hook("ftmigrate-lint", "--verbose")
    assert status == 0, told
    assert "2 configs: nothing wrong" in told
    assert "compose" not in told
    assert "passed over" not in told
    hooked.write("configs/good.yaml", AXOLOTL.replace("num_epochs: 3", "num_epochs: 0"))
    status, told = hooked.hook("ftmigrate-lint")
    assert status == 1
    assert "configs/good.yaml:" in told
    assert "FT105" in told
    assert "compose" not in told


@WITHOUT_PRE_COMMIT
def test_a_projects_framework_is_that_of_its_configs_only(hooked: Repository) -> None:
    hooked.write("configs/good.yaml", AXOLOTL)
    hooked.write("pyproject.toml", '[tool.ftmigrate]\nframework = "axolotl@0.21.0"\n')
    hooked.write("recipe.yml", "jobs: {}\n")
    hooked.write("broken.yaml", "jobs: [\n")
    status, told = hooked.hook("ftmigrate-lint", "--verbose")
    assert status == 0, told
    assert "1 config: nothing wrong" in told


@WITHOUT_PRE_COMMIT
def test_pre_commit_repairs(hooked: Repository) -> None:
    hooked.write("configs/good.yaml", AXOLOTL + SAFE)
    status, told = hooked.hook("ftmigrate-fix")
    assert status == 1
    assert "files were modified by this hook" in told
    assert hooked.read("configs/good.yaml") == AXOLOTL + SAFE.replace("7e-7", "7.0e-7")
    status, told = hooked.hook("ftmigrate-fix")
    assert status == 0, told


# --- the action -------------------------------------------------------------------------------------------------


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return found


def filled(text: str, values: dict[str, str]) -> str:
    """An expression's text with its values; one that is not among them is a mistake."""
    return re.sub(r"\$\{\{\s*(\S+)\s*\}\}", lambda found: values[found[1]], text)


class Workflow:
    """The composite action's own steps, run in bash as a runner does; those of other actions are left out."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        declared = action()["inputs"]
        assert not set(inputs) - {name.replace("-", "_") for name in declared}
        given = {name: inputs.get(name.replace("-", "_"), one["default"]) for name, one in declared.items()}
        self.folder = folder
        self.values = {f"inputs.{name}": value for name, value in given.items()}
        self.values |= {
            "runner.temp": str(folder.parent / "temp"),
            "steps.python.outputs.python-path": sys.executable,
        }
        self.output = folder.parent / "output"
        self.told = ""

    def run(self, *, install: bool = False) -> int:
        self.output.write_text("", encoding="utf-8")
        for step in action()["runs"]["steps"]:
            if "run" not in step or (step["name"].startswith("Install") and not install):
                continue
            assert step["shell"] == "bash"
            own = {key: filled(value, self.values) for key, value in step["env"].items()}
            if not install and "PYTHONPATH" in own:
                own["PYTHONPATH"] = str(ROOT)
            runner = {"RUNNER_TEMP": self.values["runner.temp"], "GITHUB_ACTION_PATH": str(ROOT)}
            environment = {**ours(), **runner, **own, "GITHUB_OUTPUT": str(self.output)}
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
            )
            self.told += done.stdout + done.stderr
            if done.returncode:
                return done.returncode
            for line in self.output.read_text(encoding="utf-8").splitlines() if "id" in step else ():
                key, _, value = line.partition("=")
                self.values[f"steps.{step['id']}.outputs.{key}"] = value
        return 0

    def report(self, name: str = "ftmigrate.sarif") -> list[str]:
        found = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return [result["ruleId"] for run in found["runs"] for result in run["results"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    (made / "my configs").mkdir(parents=True)
    (made / "my configs" / "bad.yaml").write_text(AXOLOTL.replace("num_epochs: 3", "num_epochs: 0"), encoding="utf-8")
    (made / "good.yaml").write_text(AXOLOTL, encoding="utf-8")
    (made / "compose.yaml").write_text("services: {}\n", encoding="utf-8")
    return made


def test_the_action_uploads_what_it_writes() -> None:
    found = action()
    assert found["runs"]["using"] == "composite"
    steps = found["runs"]["steps"]
    (upload,) = (step for step in steps if step.get("uses", "").startswith("github/codeql-action/upload-sarif@"))
    (lint,) = (step for step in steps if step.get("id") == "lint")
    written = re.search(r'--output-file "\$(\w+)"', lint["run"])
    assert written is not None
    assert lint["env"][written[1]] == upload["with"]["sarif_file"] == "${{ inputs.sarif-file }}"
    assert steps.index(lint) < steps.index(upload) < len(steps) - 1
    assert found["outputs"]["sarif-file"]["value"] == upload["with"]["sarif_file"]


def test_the_action_puts_no_input_into_a_command() -> None:
    for step in action()["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


@WITHOUT_BASH
def test_the_action_fails_after_it_wrote_the_report(folder: Path) -> None:
    work = Workflow(folder)
    assert work.run() == 1
    assert work.report() == ["FT105"]
    assert "my configs/bad.yaml:" in work.told
    assert "::error" not in work.told


@WITHOUT_BASH
def test_the_action_takes_its_inputs(folder: Path) -> None:
    work = Workflow(
        folder,
        paths="good.yaml\nmy configs\n",
        framework="axolotl@0.21.0",
        fail_on="error",
        options="--ignore FT105\n--rows 100",
        upload="false",
        sarif_file="out/report.sarif",
    )
    (folder / "out").mkdir()
    assert work.run() == 0
    assert work.report("out/report.sarif") == []
    again = Workflow(folder, paths="my configs", upload="false")
    assert again.run() == 1
    assert "::error file=my configs/bad.yaml,line=" in again.told


@WITHOUT_BASH
def test_the_action_tells_what_it_cannot_do(folder: Path) -> None:
    work = Workflow(folder, framework="nobody")
    assert work.run() == 2
    assert "nobody is no framework known here" in work.told
    assert not (folder / "ftmigrate.sarif").exists()


@WITHOUT_BASH
def test_the_action_installs_itself(folder: Path) -> None:
    work = Workflow(folder)
    assert work.run(install=True) == 1, work.told
    assert work.report() == ["FT105"]
    assert (Path(work.values["runner.temp"]) / "ftmigrate" / "ftmigrate" / "_schemas" / "axolotl.json").is_file()


# --- what the documentation shows -------------------------------------------------------------------------------


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)


def test_the_readme_shows_hooks_and_inputs_that_there_are() -> None:
    shown = [yaml.safe_load(block) for block in blocks("README.md", "yaml")]
    (hooks,) = (one for one in shown if "repos" in one)
    known = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}
    assert {hook["id"] for repository in hooks["repos"] for hook in repository["hooks"]} <= known
    (workflow,) = (one for one in shown if "jobs" in one)
    (job,) = workflow["jobs"].values()
    step = next(step for step in job["steps"] if step["uses"].startswith("ftmigrate/"))
    assert set(step["with"]) <= set(action()["inputs"])
    assert job["permissions"]["security-events"] == "write"


def test_the_editors_start_a_command_that_there_is() -> None:
    vscode, zed = (json.loads(block) for block in blocks("docs/editors.md", "json"))
    binary = zed["lsp"]["yaml-language-server"]["binary"]
    commands = [
        [vscode["glspc.server.command"], *vscode["glspc.server.commandArguments"]],
        [binary["path"], *binary["arguments"]],
    ]
    for block in blocks("docs/editors.md", "lua"):
        found = re.search(r"cmd = \{ (.*?) \}", block)
        assert found is not None
        commands.append(json.loads(f"[{found[1]}]"))
    assert commands == [["ftmigrate", "server"]] * 4
