"""Which version of a framework a config is for: the one pinned beside it, else the newest that knows what it names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ftmigrate import schema
from ftmigrate.document.model import Document
from ftmigrate.frameworks.registry import Framework

_FILES = ("requirements.txt", "requirements.lock", "uv.lock", "poetry.lock", "pyproject.toml", "environment.yml")
_LIMIT = 4_000_000
NEWEST = "the newest known"


def find(framework: Framework, path: Path | None, document: Document | None = None) -> tuple[str, str]:
    """The version and how it is known. Looks beside the config and above it, up to the repository's root.

    Without a pin it is the newest release; for a document that names components which that release has not, the newest
    version that has them all.
    """
    found = pinned(framework, path.resolve().parent) if path is not None else None
    return found or unpinned(framework, document)


def pinned(framework: Framework, folder: Path) -> tuple[str, str] | None:
    """The version pinned in a folder or above it, and the file that pins it."""
    for place in (folder, *folder.parents):
        for name in _FILES:
            version = _pinned(os.path.join(place, name), framework.name)
            if version in framework.versions():
                return version, f"pinned in {place / name}"
        if (place / ".git").exists():
            break
    return None


def unpinned(framework: Framework, document: Document | None) -> tuple[str, str]:
    """What holds without a pin, as in `find`."""
    return _naming(framework, document) or (framework.newest, NEWEST)


def _naming(framework: Framework, document: Document | None) -> tuple[str, str] | None:
    """The newest version that has all components of a document, where the newest release lacks one."""
    selector = framework.layout.component
    if selector is None or document is None:
        return None
    named = {str(leaf.value) for path, leaf in document.leaves.items() if path[-1] == selector}
    newest = schema.load(framework.name, framework.newest)
    if all(newest.keys(f"{schema.COMPONENT}{name}") for name in named):
        return None
    having = {name: _having(framework, name) for name in sorted(named)}
    having = {name: versions for name, versions in having.items() if versions}  # the others are somebody's own
    lacking = next((name for name, versions in having.items() if framework.newest not in versions), None)
    if lacking is None:
        return None
    for version in reversed(framework.versions()):
        if all(version in versions for versions in having.values()):
            return version, f"the newest known that has {lacking}, which {framework.newest} has not"
    return None


def _having(framework: Framework, component: str) -> list[str]:
    """The versions that have a component."""
    section = f"{schema.COMPONENT}{component}"
    return [version for version in framework.versions() if schema.load(framework.name, version).keys(section)]


def _pinned(path: str, name: str) -> str:
    if not os.path.isfile(path):
        return ""
    try:
        if os.path.getsize(path) > _LIMIT:
            return ""
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    except OSError:
        return ""
    exact = re.search(rf"^\W*{name}(?:\[[^\]]*\])?\s*==\s*([\w.]+)", text, re.MULTILINE)
    locked = re.search(rf'^name = "{name}"\nversion = "([\w.]+)"', text, re.MULTILINE)
    found = exact or locked
    return found[1] if found else ""
