"""A framework's own checks of a config as data: conditions over its keys, run the way the framework runs its checks.

A row (`Check`) says when a config is refused or warned about; what a framework changes on the way (`Rewrite`) is applied
between them, so that each condition sees the values that the framework's own check would see.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from ftmigrate.document.model import Path, Unresolved

MAPPINGS = (dict, Mapping)
"""For `isinstance`, which finds out much faster that a value is a dict."""


class Undecided(Exception):
    """The value is known to the run only."""


class View(Protocol):
    """The config as a check sees it."""

    def get(self, key: str) -> Any:
        """The value at a dotted key, None where there is none. Raises Undecided."""
        ...


Predicate: TypeAlias = Callable[[View], bool]


class Condition(Struct, frozen=True):
    """Whether something holds of a config; `keys` are those it looks at, the most telling first.

    item: for what holds of an item of a list, the first of which it does.
    """

    holds: Predicate
    keys: tuple[str, ...] = ()
    item: Callable[[View], Path] | None = None

    def __and__(self, other: Condition) -> Condition:
        return every(self, other)

    def __or__(self, other: Condition) -> Condition:
        return some(self, other)

    def surely(self, view: View) -> bool:
        """Whether it holds, whatever the run itself will know."""
        try:
            return self.holds(view)
        except Undecided:
            return False

    def __invert__(self) -> Condition:
        return Condition(lambda view: not self.holds(view), self.keys)


def _keys(conditions: Sequence[Condition]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for condition in conditions for key in condition.keys))


def every(*conditions: Condition) -> Condition:
    """All of them; one that is false decides, whatever is undecided."""
    item = next((condition.item for condition in conditions if condition.item is not None), None)
    return Condition(lambda view: not _decided(conditions, view, False), _keys(conditions), item)


def some(*conditions: Condition) -> Condition:
    """Any of them; one that is true decides, whatever is undecided."""
    return Condition(lambda view: _decided(conditions, view, True), _keys(conditions))


def _decided(conditions: Sequence[Condition], view: View, wanted: bool) -> bool:
    undecided = False
    for condition in conditions:
        try:
            if condition.holds(view) is wanted:
                return True
        except Undecided:
            undecided = True
    if undecided:
        raise Undecided
    return False


def test(holds: Predicate, *keys: str) -> Condition:
    """A condition that the language below has no words for."""
    return Condition(holds, keys)


def on(*keys: str) -> Condition:
    """All of the keys have a value that counts as true (not false, null, 0 or empty)."""
    return Condition(lambda view: all(bool(view.get(key)) for key in keys), keys)


def any_on(*keys: str) -> Condition:
    """Any of the keys has a value that counts as true."""
    return some(*(on(key) for key in keys))


def off(*keys: str) -> Condition:
    """None of the keys has a value that counts as true."""
    return Condition(lambda view: not any(bool(view.get(key)) for key in keys), keys)


def given(key: str) -> Condition:
    """The key has any value but null."""
    return Condition(lambda view: view.get(key) is not None, (key,))


def absent(key: str) -> Condition:
    return Condition(lambda view: view.get(key) is None, (key,))


def is_(key: str, *values: object) -> Condition:
    """The key has one of the values; true and 1 are not the same."""
    return Condition(lambda view: any(_same(view.get(key), value) for value in values), (key,))


def is_not(key: str, *values: object) -> Condition:
    return ~is_(key, *values)


def _same(found: object, wanted: object) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return found == wanted


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def above(key: str, limit: float) -> Condition:
    """The key's value is a number above the limit."""
    return Condition(lambda view: (number := _number(view.get(key))) is not None and number > limit, (key,))


def below(key: str, limit: float) -> Condition:
    return Condition(lambda view: (number := _number(view.get(key))) is not None and number < limit, (key,))


def numbers(relation: Callable[..., bool], *keys: str) -> Condition:
    """All of the keys are numbers that stand in the relation; false where any is none."""

    def holds(view: View) -> bool:
        found = [_number(view.get(key)) for key in keys]
        return None not in found and relation(*found)

    return Condition(holds, keys)


def differ(first: str, second: str) -> Condition:
    return Condition(lambda view: not _same(view.get(first), view.get(second)), (first, second))


def names(key: str, part: str) -> Condition:
    """The key's text has this part, in any letter case."""
    return Condition(lambda view: isinstance(value := view.get(key), str) and part in value.lower(), (key,))


