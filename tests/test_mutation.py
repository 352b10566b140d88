"""Changing any leaf that has an effect changes the output, or what the ledger says of that leaf."""

from __future__ import annotations

import json
import os
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from ftmigrate.conversion import Conversion, convert
from ftmigrate.document.model import Leaf, Unresolved, Value, format_path
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context
from tests.conftest import FIXTURES, WHEEL, torchtune_configs
from tests.test_corpus import version


def _mutants(value: Value) -> list[str]:
    """Other values for a leaf, spelled as on torchtune's command line."""
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
    return ["3"] if value is None else []


def _pick(configs: list[Path]) -> list[Path]:
    """Every seventh config: all families, sizes and recipes, in a bearable time (FTMIGRATE_MUTATION_STEP=1: all)."""
    return configs[:: int(os.environ.get("FTMIGRATE_MUTATION_STEP", "7"))]


CONFIGS = [*_pick(torchtune_configs()), *sorted((FIXTURES / "torchtune").glob("*.yaml"))]


def _run(config: Path, change: tuple[str, ...], text: str | None = None) -> Conversion:
    framework, target = registry.get("torchtune"), registry.get("axolotl")
    name = version(config) if WHEEL and config.is_relative_to(WHEEL) else "main"
    data = config.read_bytes() if text is None else text.encode()
    document = framework.parse(data, str(config), change)
    return convert(document, (framework, name), (target, target.newest), Context(), "out.yaml")


def _mutated(config: Path, path: str, leaf: Leaf, mutant: str) -> Conversion:
    """The config with another value of one leaf: by an override, or inside a list, where none reaches, in the text."""
    if "[" not in path:
        return _run(config, (f"{path}={mutant}",))
    assert leaf.span is not None
    text = config.read_text(encoding="utf-8")
    starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    first, last = (starts[at.line - 1] + at.column - 1 for at in leaf.span)
    spelled = json.dumps(mutant) if isinstance(leaf.value, str) else mutant
    return _run(config, (), text[:first] + spelled + text[last:])


def _said(result: Conversion, path: str) -> Any:
    entry = next(entry for entry in result.ledger.entries if entry.source_path == path)
    return entry.verdict, entry.note, entry.target_paths, [effect.json() for effect in entry.effects]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_no_effective_leaf_is_overlooked(config: Path) -> None:
    base = _run(config, ())
    if base.refused:
        return
    document = registry.get("torchtune").parse(config.read_bytes(), str(config), ())
    leaves = {format_path(path): leaf for path, leaf in document.leaves.items()}
    overlooked = []
    for entry in base.ledger.entries:
        path = entry.source_path
        if path is None or entry.verdict.word == "inert" or isinstance(entry.value, Unresolved):
            continue
        leaf = leaves[path]
        for mutant in _mutants(leaf.value):
            if "=" in mutant or "$" in mutant:
                continue
            changed = _mutated(config, path, leaf, mutant)
            if changed.files == base.files and _said(changed, path) == _said(base, path):
                overlooked.append(f"{path}={mutant}: {entry.verdict.word}")
    assert not overlooked, "\n".join(overlooked)


def test_a_value_inside_a_list_is_reached() -> None:
    config = FIXTURES / "torchtune" / "mixed_sources.yaml"
    document = registry.get("torchtune").parse(config.read_bytes(), str(config), ())
    leaf = document.leaves["dataset", 0, "source"]
    assert "acme-ai/tutor-turns_other" in next(
        iter(_mutated(config, "dataset[0].source", leaf, "acme-ai/tutor-turns_other").files.values())
    )
