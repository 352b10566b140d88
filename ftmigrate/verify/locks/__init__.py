"""Lock files: every package of an environment with its version, named `<framework>-<version>-<level>.txt`.

A comment `# source` says that the framework itself is not among them: it is installed from a checkout. A comment
`# python: 3.12 3.13` names the Python versions that it was made for, the best first. Lines after the
comment `# [cuda]` are installed only where the torch that was installed is no CPU build; those after `# [gpu]` there too,
and only where a GPU is to be used.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from msgspec import Struct

from ftmigrate.verify.probe import framework_directory

NAME = re.compile(r"(?P<framework>[a-z0-9_]+)-(?P<version>[^-]+)-(?P<level>[a-z]+)\.txt")


class LockError(Exception):
    """There is no lock for what is asked, or it cannot be read."""


class Lock(Struct, frozen=True):
    framework: str
    version: str
    level: str
    pythons: tuple[str, ...]
    packages: tuple[str, ...]
    cuda: tuple[str, ...]
    gpu: tuple[str, ...]
    digest: str
    source: bool = False


def directories(framework: str) -> list[Path]:
    """Where locks lie: beside this module, and in the `locks` folder of a framework that comes from elsewhere."""
    own = framework_directory(framework)
    return [Path(__file__).parent, *([own / "locks"] if own else [])]


def known(framework: str, level: str) -> dict[str, Path]:
    """The locks of a framework by version, oldest first."""
    found = {}
    for folder in directories(framework):
        for path in folder.glob(f"{framework}-*-{level}.txt"):
            match = NAME.fullmatch(path.name)
            if match and match["framework"] == framework:
                found[match["version"]] = path
    return dict(sorted(found.items(), key=lambda item: newest(item[0])))


def find_lock(framework: str, version: str | None, level: str) -> Lock:
    """The lock of a version, of the newest by default. Raises LockError."""
    versions = known(framework, level)
    if not versions:
        raise LockError(f"no lock file for {framework}; name an interpreter that has it with --python")
    if version is None:
        version = ([one for one in versions if one[:1].isdigit()] or list(versions))[-1]
    if version not in versions:
        raise LockError(
            f"no lock file for {framework} {version}, only for {', '.join(versions)}; "
            "name an interpreter that has it with --python"
        )
    return read_lock(versions[version])


def read_lock(path: Path) -> Lock:
    """A lock file's content. Raises LockError."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise LockError(f"{path.name} is not named <framework>-<version>-<level>.txt")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LockError(f"cannot read {path}: {error}") from error
    pythons: tuple[str, ...] = ()
    sections: tuple[list[str], list[str], list[str]] = ([], [], [])
    section, source = 0, False
    for line in data.decode("utf-8").splitlines():
        text = line.strip()
        if text.startswith("# python:"):
            pythons = tuple(text.removeprefix("# python:").split())
        elif text == "# source":
            source = True
        elif text == "# [cuda]":
            section = 1
        elif text == "# [gpu]":
            section = 2
        elif text and not text.startswith("#"):
            sections[section].append(text)
    if not pythons:
        raise LockError(f"{path.name} names no Python version")
    return Lock(
        match["framework"],
        match["version"],
        match["level"],
        pythons,
        tuple(sections[0]),
        tuple(sections[1]),
        tuple(sections[2]),
        hashlib.sha256(data).hexdigest(),
        source,
    )


def newest(version: str) -> tuple[tuple[int, int | str], ...]:
    """A key by which versions sort; what is no number (`main`) comes last."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"[.+!_-]", version))
