"""Whatever the input: no check dies, positions lie in the text, the status is one of those documented."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftmigrate import schema
from ftmigrate.document.text import Lines
from ftmigrate.frameworks import registry
from ftmigrate.linter import engine
from ftmigrate.linter.engine import Job
from tests.conftest import FIXTURES

BASES = sorted((FIXTURES / "lint").glob("*.yaml")) + sorted((FIXTURES / "torchtune").glob("*.yaml"))
PIECES = ("null", "true", "-1", "1e-4", "[]", "{}", "[1, {a: b}]", "'x'", '"', "*a", "&a 1", "!!int x", "${a}", "${", "???", "#",
          "- ", "  ", "\t", ":", "|\n  x", "None", "0x1F", "010", "1:30", "2026-01-01", "\u2028", "é", "<<: {a: 1}")  # fmt: skip


def damaged(text: str, seed: int) -> str:
    """A few values, keys or characters replaced."""
    chance = random.Random(seed)
    lines = text.split("\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        line = lines[at]
        kind = chance.randrange(5)
        if kind == 0 and ":" in line:
            lines[at] = line.partition(":")[0] + ": " + chance.choice(PIECES)
        elif kind == 1:
            cut = chance.randrange(len(line) + 1)
            lines[at] = line[:cut] + chance.choice(PIECES) + line[cut:]
        elif kind == 2:
            del lines[at : at + chance.randint(1, 3)]
            lines = lines or [""]
        elif kind == 3:
            lines.insert(at, lines[chance.randrange(len(lines))])
        else:
            lines[at] = chance.choice(("", "  ", "\t")) + line
    return "\n".join(lines)


def check(data: bytes, job: Job) -> None:
    result = engine.lint(data, "fuzz.yaml", job)
    if result is None:
        return
    assert result.faults == ()
    lines = Lines(result.text)
    for one in result.diagnostics:
        assert 1 <= one.line <= one.end_line <= max(len(lines), 1)
        assert one.column >= 1
        assert (one.line, one.column) <= (one.end_line, one.end_column)


@given(st.integers(0, 10**9), st.sampled_from(BASES), st.sampled_from(("", "unsafe")))
def test_damaged_configs(seed: int, base: Path, fix: str) -> None:
    text = damaged(base.read_text(encoding="utf-8"), seed)
    check(text.encode("utf-8", "surrogatepass"), Job(fix=fix, isolated=True))


@given(st.binary(max_size=300), st.sampled_from((None, "axolotl", "torchtune")))
def test_any_bytes(data: bytes, framework: str | None) -> None:
    check(data, Job(framework, isolated=True))


@pytest.mark.parametrize("name", registry.names())
def test_every_pinned_version(name: str) -> None:
    for version in schema.versions(name):
        for base in BASES:
            if (result := engine.lint(base.read_bytes(), "x.yaml", Job(isolated=True))) and result.framework == name:
                check(base.read_bytes(), Job(f"{name}@{version}", isolated=True))
