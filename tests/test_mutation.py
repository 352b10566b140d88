"""Changing any leaf that has an effect changes the output, or what the ledger says of that leaf."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ftmigrate.conversion import Conversion, convert
from ftmigrate.document.model import Leaf, Unresolved
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context
from tests.conftest import FIXTURES, WHEEL, torchtune_configs
from tests.test_corpus import version


def _mutants(leaf: Leaf) -> list[str]:
    """Other values for a leaf, spelled as on torchtune's command line."""
    value = leaf.value
    if isinstance(value, bool):
        return [str(not value)]
    if isinstance(value, int):
        return [str(value + 3)]
    if isinstance(value, float):
        return [repr(value * 2 + 0.25)]
    if isinstance(value, list):
        return ["[" + ",".join(map(str, [*value[1:], "k_proj"])) + "]"]
    if isinstance(value, str):
        return [f"{value}_other"]
    return []


def _pick(configs: list[Path]) -> list[Path]:
    """Every seventh config: all families, sizes and recipes, in a bearable time (FTMIGRATE_MUTATION_STEP=1: all)."""
    return configs[:: int(os.environ.get("FTMIGRATE_MUTATION_STEP", "7"))]


CONFIGS = [*_pick(torchtune_configs()), *sorted((FIXTURES / "torchtune").glob("*.yaml"))]


def _run(config: Path, change: tuple[str, ...]) -> Conversion:
    framework, target = registry.get("torchtune"), registry.get("axolotl")
    name = version(config) if WHEEL and config.is_relative_to(WHEEL) else "main"
    document = framework.parse(config.read_bytes(), str(config), change)
    return convert(document, (framework, name), (target, target.newest), Context(), "out.yaml")


def _said(result: Conversion, path: str) -> Any:
    entry = next(entry for entry in result.ledger.entries if entry.source_path == path)
    return entry.verdict, entry.note, entry.target_paths, [effect.json() for effect in entry.effects]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_no_effective_leaf_is_overlooked(config: Path) -> None:
    base = _run(config, ())
    if base.refused:
        return
    overlooked = []
    for entry in base.ledger.entries:
        path = entry.source_path
        if path is None or entry.verdict.word == "inert" or "[" in path or isinstance(entry.value, Unresolved):
            continue
        for mutant in _mutants(Leaf((), entry.value, "", None, None)):  # type: ignore[arg-type]
            if "=" in mutant or ("$" in mutant):
                continue
            changed = _run(config, (f"{path}={mutant}",))
            if changed.files == base.files and _said(changed, path) == _said(base, path):
                overlooked.append(f"{path}={mutant}: {entry.verdict.word}")
    assert not overlooked, "\n".join(overlooked)
