"""What changed between two pinned versions of one framework."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from ftmigrate.schema import SECTION, Facts, Schema


class Kind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    DEPRECATED = "deprecated"
    DEFAULT = "default"
    TYPE = "type"
    VALUES = "values"
    LIMITS = "limits"
    REQUIRED = "required"


LIMITS = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "strict", "nonnull", "refused")
NONE = "(none)"  # how the absence of a default is spelt in text


class Change(Struct, frozen=True):
    """One change. `key` is "" where it is about the section itself; `replacement` is what to use instead.

    `before` and `after` hold what the kind speaks of: a default (`{"default": value}`, `{}` where there is none), a
    type, the allowed values (null: any), limits; for the other kinds all facts of the key. A key whose default came or
    went with its being required is told as REQUIRED.
    """

    kind: Kind
    section: str
    key: str
    before: Any = None
    after: Any = None
    replacement: str | None = None


def compare(old: Schema, new: Schema) -> list[Change]:
    """All changes, by section and key."""
    changes: list[Change] = []
    for section in sorted({*old.sections, *new.sections}):
        before, after = old.sections.get(section), new.sections.get(section)
        if before is None:
            changes.append(Change(Kind.ADDED, section, SECTION))
        elif after is None:
            changes.append(Change(Kind.REMOVED, section, SECTION))
        else:
            changes += _section(section, before, after)
    return changes


def _section(section: str, before: Mapping[str, Facts], after: Mapping[str, Facts]) -> Iterator[Change]:
    if (told := after.get(SECTION, {}).get("deprecated")) and not before.get(SECTION, {}).get("deprecated"):
        yield Change(Kind.DEPRECATED, section, SECTION, replacement=_replacement(told))
    renamed = dict(_renamed(before, after))
    for key in sorted({*before, *after} - {SECTION}):
        old, new = before.get(key), after.get(key)
        if key in renamed:
            yield Change(Kind.RENAMED, section, key, old, after.get(renamed[key]), renamed[key])
        elif old is None:
            assert new is not None
            if new.get("removed"):  # named only to be refused, where any key was let through before
                yield Change(Kind.REMOVED, section, key, after=new, replacement=_replacement(new["removed"]))
            elif key not in renamed.values():
                yield Change(Kind.ADDED, section, key, after=new)
        elif new is None:
            pointer = _replacement(old.get("deprecated") or old.get("removed"))
            yield Change(Kind.REMOVED, section, key, before=old, replacement=pointer)
        else:
            yield from _facts(section, key, old, new)


def _renamed(before: Mapping[str, Facts], after: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    """Keys that have given way to a new one: named as their replacement, or as what they are another spelling of."""
    for key, old in before.items():
        if key == SECTION:
            continue
        new = after.get(key, {})
        other = new.get("alias_of") or _replacement(new.get("removed") or new.get("deprecated"))
        if key not in after:
            other = _replacement(old.get("deprecated") or old.get("removed"))
        if other and other in after and other not in before:
            yield key, other


def _facts(section: str, key: str, old: Facts, new: Facts) -> Iterator[Change]:
    for fact, kind in (("removed", Kind.REMOVED), ("deprecated", Kind.DEPRECATED)):
        if new.get(fact) and not old.get(fact):
            yield Change(kind, section, key, old, new, _replacement(new[fact]))
    if bool(old.get("required")) != bool(new.get("required")):
        yield Change(Kind.REQUIRED, section, key, old, new)
    elif not _same(_default(old), _default(new)):
        yield Change(Kind.DEFAULT, section, key, _default(old), _default(new))
    if old.get("type") != new.get("type"):
        yield Change(Kind.TYPE, section, key, old.get("type"), new.get("type"))
    if not _same(old.get("enum"), new.get("enum")) or bool(old.get("open")) != bool(new.get("open")):
        yield Change(Kind.VALUES, section, key, _values(old), _values(new))
    if not _same(_limited(old), _limited(new)):
        yield Change(Kind.LIMITS, section, key, _limited(old), _limited(new))


def _default(facts: Facts) -> dict[str, Any]:
    return {name: facts[name] for name in ("default", "expression", "default_key") if name in facts}


def _limited(facts: Facts) -> dict[str, Any]:
    return {name: facts[name] for name in LIMITS if name in facts}


def _values(facts: Facts) -> list[Any] | None:
    """The only values allowed; None where there is no such list."""
    return None if facts.get("open") else facts.get("enum")


def _replacement(told: object) -> str | None:
    return told if isinstance(told, str) else None


def _same(a: object, b: object) -> bool:
    """Equality in which true is not 1 and 1 is not 1.0."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def describe(change: Change) -> str:
    """A change in words, without its section."""
    key = change.key
    match change.kind:
        case Kind.ADDED:
            return f"{key}{_about(change.after)}" if key else ""
        case Kind.REMOVED:
            return f"{key}{_use(change.replacement)}"
        case Kind.RENAMED:
            return f"{key} is now {change.replacement}"
        case Kind.DEPRECATED:
            return f"{key}{_use(change.replacement)}"
        case Kind.REQUIRED:
            return f"{key}{_about(change.after)}" + ("" if change.after.get("required") else " (was required)")
        case Kind.DEFAULT:
            return f"{key}: {_spell(change.before)} -> {_spell(change.after)}"
        case Kind.TYPE:
            return f"{key}: {change.before} -> {change.after}"
        case Kind.VALUES:
            return f"{key}: {_difference(change.before, change.after)}"
        case Kind.LIMITS:
            return f"{key}: {_limits(change.before)} -> {_limits(change.after)}"


def _about(facts: Facts) -> str:
    told = [str(facts.get("type", "any"))]
    if facts.get("required"):
        told.append("required")
    elif _default(facts):
        told.append(f"default {_spell(_default(facts))}")
    return ": " + ", ".join(told)


def _use(other: str | None) -> str:
    return f": use {other}" if other else ""


def _spell(default: Mapping[str, Any]) -> str:
    if "default" in default:
        return json.dumps(default["default"], ensure_ascii=False)
    if "default_key" in default:
        return f"the value of {default['default_key']}"
    return str(default.get("expression", NONE))


def _limits(limits: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in limits.items()) or NONE


def _difference(before: list[Any] | None, after: list[Any] | None) -> str:
    if before is None or after is None:
        return f"{NONE if before is None else before} -> {NONE if after is None else after}"
    told = [f"+ {', '.join(map(str, [v for v in after if v not in before]))}"] if set(after) - set(before) else []
    if set(before) - set(after):
        told.append(f"- {', '.join(map(str, [v for v in before if v not in after]))}")
    return "; ".join(told) or "in another order"
