"""The configs that torchtune ships, as data: `schemas/torchtune.configs.json` (tools/extract_torchtune_configs.py).

A config is a list of numbered blocks, each a top-level key with its value as written, interpolations included; the
same block serves many configs and versions. Its header is data too: the downloads that its comments name.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ftmigrate import schema
from ftmigrate.document.model import Document
from ftmigrate.document.yaml import OMEGACONF, build

TABLE = "torchtune.configs"


@cache
def configs(version: str) -> Mapping[str, Mapping[str, Any]]:
    """The configs of a version by registry name: `blocks` and `downloads`. None at all for an unknown version."""
    data = schema.table(TABLE)
    order = {name: index for index, name in enumerate(data["versions"])}
    if version not in order:
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, ranges in data["configs"].items():
        for since, until, facts in ranges:
            if order[since] <= order[version] and (until is None or order[version] < order[until]):
                found[name] = facts
    return found


def tree(name: str, version: str) -> dict[str, Any] | None:
    """The values of a shipped config, interpolations as written; None where the version ships no such config."""
    found = configs(version).get(name)
    if found is None:
        return None
    blocks = schema.table(TABLE)["blocks"]
    return {blocks[index][0]: copy.deepcopy(blocks[index][1]) for index in found["blocks"]}


def header(name: str, version: str) -> tuple[str, ...]:
    """Comment lines that say what the config's own header says of downloads and recipe, in our words."""
    found = configs(version)[name]
    lines = [
        f"  tune download {repository}" + (f" --output-dir {directory}" if directory else "")
        for repository, directory in found.get("downloads", ())
    ]
    for recipe in recipes(name, version)[:1]:
        lines.append(f"  tune run {recipe} --config {name}")
    return tuple(lines)


def recipes(name: str, version: str) -> Sequence[str]:
    """The recipes that a registry name belongs to."""
    about = schema.load("torchtune", version).facts(f"config {name}") or {}
    listed: list[str] = about.get("recipes", [])
    return listed


def shipped(name: str, version: str, overrides: Sequence[str]) -> Document | None:
    """The shipped config of that registry name, with overrides; None where the version has none.

    Raises DocumentError where the launcher would refuse the overrides.
    """
    values = tree(name, version)
    if values is None:
        return None
    return build(values, f"{name} (torchtune {version})", OMEGACONF, overrides, header(name, version))


def hint(name: str, version: str) -> str:
    """What may have been meant by a name that this version does not ship."""
    about = schema.load("torchtune", version).facts(f"config {name}")
    if about is not None and about.get("missing"):
        return f"torchtune {version} lists it, but ships no such file"
    others = [other for other in schema.table(TABLE)["versions"] if name in configs(other)]
    if others:
        return f"torchtune {' and '.join(others)} ships one of that name: say --from torchtune@{others[-1]}"
    from difflib import get_close_matches

    close = get_close_matches(name, configs(version), 1, 0.75)
    return f"did you mean {close[0]}?" if close else ""
