"""A base model's config.json: from this machine, else from what a framework's catalogue knows of it by its name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftmigrate.frameworks import registry

NEEDED = "num_hidden_layers"


def find(base: str, near: str = "") -> Mapping[str, Any] | None:
    """near: the path of the config that names the model."""
    for place in (*_here(base, near), *_cached(base)):
        found = _read(place)
        if found is not None:
            return found
    for name in registry.names():
        told = registry.get(name).architecture
        known = told(base, near) if told else None
        if known is not None:
            return known
    return None


def local(base: str, near: str) -> tuple[Mapping[str, Any], Path] | None:
    """The config.json of a base model that is a directory of this machine, and its path."""
    for place in _here(base, near):
        found = _read(place)
        if found is not None:
            return found, place / "config.json"
    return None


def _here(base: str, near: str) -> tuple[Path, Path]:
    """Where a base model that is a directory may lie: as it is written, or from its config."""
    return Path(base).expanduser(), Path(near).parent / base


def _read(place: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((place / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and NEEDED in found else None


def _cached(base: str) -> list[Path]:
    """Snapshots of a hub model in the cache of the hub's client, the newest first."""
    if base.count("/") != 1 or base.startswith((".", "/", "~")):
        return []
    told = os.environ.get("HF_HUB_CACHE")
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    folder = (Path(told) if told else home / "hub") / f"models--{base.replace('/', '--')}" / "snapshots"
    try:
        return sorted(folder.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
    except OSError:
        return []
