"""Whatever the input: no check dies, positions lie in the text, the status is one of those documented."""

from __future__ import annotations

import random
from pathlib import Path

import fuzz_lint as fuzz
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftmigrate import schema
from ftmigrate.document.text import Lines
from ftmigrate.frameworks import registry
from ftmigrate.linter import engine
from ftmigrate.linter.engine import Job
from tests.conftest import CORPUS

BASES = fuzz.bases(())
CHUNKS = 20
assert CHUNKS * fuzz.CHUNK >= 5000


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
    text = fuzz.damaged(base.read_text(encoding="utf-8"), random.Random(seed))
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


@pytest.mark.parametrize("number", range(CHUNKS))
def test_the_command_ends_as_documented(number: int) -> None:
    """What `tools/fuzz_lint.py` does to 100,000 inputs, to 5,000."""
    done = fuzz.chunk(number, 0, fuzz.bases([str(CORPUS)]), limit=0)
    assert done.statuses.total() >= fuzz.CHUNK - fuzz.INVENTED
    assert done.faults == []


@pytest.mark.parametrize(
    "config",
    [
        "adapter: {a: 1}",
        "adapter: [lora]",
        "val_set_size: .inf",
        "val_set_size: .nan",
        f"weight_decay: {10**400}",
        f"adam_epsilon: {10**400}",
        "chat_template: 0.5",
        "warmup_ratio: 0.é1\nmax_steps: 9",
    ],
)
def test_faults_found_so_far(config: str) -> None:
    check(f"base_model: a/b\ndatasets: [{{path: d, type: alpaca}}]\n{config}\n".encode(), Job("axolotl", isolated=True))
