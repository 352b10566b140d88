"""A checkout of a framework that the user names: copied before it is built, so that nothing is written into it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_LEFT_OUT = (".git", ".hg", ".venv", "venv", "build", "dist", "__pycache__", "node_modules", "*.egg-info", "*.pyc")
_BUILT_BY = ("pyproject.toml", "setup.py")


class CheckoutError(Exception):
    """The directory is no checkout that can be installed; the text says why."""


def check(folder: Path, framework: str) -> Path:
    """The checkout's own path. Raises CheckoutError unless it holds the framework's package and how to build it."""
    place = folder.expanduser().absolute()
    if not place.is_dir():
        raise CheckoutError(f"{folder} is no directory")
    if not any((place / name).is_file() for name in _BUILT_BY):
        raise CheckoutError(f"{folder} has no pyproject.toml: it is no checkout of {framework}")
    if not any((root / framework / "__init__.py").is_file() for root in (place, place / "src")):
        raise CheckoutError(f"{folder} holds no package {framework}: it is no checkout of {framework}")
    return place


def copy(place: Path, to: Path) -> None:
    shutil.copytree(place, to, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)


def digest(copied: Path) -> str:
    """What the copy holds: every file by name and content."""
    found = hashlib.sha256()
    for path in _files(copied):
        found.update(f"{path.relative_to(copied).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where) / name
            if path.is_file():
                yield path
