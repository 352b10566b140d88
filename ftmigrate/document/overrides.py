"""Command-line overrides, by the rules of torchtune's launcher.

`key=value` (dotted and indexed keys, values as YAML), `~key` deletes. A mapping with a `_component_` that is set as a
whole gets a new `_component_` and keeps its other keys. Deletions see the file; values are merged after all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn, TypeAlias

from . import interpolation
from .codes import Code, error
from .interpolation import MISSING
from .model import DocumentError, Path, Position, Unresolved, Value, format_path
from .references import split_key
from .scalars import OMEGACONF, Dialect
from .unknown import is_marked, plain, unmark

COMPONENT = "_component_"


class _Given(NamedTuple):
    """The text of a value and the argument that it stands in."""

    raw: str
    argument: str


_Raws: TypeAlias = dict[Path, _Given]


def apply(
    tree: dict[str, Value], overrides: Sequence[str], dialect: Dialect, read: Callable[[str], Value]
) -> tuple[dict[str, Value], dict[Path, str]]:
    """The tree with the overrides applied, and the text of the value for each path that one set.

    `read` reads a value as YAML. Raises DocumentError with code `override`.
    """
    tree = copy.deepcopy(tree)
    given: dict[str, Value] = {}
    raws: _Raws = {}
    for argument in overrides:
        if argument.startswith("--"):
            _refuse(argument, "flags are not overrides; write `key=value`")
        if argument.startswith("~"):
            _delete(tree, argument)
            continue
        if argument.count("=") != 1:
            what = "the value contains a further `=`" if "=" in argument else "there is no `=` in it"
            _refuse(argument, f"an override is `key=value`, and {what}")
        key, raw = argument.split("=")
        if is_marked(key):
            _refuse(argument, f"only the shell knows which key `{plain(key)}` is")
        if _is_component(tree.get(key)):
            key += "." + COMPONENT
        _set(given, key, unmark(_read(argument, key, raw, read)), _Given(plain(raw), argument), raws)
    applied: dict[Path, str] = {}
    _merge(tree, given, (), raws, applied, _Base(tree, dialect))
    return tree, applied


def _refuse(argument: str, reason: str) -> NoReturn:
    end = "" if reason.endswith("?") else "."
    raise error(Code.OVERRIDE, f"The override `{plain(argument)}` is refused: {reason}{end}", Position(1, 1))


def _is_component(node: Value) -> bool:
    return isinstance(node, dict) and COMPONENT in node


def _read(argument: str, key: str, raw: str, read: Callable[[str], Value]) -> Value:
    if raw == "None":
        return None
    try:
        # the launcher keeps the zeros of `00004` in this one key
        return read("!!str " + raw if "max_filename" in key else raw)
    except DocumentError as cause:
        place = cause.diagnostic.position
        reason = cause.diagnostic.message.rstrip(".")
        _refuse(argument, f"its value cannot be read (character {place.column}): {reason}")


def _delete(tree: dict[str, Value], argument: str) -> None:
    dotted = argument[1:].split("=")[0]
    if COMPONENT in dotted:
        _refuse(argument, f"a `{COMPONENT}` cannot be removed; give another one with `{dotted.split('.')[0]}=...`")
    trail: list[tuple[dict[str, Value], str]] = []
    node: Value = tree
    for key in dotted.split("."):
        if not isinstance(node, dict) or key not in node:
            _refuse(argument, f"the file has no key `{dotted}`" + _near(tree, dotted))
        trail.append((node, key))
        node = node[key]
    for depth, (parent, key) in enumerate(reversed(trail)):
        if depth and parent[key]:
            break  # a mapping is removed along with its last key
        if _is_component(parent[key]):
            _refuse(argument, f"`{dotted}` is a component and cannot be removed; remove its keys, or give another one")
        del parent[key]


def _near(tree: dict[str, Value], dotted: str) -> str:
    from difflib import get_close_matches

    known: list[str] = []
    todo: list[tuple[str, Value]] = list(tree.items())
    for name, node in todo:
        known.append(name)
        if isinstance(node, dict):
            todo += [(f"{name}.{key}", below) for key, below in node.items()]
    near = get_close_matches(dotted, known, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _set(given: dict[str, Value], key: str, value: Value, source: _Given, raws: _Raws) -> None:
    """Put a value under a key path, as it would be in a tree of its own."""
    steps = split_key(key)
    node: dict[str, Value] | list[Value] = given
    path: Path = ()
    for step in steps[:-1]:
        here = _index(node, step, source.argument)
        below = _get(node, here)
        path = (*path, here)
        if isinstance(below, str) and "${" in below:
            _refuse(source.argument, f"`{format_path(path)}` was set to `{below}`; give the whole mapping instead")
        if not isinstance(below, dict | list):
            below = {}
            _put(node, here, below)
            _forget(raws, path)
        node = below
    last = _index(node, steps[-1], source.argument)
    path = (*path, last)
    before = _get(node, last)
    if isinstance(before, dict) and isinstance(value, dict):
        _join(before, value, path, source, raws)
        return
    if (isinstance(before, dict) and isinstance(value, list)) or (isinstance(before, list) and isinstance(value, dict)):
        _refuse(source.argument, "a list and a mapping cannot be merged")
    _put(node, last, value)
    _forget(raws, path)
    raws[path] = source


def _join(before: dict[str, Value], value: dict[str, Value], path: Path, source: _Given, raws: _Raws) -> None:
    for name, item in value.items():
        known = before.get(name)
        if isinstance(known, dict) and isinstance(item, dict):
            _join(known, item, (*path, name), source, raws)
        else:
            before[name] = item
            _forget(raws, (*path, name))
            raws[(*path, name)] = source


def _index(node: dict[str, Value] | list[Value], step: str, argument: str) -> str | int:
    if isinstance(node, dict):
        return step
    try:
        index = int(step)
    except ValueError:
        _refuse(argument, f"`{step}` is no number of an item of a list")
    if not -len(node) <= index < len(node):
        _refuse(argument, f"the list has {len(node)} item{'' if len(node) == 1 else 's'}")
    return index % len(node)


def _get(node: dict[str, Value] | list[Value], key: str | int) -> Value:
    if isinstance(node, dict):
        return node.get(str(key))
    return node[int(key)]


def _put(node: dict[str, Value] | list[Value], key: str | int, value: Value) -> None:
    if isinstance(node, dict):
        node[str(key)] = value
    else:
        node[int(key)] = value


def _forget(raws: _Raws, path: Path) -> None:
    for below in [known for known in raws if known[: len(path)] == path]:
        del raws[below]


class _Base:
    """The file's tree, asked for the mapping that a `${...}` stands for."""

    def __init__(self, tree: dict[str, Value], dialect: Dialect) -> None:
        self._tree = tree
        self._dialect = dialect

    def expand(self, path: Path, node: Value) -> Value:
        if self._dialect is OMEGACONF and isinstance(node, str) and "${" in node:
            target = interpolation.container(self._tree, path, node)
            return copy.deepcopy(target) if target is not None else node
        return node


