"""Which model a checkpoint directory, a tokenizer path and the header's download command together mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from posixpath import normpath
from typing import Any

from ftmigrate.document.model import Document, Unresolved

_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|<[^>]*>|\S)+""")
_PART = re.compile(r"^(.*?)-?(\d{5})-of-(\d{5})(\.\w+)$")


def downloads(document: Document) -> Iterator[tuple[str, str]]:
    """(hub id, directory) of each `tune download` command in the header. Without --output-dir it is /tmp/<name>.

    The default directory is that of torchtune 0.6.1 (torchtune/_cli/download.py).
    """
    yield from _downloads(document.header)


@lru_cache(maxsize=16)
def _downloads(header: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for line in header:
        start = line.find("tune download ")
        if start < 0:
            continue
        words = _words(line[start:])
        if len(words) < 3 or "/" not in words[2]:
            continue
        directory = f"/tmp/{words[2].split('/')[-1]}"
        for index, word in enumerate(words):
            if word == "--output-dir" and index + 1 < len(words):
                directory = words[index + 1]
        found.append((words[2], normpath(directory)))
    return found


def _words(command: str) -> list[str]:
    """The words of a command in a comment, where `<what is to be put in>` is one of them."""
    return [word.replace('"', "").replace("'", "") for word in _WORD.findall(command)]


def hub_id(document: Document, directory: Any) -> str | None:
    """The hub model that the header says was downloaded into this directory (or one below it)."""
    if not isinstance(directory, str):
        return None
    wanted = normpath(directory)
    for name, place in downloads(document):
        if wanted == place or wanted == f"{place}/original":
            return name
    return None


def inside(path: Any, directory: Any) -> bool:
    """Whether a file stands in the checkpoint directory (or its parent's, for `original/`)."""
    if not isinstance(path, str) or not isinstance(directory, str):
        return False
    base = normpath(directory)
    base = base.removesuffix("/original")
    return normpath(path).startswith(base + "/")


_WHOLE = ("model.safetensors", "pytorch_model.bin", "consolidated.00.pth", "consolidated.pth")
_PATTERN = re.compile(r"^(?:model|pytorch_model|ft-model)-\{\}-of-\{\}\.(?:safetensors|bin)$")


def weights(files: Any) -> object:
    """`all N files` where the list is a whole checkpoint, the list itself where files are missing or unknown."""
    if isinstance(files, Unresolved):
        return files
    if isinstance(files, dict):
        pattern, last = str(files.get("filename_format")), str(files.get("max_filename"))
        return f"all {int(last)} files" if _PATTERN.match(pattern) and last.isdigit() else (f"{pattern} up to {last}",)
    found = [str(name) for name in files] if isinstance(files, list) else [str(files)]
    return f"all {len(found)} files" if _whole(found) else tuple(found)


def _whole(files: Sequence[str]) -> bool:
    parts = [match for name in files if (match := _PART.match(name))]
    if len(parts) == len(files) and parts:
        return {int(part[2]) for part in parts} == set(range(1, int(parts[0][3]) + 1))
    if len(files) == 1:
        return files[0] in _WHOLE
    # Meta's own layout: consolidated.00.pth to consolidated.NN.pth
    return dict.fromkeys(files) == {f"consolidated.{n:02d}.pth": None for n in range(len(files))}