def starts(key: str, *heads: str) -> Condition:
    return Condition(lambda view: isinstance(value := view.get(key), str) and value.startswith(heads), (key,))


def among(*keys: str, more_than: int) -> Condition:
    """More than so many of the keys have a value that counts as true."""
    return Condition(lambda view: sum(bool(view.get(key)) for key in keys) > more_than, keys)


def each(key: str, condition: Condition) -> Condition:
    """Any item of the list fulfils the condition, which names keys of the item."""

    def first(view: View) -> int | None:
        items = view.get(key)
        found = enumerate(items) if isinstance(items, list) else ()
        return next((at for at, item in found if isinstance(item, Mapping) and condition.holds(Plain(item))), None)

    return Condition(lambda view: first(view) is not None, (key,), lambda view: (key, first(view) or 0))


class Plain:
    """A mapping as it stands."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    def get(self, key: str) -> Any:
        if "." not in key:
            value = self.data.get(key)
            if isinstance(value, Unresolved):
                raise Undecided
            return value
        node: Any = self.data
        for part in key.split("."):
            if isinstance(node, Unresolved):
                raise Undecided
            if not isinstance(node, MAPPINGS):
                return None
            node = node.get(part)
        if isinstance(node, Unresolved):
            raise Undecided
        return node


class Traced:
    """A view that notes which top-level keys were asked for."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.asked: set[str] = set()

    def get(self, key: str) -> Any:
        self.asked.add(key.partition(".")[0])
        return self.view.get(key)


def gate(condition: Condition, empty: View) -> frozenset[str] | None:
    """The top-level keys that must be other than in an empty config for the condition to hold; None if it holds there.

    What is asked, and so the answer, is the same for every config in which these keys are as in the empty one.
    """
    traced = Traced(empty)
    return None if condition.holds(traced) else frozenset(traced.asked)


class Repair(Struct, frozen=True):
    """What an edit would do about it: give a key a value, or take it away. `safe`: nobody could mean anything else."""

    key: str
    value: object = None
    remove: bool = False
    safe: bool = False


def put(key: str, value: object, *, safe: bool = False) -> Repair:
    return Repair(key, value, safe=safe)


def drop(key: str) -> Repair:
    return Repair(key, remove=True)


class Check(Struct, frozen=True):
    """One way in which the framework's check `source` refuses a config, or warns of it.

    `message` says what was found, what would be legal and how to repair it; `{key}` in it stands for the key's value.
    `keys`: where to point, where it is not at the keys of the condition. `told`: what tells it already, so that nobody is told
    twice: "schema" (the pinned schema's own facts; the condition is then not asked), or the code of another rule.
    """

    code: str
    source: str
    when: Condition
    message: str
    repair: Repair | None = None
    keys: tuple[str, ...] = ()
    told: str = ""

    def words(self, view: View) -> str:
        return filled(self.message, view)


def filled(text: str, view: View) -> str:
    """A text in which each `{key}` is the key's value."""
    return _FIELD.sub(lambda match: _shown(view, match.group(1)), text)


_FIELD = re.compile(r"\{([\w.]+)\}")


def _shown(view: View, key: str) -> str:
    from ftmigrate.run.display import to_text

    try:
        return to_text(view.get(key))
    except Undecided:
        return "…"


class Rewrite(Struct, frozen=True):
    """What the framework's check `source` changes in a config before later checks see it."""

    source: str
    apply: Callable[[dict[str, Any]], None]


class Found(Struct, frozen=True):
    """A check that a config does not pass; `paths` are the keys it is about that the config has, the first to point at."""

    check: Check
    message: str
    paths: tuple[Path, ...]


def find(check: Check, view: View, written: Mapping[str, Any]) -> Found | None:
    """The check's verdict. `view` is what the framework sees, `written` what the file says."""
    if not check.when.surely(view):
        return None
    paths = [_present(tuple(key.split(".")), written) for key in check.keys or check.when.keys]
    if check.when.item is not None and not check.keys:
        paths.insert(0, _present(check.when.item(view), written))
    return Found(check, check.words(view), tuple(dict.fromkeys(path for path in paths if path)))


def _present(path: Path, written: Mapping[str, Any]) -> Path:
    """As much of the path as the file has."""
    node: Any = written
    for depth, part in enumerate(path):
        if isinstance(node, list):
            here = isinstance(part, int) and part < len(node)
        else:
            here = isinstance(node, Mapping) and part in node
        if not here:
            return path[:depth]
        node = node[part]
    return path
