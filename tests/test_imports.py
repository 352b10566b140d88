"""What is loaded at start-up: nothing that a YAML file does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import FIXTURES, ROOT

HEAVY = ("libcst", "rich", "jsonschema", "ruamel", "typer", "click", "torch", "omegaconf", "jinja2", "pydantic",
         "transformers")  # fmt: skip
REPORT = 'import json, sys; print("MODULES " + json.dumps(sorted(sys.modules)), file=sys.stderr)'
RUN = (
    "import sys; from ftmigrate.cli import main; status = main(sys.argv[2:]); assert status == int(sys.argv[1]), status"
)
SOURCE = FIXTURES / "torchtune" / "llama_lora.yaml"


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules that a fresh interpreter holds after running some code."""
    command = [sys.executable, "-c", f"{code}\n{REPORT}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("MODULES "))
    return set(json.loads(line.removeprefix("MODULES ")))


def run(*arguments: str, status: int = 0) -> set[str]:
    """The modules that a command of ours loads."""
    return loaded(RUN, str(status), *arguments)


def test_importing_the_package() -> None:
    found = loaded("import ftmigrate")
    assert not found & {*HEAVY, "yaml"}
    assert not [name for name in found if name.startswith("ftmigrate.frameworks.")]


def test_the_public_names_are_there_without_being_loaded() -> None:
    import ftmigrate

    for name in ("read", "convert"):
        assert callable(getattr(ftmigrate, name))


@pytest.mark.parametrize(
    "arguments",
    [
        ("convert", str(SOURCE), "--to", "axolotl"),
        ("convert", str(SOURCE), "--from", "torchtune@0.6.1", "--to", "axolotl", "--format", "json"),
        ("show", str(SOURCE)),
        ("diff", str(SOURCE), str(SOURCE)),
        ("frameworks",),
        ("--version",),
    ],
    ids=lambda arguments: arguments[0] + ("-json" if "json" in arguments else ""),
)
def test_running_a_command(arguments: tuple[str, ...]) -> None:
    found = run(*arguments)
    assert not found & set(HEAVY)
    assert "ftmigrate.cli" in found


def test_a_command_loads_only_itself() -> None:
    found = run("frameworks")
    others = {"convert", "show", "diff", "verify", "env", "schema"}
    assert not {f"ftmigrate.cli.{name}" for name in others} & found
    assert not [name for name in found if name.count(".") == 3 and name.endswith(".table")]


def test_a_framework_not_named_stays_unloaded() -> None:
    """With both ends named, only their tables are loaded."""
    found = run("show", str(SOURCE), "--from", "torchtune")
    assert "ftmigrate.frameworks.torchtune.table" in found
    assert "ftmigrate.frameworks.axolotl.table" not in found


def test_entry_points_are_asked_for_unknown_names_only() -> None:
    known = run("convert", str(SOURCE), "--from", "torchtune", "--to", "axolotl")
    assert "importlib.metadata" not in known
    assert "importlib.metadata" in run("convert", str(SOURCE), "--from", "torchtune", "--to", "nobody", status=2)
