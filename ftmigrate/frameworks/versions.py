"""Which version of a framework a config is for: the one pinned beside it, else the newest known."""

from __future__ import annotations

import re
from pathlib import Path

from ftmigrate.frameworks.registry import Framework

_FILES = ("requirements.txt", "requirements.lock", "uv.lock", "poetry.lock", "pyproject.toml", "environment.yml")
_LIMIT = 4_000_000


def find(framework: Framework, path: Path | None) -> tuple[str, str]:
    """The version and how it is known. Looks beside the config and above it, up to the repository's root."""
    if path is not None:
        folder = path.resolve().parent
        for place in (folder, *folder.parents):
            for name in _FILES:
                version = _pinned(place / name, framework.name)
                if version in framework.versions():
                    return version, f"pinned in {place / name}"
            if (place / ".git").exists():
                break
    return framework.newest, "the newest known"


def _pinned(path: Path, name: str) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _LIMIT:
            return ""
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    exact = re.search(rf"^\W*{name}(?:\[[^\]]*\])?\s*==\s*([\w.]+)", text, re.MULTILINE)
    locked = re.search(rf'^name = "{name}"\nversion = "([\w.]+)"', text, re.MULTILINE)
    found = exact or locked
    return found[1] if found else ""
