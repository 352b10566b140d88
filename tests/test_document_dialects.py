"""The two dialects against the loaders themselves: PyYAML's `safe_load` and OmegaConf."""

from __future__ import annotations

import math
import os
from datetime import date
from pathlib import Path as FilePath
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import UnsupportedInterpolationType

from ftmigrate.document.model import Diagnostic, Document, DocumentError, Unresolved, walk
from ftmigrate.document.scalars import NoValue, UnknownTag, scalar
from ftmigrate.document.yaml import OMEGACONF, PYYAML, Dialect, parse

SPELLINGS = [
    "1",
    "-1",
    "+1",
    "0",
    "017",
    "0o17",
    "08",
    "00030",
    "0b11",
    "0b",
    "0x1F",
    "0xG",
    "1_000",
    "_1",
    "1__0",
    "1_",
    "12:30",
    "190:20:30",
    "190:20:30.15",
    "1:99",
    "9:9:9",
    "1.0",
    "1.",
    ".5",
    "-.5",
    "+.5",
    ".",
    "1.5e3",
    "1e3",
    "1E5",
    "3e-4",
    "3e+4",
    "-3e-4",
    "+1E-4",
    "1e",
    "1e+",
    "e5",
    ".5e3",
    ".5e-3",
    ".5e+3",
    "1_0e3",
    "1_0.5_0",
    "1.5E-3",
    "1.e3",
    ".e3",
    "1e3.5",
    "1e-4_0",
    "-1_000.5e10",
    ".inf",
    "-.inf",
    "+.Inf",
    ".INF",
    ".nan",
    ".NaN",
    ".NAN",
    "inf",
    "nan",
    "NaN",
    "Infinity",
    "1e999",
    "true",
    "True",
    "TRUE",
    "tRue",
    "false",
    "yes",
    "Yes",
    "YES",
    "no",
    "No",
    "NO",
    "on",
    "On",
    "ON",
    "off",
    "OFF",
    "y",
    "Y",
    "n",
    "N",
    "t",
    "f",
    "null",
    "Null",
    "NULL",
    "nULL",
    "~",
    "None",
    "none",
    "nil",
    "2024-01-31",
    "2024-1-3",
    "2024-13-45",
    "2024-01-31T10:00:00",
    "2001-12-14t21:59:43.10-05:00",
    "20240131",
    "=",
    "<<",
    "<<<",
    "a",
    "1a",
    "-a",
    "1-2",
    "1/2",
    "1,000",
    "1.2.3",
    "v1",
    "/data",
    "a/b",
    "a:b",
    ":a",
    "a?",
    "???",
    "a#b",
    "$x",
    "${x",
    "torch.optim.AdamW",
    "[x",
    "bf16",
    "8bit",
    "4-bit",
    "1e5x",
    "0.1.0",
    "--",
    "-",
]


def reference(text: str, dialect: Dialect) -> Any:
    if dialect is PYYAML:
        return yaml.safe_load(f"k: {text}")["k"]
    return OmegaConf.to_container(OmegaConf.create(f"k: {text}"), resolve=False)["k"]  # type: ignore[index,call-overload]


def plain(value: Any) -> Any:
    """A loader's value as our tree holds it."""
    if isinstance(value, dict):
        return {str(key): plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Unresolved):
        return value.expression
    return str(value) if isinstance(value, date) else value


def same(left: Any, right: Any) -> bool:
    return repr(plain(left)) == repr(plain(right))


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("text", SPELLINGS)
def test_spelling(text: str, dialect: Dialect) -> None:
    try:
        expected = reference(text, dialect)
    except Exception:  # whatever the loader raises: it refuses
        with pytest.raises(DocumentError):
            parse(f"k: {text}".encode(), "x", dialect)
        return
    if "${" in text and dialect is OMEGACONF:
        return  # a string to the loader; what is wrong with it shows when it is resolved
    assert same(parse(f"k: {text}".encode(), "x", dialect).tree["k"], expected)


NUMERIC = st.text(alphabet="0123456789+-._eExXbBoinfINFaN:", min_size=1, max_size=12)


@settings(max_examples=600, deadline=None)
@given(NUMERIC, st.sampled_from(Dialect))
def test_generated_numbers(text: str, dialect: Dialect) -> None:
    try:
        expected = reference(text, dialect)
    except Exception:  # whatever the loader raises: it refuses
        with pytest.raises(DocumentError):
            parse(f"k: {text}".encode(), "x", dialect)
        return
    assert same(parse(f"k: {text}".encode(), "x", dialect).tree["k"], expected)


def test_the_traps_by_name() -> None:
    assert [scalar(text, PYYAML) for text in ("1e-4", "yes", "017", "12:30", "2024-01-31")] == [
        "1e-4",
        True,
        15,
        750,
        "2024-01-31",
    ]
    assert [scalar(text, OMEGACONF) for text in ("1e-4", "yes", "017", "12:30", "1E5")] == [1e-4, True, 15, 750, 1e5]
    nan = scalar(".nan", OMEGACONF)
    assert isinstance(nan, float)
    assert math.isnan(nan)
    with pytest.raises(NoValue):
        scalar("2024-99-99", PYYAML)
    with pytest.raises(UnknownTag):
        scalar("<<", OMEGACONF)


def _files() -> list[FilePath]:
    here = FilePath(__file__).resolve().parents[1]
    roots = [here.parent / "shared" / "corpus", here / "fixtures"]
    if configured := os.environ.get("FTMIGRATE_TORCHTUNE_CONFIGS"):
        roots.append(FilePath(configured))
    return sorted(file for root in roots for pattern in ("*.yaml", "*.yml") for file in root.rglob(pattern))


FILES = _files()


def attempt(data: bytes, dialect: Dialect) -> tuple[Document | None, Diagnostic | None]:
    try:
        return parse(data, "x", dialect), None
    except DocumentError as refused:
        return None, refused.diagnostic


@pytest.mark.skipif(
    len(FILES) < 100, reason="the corpus of real configs (../shared/corpus) is not here: NOT compared with the loaders"
)
@pytest.mark.parametrize("dialect", Dialect)
def test_real_files_read_as_the_loader_reads_them(dialect: Dialect) -> None:
    compared = 0
    for number, file in enumerate(FILES):
        data = file.read_bytes()
        if dialect is OMEGACONF and b"_component_" not in data and number % 10:
            continue  # not a file that its framework gives to OmegaConf: some are enough
        expected: Any = None
        refusal = None
        try:
            if dialect is PYYAML:
                expected = yaml.safe_load(data)
            else:
                expected = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
        except UnsupportedInterpolationType:
            continue  # a resolver that only the program registers
        except Exception as cause:
            refusal = cause
        document, diagnostic = attempt(data, dialect)
        if document is None:
            empty = diagnostic is not None and diagnostic.code in ("empty", "not-a-mapping")
            assert refusal is not None or (empty and not (isinstance(expected, dict) and expected)), (file, diagnostic)
            continue
        assert refusal is None, (file, refusal)
        assert [path for path, _ in walk(document.tree)] == list(document.leaves)
        assert same(document.tree, expected), file
        compared += 1
    assert compared > 100
