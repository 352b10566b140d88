"""Level `load`: the target framework's own loader takes the file, and keeps what we wrote with the value we meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from ftmigrate.document.model import Path as KeyPath
from ftmigrate.document.model import format_path
from ftmigrate.verify.probe import Probe


class Absent:
    """The resolved config has no such key."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


class Lost(NamedTuple):
    """A key that we wrote and the framework did not keep; `resolved` is ABSENT where it is gone altogether."""

    path: str
    wrote: object
    resolved: object


class LoadReport(Struct, frozen=True):
    """What the framework's loader made of a file. `accepted` says nothing of `lost`: both must be looked at."""

    accepted: bool
    error: str | None
    lost: tuple[Lost, ...]
    resolved: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.accepted and not self.lost


def check_load(
    probe: Probe,
    source: str | Path,
    written: Mapping[str, object] | Mapping[KeyPath, object],
    *,
    gpus: int = 1,
    nodes: int = 1,
    compute_capability: str = "sm_90",
    rows: Sequence[Sequence[Mapping[str, object]]] | None = None,
    beside: Mapping[str, str] | None = None,
) -> LoadReport:
    """Hand a file (a Path) or its text (a str) to the framework's loader and look for each key that we wrote.

    `written` maps paths (`a.b[0].c`, or as tuples) to the values that our own reader gives them. A key written as
    null may be absent. rows: some for each data source, so that a probe that can may load them. beside: files that the config names, by name. Raises ProbeError where the probe
    gives no answer.
    """
    what: dict[str, Any] = {"path": str(source)} if isinstance(source, Path) else {"text": source}
    what |= {} if rows is None else {"rows": [[dict(row) for row in listed] for listed in rows]}
    what |= {"beside": dict(beside)} if beside else {}
    answer = probe.request("load", **what, gpus=gpus, nodes=nodes, compute_capability=compute_capability)
    if not answer["ok"]:
        error = answer["error"]
        return LoadReport(False, f"{error['stage']}: {error['type']}: {error['message']}", ())
    resolved = answer["resolved"]
    lost = []
    for path, value in written.items():
        keys = parse_path(path) if isinstance(path, str) else path
        found = lookup(resolved, keys)
        if not kept(value, found):
            lost.append(Lost(format_path(keys), value, found))
    notes = [str(note) for note in answer.get("notes", ())]
    for component, names in answer.get("missing", {}).items() if rows is None else ():
        notes.append(f"{component}: the recipe must supply {', '.join(names)}")
    return LoadReport(True, None, tuple(lost), resolved, tuple(notes))


def parse_path(text: str) -> KeyPath:
    """`a.b[0].c` as `("a", "b", 0, "c")`, the inverse of `format_path`."""
    keys: list[str | int] = []
    for part in text.split("."):
        name, *indices = part.split("[")
        if name:
            keys.append(name)
        keys += [int(index.removesuffix("]")) for index in indices]
    return tuple(keys)


def lookup(tree: object, path: KeyPath) -> object:
    """What stands at `path`, else ABSENT."""
    node = tree
    for key in path:
        if isinstance(node, list) and isinstance(key, int):
            node = node[key] if 0 <= key < len(node) else ABSENT
        elif isinstance(node, Mapping):
            node = node.get(key, ABSENT)
        else:
            return ABSENT
    return node


def kept(wrote: object, resolved: object) -> bool:
    """Whether what was written is what was resolved; null and absent are one."""
    return wrote is None if resolved is ABSENT else same(wrote, resolved)


def same(wrote: object, resolved: object) -> bool:
    """Equality of values: numbers by number, a boolean only to a boolean, collections item by item."""
    if isinstance(wrote, bool) or isinstance(resolved, bool):
        return wrote is resolved
    if isinstance(wrote, int | float) and isinstance(resolved, int | float):
        return wrote == resolved
    if isinstance(wrote, list | tuple) and isinstance(resolved, list | tuple):
        return len(wrote) == len(resolved) and all(same(a, b) for a, b in zip(wrote, resolved, strict=True))
    if isinstance(wrote, Mapping) and isinstance(resolved, Mapping):
        # a framework may complete a mapping with its defaults; what we wrote must still stand in it
        return all(kept(value, resolved.get(key, ABSENT)) for key, value in wrote.items())
    return wrote == resolved
