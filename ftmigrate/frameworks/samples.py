"""Values that a key's facts in the pinned schema allow: a few of each kind, for checks and generated configs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftmigrate.document.model import Value
from ftmigrate.schema import Facts

_SCALARS: dict[str, tuple[Value, ...]] = {
    "int": (1, 2),
    "float": (0.5, 1.0),
    "bool": (True, False),
    "str": ("text", ""),
    "Path": ("text",),
    "any": ("text", 1, True, {}, [1]),
    "None": (None,),
}


def samples(facts: Facts) -> Iterator[Value]:
    """At least one value; the allowed values of an enumeration, the default, and one or two of each type."""
    seen: list[str] = []
    for value in _all(facts):
        if repr(value) not in seen:
            seen.append(repr(value))
            yield value
    if not seen:
        yield "text"


def _all(facts: Facts) -> Iterator[Value]:
    allowed = facts.get("enum") or ()
    text = str(facts.get("type", "any"))
    yield from (list(allowed[:2]) if text.startswith("list[") and not facts.get("list") else value for value in allowed)
    if facts.get("default") is not None:
        yield facts["default"]
    for member in re.split(r"\s*\|\s*(?![^\[]*\])", text):
        if not allowed or member in ("bool", "None", "int"):
            yield from _of(member, facts)


def _of(member: str, facts: Facts) -> Iterator[Value]:
    head, _, rest = member.partition("[")
    inner = rest.removesuffix("]")
    if head == "int" and not facts.get("enum"):
        least = facts.get("ge", facts.get("gt", 0) + 1 if "gt" in facts else 1)
        yield from (max(int(least), 1), max(int(least), 1) + 1)
    elif head in _SCALARS:
        yield from _SCALARS[head]
    elif head in ("list", "tuple"):
        size = inner.count(",") + 1 if head == "tuple" else 1
        yield [_first(inner.split(",")[0])] * size
        if head == "list":
            yield []
    elif head == "dict":
        yield {"name": _first(inner.split(",")[-1])}
        yield {}
    else:
        yield "text"


def _first(member: str) -> Value:
    return _SCALARS.get(member.split("|")[0].strip(), ("text",))[0]
