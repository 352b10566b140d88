"""What is told of a key: its facts in the pinned schema, and what it is for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ftmigrate.document.model import Path
from ftmigrate.frameworks.table import Entry, Heading, Private, Unread, matches
from ftmigrate.linter.subject import Subject, table
from ftmigrate.run import vocabulary
from ftmigrate.schema import Facts
from ftmigrate.server.places import Ways, removed

_SHOWN = 24


def kind(ways: Ways) -> str:
    """The type and the default in a few words: `int | None = null`."""
    for facts in ways:
        name = str(facts.get("type", "any"))
        known = "" if name == "any" else name
        default = _default(facts)
        if known or default:
            return f"{known} = {default}".strip() if default else known
    return ""


def _default(facts: Facts) -> str:
    if "default" in facts:
        return json.dumps(facts["default"], ensure_ascii=False)
    return str(facts.get("expression", ""))


def standing(ways: Ways) -> str:
    """Whether a key is required, deprecated or removed, as a sentence; empty for none of these."""
    if removed(ways):
        other = next((facts["removed"] for facts in ways if isinstance(facts.get("removed"), str)), None)
        return f"Removed: use `{other}`." if other else "Removed."
    for facts in ways:
        if other := facts.get("deprecated"):
            return f"Deprecated: write `{other}`." if isinstance(other, str) else "Deprecated."
    return "Required." if any(facts.get("required") and not facts.get("conditional") for facts in ways) else ""


def facts(ways: Ways) -> list[str]:
    """Type, default, allowed values, standing, as lines of Markdown."""
    found = [f"`{name}`"] if (name := kind(ways)) else []
    for one in ways:
        if one.get("enum"):
            shown = [f"`{value}`" for value in one["enum"][:_SHOWN]]
            found.append("Allowed: " + ", ".join(shown) + (", …" if len(one["enum"]) > _SHOWN else "") + ".")
            break
    found += [said] if (said := standing(ways)) else []
    return found


def purpose(subject: Subject, path: Path) -> list[str]:
    """What a key is for, from the table: the settings it may say, with their meaning."""
    found: dict[str, None] = {}
    for entry in _entries(subject.framework.name, subject.version).get(str(path[0]), ()):
        if not any(matches(key, path) and _depth(key) == len(path) for key in getattr(entry, "keys", ())):
            continue
        if isinstance(entry, Private):
            found[f"{entry.effect} (only {subject.framework.title} has it)"] = None
        elif isinstance(entry, Unread):
            found[entry.why] = None
        else:
            found.update(dict.fromkeys(_meanings(getattr(entry, "settings", ()))))
    return list(found)


def _meanings(settings: tuple[str, ...]) -> Iterator[str]:
    for setting in settings:
        spec = vocabulary.SPECS.get(setting)
        if spec is not None:
            yield f"{setting}: {spec.meaning}" + (f" ({spec.unit})" if spec.unit else "")


def _depth(key: str) -> int:
    return key.count(".") + key.count("[]") + 1


@cache
def _entries(framework: str, version: str) -> Mapping[str, list[Entry]]:
    """The table's entries by the first part of their keys."""
    found: dict[str, list[Entry]] = {}
    for entry in table(framework, version).entries:
        if isinstance(entry, Heading):
            continue
        keys: Any = getattr(entry, "keys", ())
        for top in dict.fromkeys(key.partition(".")[0].partition("[")[0] for key in keys):
            found.setdefault(top, []).append(entry)
    return found
