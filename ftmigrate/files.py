"""Writing files whole or not at all."""

from __future__ import annotations

import filecmp
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def write_atomically(path: Path, text: str, *, force: bool = True) -> None:
    """Write a whole file or nothing. A file that says the same is left untouched.

    Raises FileExistsError where another file stands there, unless `force`.
    """
    if path.is_file() and path.read_bytes() == text.encode():
        return
    if path.exists() and not force:
        raise _exists(path)
    with atomic(path, force=force) as stream:
        stream.write(text)


@contextmanager
def atomic(path: Path, *, force: bool = True) -> Iterator[TextIO]:
    """A stream whose text becomes the file when all of it is there. As `write_atomically`.

    What is no regular file (a device, a pipe) is written to, not replaced; a link's file is replaced, not the link.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        if not force:
            raise _exists(path)
        with path.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # named before it is there, so that an interruption at any moment finds what to remove
    name = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        with name.open("x", encoding="utf-8", newline="\n") as stream:
            yield stream
        if path.is_file() and filecmp.cmp(name, path, shallow=False):
            name.unlink()
            return
        if path.exists() and not force:
            raise _exists(path)
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} exists already; --force overwrites it")
