"""Finding the files of a directory that may be configs, as git and its users see the directory."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ftmigrate.frameworks import registry

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SUFFIXES = (".yaml", ".yml")
_NOT_OURS = ("node_modules", "__pycache__", "site-packages")
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
_LIMIT = 4_000_000


def walk(root: Path, leave_out: Collection[Path] = ()) -> Iterator[Path]:
    """The YAML files under `root`, relative to it, in the order of their names; nothing that git would ignore.

    Hidden folders, environments and `leave_out` are passed over. Links to folders are not followed, so there are no
    loops; a link to a file counts where the file itself does not stand under `root`.
    """
    real = root.resolve()
    apart = {path.resolve() for path in leave_out}
    above = _above(real)
    yield from _walk(real, real, above, apart)


def _walk(folder: Path, root: Path, specs: tuple[_Rules, ...], apart: Collection[Path]) -> Iterator[Path]:
    try:
        found = sorted(os.scandir(folder), key=lambda item: item.name)
    except OSError:
        return
    names = {item.name for item in found}
    if folder != root and names.intersection(_ENVIRONMENT):
        return
    if ".gitignore" in names:
        specs = (*specs, *_rules(folder, folder / ".gitignore"))
    for item in found:
        path = folder / item.name
        if item.is_dir(follow_symlinks=False):
            if item.name.startswith(".") or item.name in _NOT_OURS or path in apart or _ignored(path, True, specs):
                continue
            yield from _walk(path, root, specs, apart)
        elif path.suffix.lower() in SUFFIXES and _is_file(item, root) and not _ignored(path, False, specs):
            yield path.relative_to(root)


def _is_file(item: os.DirEntry[str], root: Path) -> bool:
    try:
        if item.is_symlink():
            target = Path(item.path).resolve(strict=True)
            return target.is_file() and not target.is_relative_to(root)
        return item.is_file()
    except (OSError, RuntimeError):
        return False


# --- git's rules --------------------------------------------------------------------------------------------------

_Rules = tuple[Path, "GitIgnoreSpec"]


def _rules(base: Path, file: Path) -> tuple[_Rules, ...]:
    from pathspec import GitIgnoreSpec

    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        return ((base, GitIgnoreSpec.from_lines(lines)),)
    except (OSError, ValueError):
        return ()


def _above(root: Path) -> tuple[_Rules, ...]:
    """The rules of the repository that hold in `root`, outermost first; none if they ignore `root` itself."""
    places: list[Path] = []
    for place in (root, *root.parents):
        places.insert(0, place)
        if (place / ".git").exists():
            break
    else:
        return ()
    top = places[0]
    specs = _rules(top, top / ".git" / "info" / "exclude")
    for place in places[:-1]:
        specs = (*specs, *_rules(place, place / ".gitignore"))
    return () if any(_ignored(place, True, specs) for place in places[1:]) else specs


def _ignored(path: Path, folder: bool, specs: tuple[_Rules, ...]) -> bool:
    """The innermost file that has a rule for it decides."""
    for base, spec in reversed(specs):
        if base == path or not path.is_relative_to(base):
            continue
        name = path.relative_to(base).as_posix() + ("/" if folder else "")
        said = spec.check_file(name).include
        if said is not None:
            return said
    return False


# --- marks --------------------------------------------------------------------------------------------------------


@cache
def _marks() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    found = ((name, registry.get(name)) for name in registry.names())
    return tuple((name, framework.mark_word, re.compile(framework.mark)) for name, framework in found)


def marked(data: bytes) -> list[str]:
    """The frameworks whose mark the text holds: it may be a config of these, and of no other."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = data.decode(encoding, errors="replace")
    return [name for name, word, pattern in _marks() if word in text and pattern.search(text)]


def candidates(root: Path, leave_out: Collection[Path] = ()) -> Iterator[Path]:
    """Those files of `walk` that hold a framework's mark, or cannot be opened."""
    for path in walk(root, leave_out):
        try:
            if (root / path).stat().st_size > _LIMIT:
                continue
            data = (root / path).read_bytes()
        except OSError:
            yield path
            continue
        if marked(data):
            yield path
