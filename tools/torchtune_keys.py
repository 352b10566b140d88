"""What was seen of a recipe's keys, and the schema facts that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from schema_store import Facts

Path: TypeAlias = tuple[str, ...]
Guard: TypeAlias = tuple[str, bool]


@dataclass
class Reads:
    """All that was seen of one key."""

    hard: list[tuple[Guard, ...]] = field(default_factory=list)
    soft: list[Facts] = field(default_factory=list)
    facts: Facts = field(default_factory=dict)


def dotted(path: Path) -> str:
    """A path as a key of the schema; an item of a list is written `name[]`."""
    return ".".join(path)


def facts_of(seen: dict[Path, Reads]) -> dict[str, Facts]:
    """The facts of every key, by its dotted name."""
    _merge_items(seen)
    names = {path for path, reads in seen.items() if reads.facts.get("dotted_path")}  # strings: nothing below them
    return {
        dotted(path): _facts(reads)
        for path, reads in sorted(seen.items())
        if path and path[-1] != "_component_" and path[:-1] not in names
    }


def _merge_items(keys: dict[Path, Reads]) -> None:
    """An item that is only instantiated says that the key takes a list of components."""
    for path in list(keys):
        if path and path[-1].endswith("[]"):
            whole = keys.get((*path[:-1], path[-1][:-2]))
            item = keys.pop(path)
            if whole is not None:
                whole.facts["list"] = True
                for name in ("component", "kwargs_of", "injects"):
                    if item.facts.get(name):
                        whole.facts.setdefault(name, item.facts[name])


def _facts(seen: Reads) -> Facts:
    facts: Facts = {"type": "any"}
    types = seen.facts.get("types", [])
    if types:
        facts.update(next((found for found in types if not found["type"].endswith("| None")), types[0]))
    if any(not guards for guards in seen.hard):
        facts["required"] = True
    elif seen.soft:
        given = [soft for soft in seen.soft if soft]
        facts.update(next((soft for soft in given if soft.get("default", "") is not None), given[0] if given else {}))
    elif seen.hard:
        facts["conditional"] = _condition(seen.hard)
    if seen.facts.get("component"):
        one = "dict[str, any]"
        facts["type"] = f"{one} | list[{one}]" if seen.facts.get("list") else one
    elif facts["type"] == "any" and facts.get("default") is not None:
        facts["type"] = type(facts["default"]).__name__
    if "default" in facts and facts["default"] is None and facts["type"] != "any" and "None" not in facts["type"]:
        facts["type"] += " | None"
    for name in ("component", "list", "dotted_path", "nonnull", "injects", "kwargs_of", "refused"):
        if seen.facts.get(name):
            facts[name] = seen.facts[name]
    return facts


def _condition(hard: Sequence[tuple[Guard, ...]]) -> str:
    """The key that the read hangs on: the innermost that must hold, else the innermost that must not (`!key`)."""
    guards = min(hard, key=len)
    holding = [key for key, holds in guards if holds]
    return holding[-1] if holding else f"!{guards[-1][0]}"