def _merge(
    into: dict[str, Value],
    given: dict[str, Value],
    path: Path,
    raws: _Raws,
    applied: dict[Path, str],
    base: _Base,
) -> None:
    for name, value in given.items():
        here = (*path, name)
        if value == MISSING and name in into and not isinstance(value, Unresolved):
            continue
        if isinstance(value, dict):
            before = base.expand(here, into.get(name))
            if isinstance(before, list):
                _refuse(
                    _source(here, raws).argument,
                    "a list of the file cannot be changed item by item; give the whole list",
                )
            if isinstance(before, dict) and value:
                into[name] = before
                _merge(before, value, here, raws, applied, base)
                continue
            if isinstance(before, dict):
                continue
            into[name] = {}
            if value:
                _merge(into[name], value, here, raws, applied, base)  # type: ignore[arg-type]
                continue
        elif isinstance(value, list) and isinstance(base.expand(here, into.get(name)), dict):
            _refuse(_source(here, raws).argument, "a mapping of the file cannot be replaced by a list")
        else:
            into[name] = value
        applied[here] = _source(here, raws).raw


def _source(path: Path, raws: _Raws) -> _Given:
    """What set the value at a path: at it, above it, or below it."""
    for length in range(len(path), 0, -1):
        if path[:length] in raws:
            return raws[path[:length]]
    return next(given for known, given in raws.items() if known[: len(path)] == path)
