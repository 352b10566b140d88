"""The folder of an environment that is being built: where its programs lie, moving it, clearing what was left."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def scripts(folder: Path) -> Path:
    return folder / ("Scripts" if os.name == "nt" else "bin")


def python(folder: Path) -> Path:
    return scripts(folder) / ("python.exe" if os.name == "nt" else "python")


def relocate(old: Path, new: Path) -> None:
    """Let the scripts of the environment name the place that it will be renamed to."""
    before, after = os.fsencode(old), os.fsencode(new)
    for path in [*scripts(old).iterdir(), old / "pyvenv.cfg"]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if before in content and b"\0" not in content:
                path.write_bytes(content.replace(before, after))


def sweep(home: Path) -> None:
    """Remove what builds of `home` left whose process was killed."""
    for folder in home.parent.glob(f".{home.name}.*"):
        number = folder.name.removeprefix(f".{home.name}.").split(".")[0]
        if number.isdigit() and not _alive(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(number: int) -> bool:
    if os.name != "posix":
        return True  # os.kill would end it there
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def megabytes(folder: Path) -> int:
    """The size of the files of a tree; a file linked twice counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                facts = os.lstat(os.path.join(where, name))
                if (facts.st_dev, facts.st_ino) not in seen:
                    seen.add((facts.st_dev, facts.st_ino))
                    total += facts.st_size
    return round(total / 1_000_000)
