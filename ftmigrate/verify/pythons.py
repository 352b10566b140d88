"""Finding an interpreter of a given Python version, and uv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ftmigrate.verify.probe import clean_environment


class PythonError(Exception):
    """No interpreter of the wanted versions is to be found; the text says where was looked."""


def find_uv() -> str | None:
    """The uv program, if it is on PATH and runs (a shim may lead nowhere)."""
    uv = shutil.which("uv")
    return uv if uv and _says([uv, "--version"]).startswith("uv ") else None


def find_python(versions: Sequence[str]) -> Path:
    """An interpreter of the first of `versions` (`"3.12"`) that this machine has. Raises PythonError."""
    for version in versions:
        for candidate in _candidates(version):
            if _says([*candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]) == version:
                return Path(_says([*candidate, "-c", "import sys; print(sys.executable)"]))
    wanted = " or ".join(versions)
    raise PythonError(
        f"it needs Python {wanted}, which is not on this machine (looked on PATH, in pyenv's versions and at uv). "
        f"Install Python {versions[0]} or uv, or name an interpreter that has the framework with --python"
    )


def _candidates(version: str) -> Iterator[list[str]]:
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        yield [getattr(sys, "_base_executable", "") or sys.executable]
    found = shutil.which(f"python{version}")
    if found:
        yield [found]
    if os.name == "nt" and shutil.which("py"):
        yield ["py", f"-{version}"]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    installed = [folder for folder in root.glob(f"{version}.*") if folder.name.split(".")[-1].isdigit()]
    for folder in sorted(installed, key=lambda folder: int(folder.name.split(".")[-1]), reverse=True):
        yield [str(folder / ("python.exe" if os.name == "nt" else "bin/python"))]
    uv = find_uv()
    if uv:
        place = _says([uv, "python", "find", "--no-project", version])
        if place:
            yield [place]


def _says(command: list[str]) -> str:
    """What a program prints; empty when it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=60,
            env=clean_environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
