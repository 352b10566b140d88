"""Where the rows of a `datasets` entry are, and back.

Axolotl asks the disk whether `path` is a file, a directory or neither (then a hub id); here its looks decide.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ftmigrate.document.model import Unresolved, Value
from ftmigrate.run.source import Decoded, Location

_EXTENSIONS = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv", ".txt": "text"}
_BELOW = "/**"  # a pattern for all files of a hub dataset's directory
_LOCAL_ENDS = (".json", ".jsonl", ".parquet", ".arrow", ".csv", ".txt", ".zst", ".gz")


def decode_place(entry: Mapping[str, Value], part: str) -> dict[str, Decoded]:
    def given(*names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name in entry)

    location, read = _location(entry)
    folder = None
    if isinstance(location, Location) and location.format is None and len(location.files) == 1:
        folder = location.files[0].removesuffix(_BELOW) if location.files[0].endswith(_BELOW) else None
        location = Location(location.path) if folder else location
    split = entry.get("split") or ("test" if part == "test_datasets" and not _is_file(location) else "train")
    names = entry.get("name")
    options = {
        key: entry[key]
        for key in ("trust_remote_code", "shards", "shards_idx", "skip")
        if entry.get(key) not in (None, False)
    }
    return {
        "location": Decoded(location, given(*read)),
        "subset": Decoded(tuple(names) if isinstance(names, list) else names, given("name")),
        "split": Decoded(split, given("split")),
        "revision": Decoded(None if _is_file(location) else entry.get("revision"), given("revision")),
        "data_dir": Decoded(folder, given("data_files") if folder else ()),
        "load_options": Decoded(options, tuple(options)),
        "filter": Decoded(None, ()),
        "weight": Decoded(entry.get("weight"), given("weight")),
    }


def _is_file(location: Location | Unresolved) -> bool:
    return isinstance(location, Location) and location.format is not None


def _location(entry: Mapping[str, Value]) -> tuple[Location | Unresolved, tuple[str, ...]]:
    path = entry.get("path")
    if isinstance(path, Unresolved):
        return path, ("path",)
    if not isinstance(path, str):
        return Unresolved("no path"), ("path",)
    if is_local_file(path):
        return Location(path, _loader(entry, path)), ("path", "ds_type")
    files = entry.get("data_files")
    listed = (files,) if isinstance(files, str) else tuple(map(str, files)) if isinstance(files, list) else ()
    if not listed:
        return Location(path), ("path",)
    if _is_local_directory(path):
        loader = _loader(entry, path)
        single = Location(listed[0], loader)
        return single if len(listed) == 1 else Location(loader, loader, listed), ("path", "data_files", "ds_type")
    return Location(path, None, listed), ("path", "data_files")


def is_local_file(path: str) -> bool:
    """Whether a path names a file by its looks (the framework asks the disk)."""
    return "://" not in path and PurePath(path).suffix.lower() in _LOCAL_ENDS


def _is_local_directory(path: str) -> bool:
    return path.startswith((".", "/", "~")) or path.count("/") != 1


def _loader(entry: Mapping[str, Value], path: str) -> str:
    given = entry.get("ds_type")
    return str(given) if given else loader_of(path)


def loader_of(path: str) -> str:
    """The loader that Axolotl takes for a path without `ds_type`."""
    return next((loader for end, loader in _EXTENSIONS.items() if end in path), "json")


# --- back -------------------------------------------------------------------------------------------------------


def entry_of(source: Mapping[str, Any]) -> dict[str, Value]:
    """The keys of an entry that say where a source's rows are; what Axolotl cannot say is left out."""
    entry: dict[str, Value] = {}
    location = source.get("location")
    if isinstance(location, Location):
        entry = _written(location)
        folder = source.get("data_dir")
        if isinstance(folder, str) and location == Location(location.path):
            entry["data_files"] = [folder.rstrip("/") + _BELOW]
    elif isinstance(location, Unresolved):
        entry["path"] = location
    if source.get("subset") is not None:
        entry["name"] = source["subset"]
    if source.get("split") not in (None, "train"):
        entry["split"] = source["split"]
    for key in ("revision", "weight"):
        if source.get(key) is not None:
            entry[key] = source[key]
    options = source.get("load_options")
    if isinstance(options, Mapping) and options.get("trust_remote_code"):
        entry["trust_remote_code"] = True
    return entry


def _written(location: Location) -> dict[str, Value]:
    files: list[Value] = [*location.files]
    if location.format is not None and not files and set(location.path) & set("*?["):
        files = [location.path]  # `path` is looked for as it is written (utils/data/shared.py)
    if not files:
        entry: dict[str, Value] = {"path": location.path}
        if location.format is not None and loader_of(location.path) != location.format:
            entry["ds_type"] = location.format
        return entry
    if location.format is None:
        return {"path": location.path, "data_files": files}
    folders = [re.split(r"[*?\[]", name, maxsplit=1)[0].rpartition("/")[0] for name in map(str, files)]
    folder = os.path.commonpath(folders) or "."
    if not folder.startswith((".", "/", "~")):
        folder = f"./{folder}"  # else it would read as a hub id
    return {"path": folder, "ds_type": location.format, "data_files": files}
