"""What is loaded at start-up: nothing that a YAML file does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FIXTURES, ROOT

HEAVY = ("libcst", "rich", "jsonschema", "ruamel", "typer", "click", "torch", "omegaconf", "jinja2", "pydantic",
         "transformers")  # fmt: skip
REPORT = """
import sys, json
modules = sorted({name.split(".")[0] for name in sys.modules} | {n for n in sys.modules if n.startswith("ftmigrate")})
print("MODULES " + json.dumps(modules), file=sys.stderr)
"""
SOURCE = FIXTURES / "torchtune" / "llama_lora.yaml"


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules that a fresh interpreter holds after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("MODULES "))
    return set(json.loads(line.removeprefix("MODULES ")))


def test_importing_the_package() -> None:
    found = loaded("import ftmigrate")
    assert not found & {*HEAVY, "yaml"}
    assert not [name for name in found if name.startswith("ftmigrate.frameworks.")]


def test_the_public_names_are_there_without_being_loaded() -> None:
    import ftmigrate

    for name in ("read", "convert"):
        assert callable(getattr(ftmigrate, name))


RUN = "import sys; from ftmigrate.cli import main; status = main(sys.argv[1:]); assert status in (0, 1), status\n"


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
    found = loaded(RUN, *arguments)
    assert not found & set(HEAVY)
    assert "ftmigrate.cli" in found


def test_a_command_loads_only_itself() -> None:
    found = loaded(RUN, "frameworks")
    others = {"convert", "show", "diff", "verify", "env", "schema"}
    assert not {f"ftmigrate.cli.{name}" for name in others} & found
    assert "ftmigrate.conversion" not in found


def test_a_framework_not_named_stays_unloaded() -> None:
    """With both ends named, only their tables are loaded."""
    found = loaded(RUN, "show", str(SOURCE), "--from", "torchtune")
    assert "ftmigrate.frameworks.torchtune.table" in found
    assert "ftmigrate.frameworks.axolotl.table" not in found


def test_entry_points_are_asked_for_unknown_names_only() -> None:
    assert "importlib.metadata" not in _full("convert", str(SOURCE), "--from", "torchtune", "--to", "axolotl")
    assert "importlib.metadata" in _full("convert", str(SOURCE), "--from", "torchtune", "--to", "nobody", status=2)


def _full(*arguments: str, status: int = 0) -> set[str]:
    code = f"import sys; from ftmigrate.cli import main; assert main(sys.argv[1:]) == {status}\n"
    end = 'import json; print("MODULES " + json.dumps(sorted(sys.modules)), file=sys.stderr)\n'
    done = subprocess.run(
        [sys.executable, "-c", code + end, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("MODULES "))
    return set(json.loads(line.removeprefix("MODULES ")))


def test_fixture_is_there() -> None:
    assert Path(SOURCE).is_file()
