"""What every framework's table must keep to, found out from its pinned schema alone: `problems` lists what is wrong.

A framework outside this repository runs the same checks on its own `Framework`::

    @pytest.mark.parametrize("version", FRAMEWORK.versions())
    def test_conformance(version):
        assert conformance.problems(FRAMEWORK, version) == []

`python -m ftmigrate.frameworks.conformance FILE [NAME…]` writes the counts of the newest versions to FILE, unless one of
those that may only fall has risen.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path as File
from typing import Any

from ftmigrate.document.model import Key, Path, from_tree
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.config_keys import Holds, Place, changed_keys, is_converted, places, put
from ftmigrate.frameworks.reader import Context, Reader
from ftmigrate.frameworks.registry import Framework
from ftmigrate.frameworks.samples import samples
from ftmigrate.frameworks.table import (
    Always,
    Derived,
    Entry,
    Field,
    Group,
    Heading,
    Missing,
    Pending,
    Private,
    Sources,
    Table,
    Unread,
    matches,
    to_path,
)
from ftmigrate.run import vocabulary
from ftmigrate.run.conditions import Condition
from ftmigrate.run.model import ClaimKind
from ftmigrate.schema import COMPONENT, SECTION

FALLING = ("pending", "unproven")
_FREE = ("dict", "any", "Mapping")
_MACHINE = re.compile(r"(?<![\w.])/(?:tmp|work|home|root|Users|opt|var|mnt|usr)/|[A-Za-z]:\\\\")


# --- the checks -------------------------------------------------------------------------------------------------


def problems(framework: Framework, version: str) -> list[str]:
    """All that is wrong with a framework's table at a version."""
    return [problem for check in CHECKS for problem in check(framework, version)]


def unanswered(framework: Framework, version: str) -> list[str]:
    """Settings that no entry answers, in any recipe; entries that answer what the vocabulary does not have."""
    table = framework.table(version)
    found = [f"{path}: no entry answers it" for path in vocabulary.GLOBAL_SETTINGS if path not in table.by_setting]
    found += [f"{path}: not in the vocabulary" for path in table.by_setting if path not in vocabulary.GLOBAL_SETTINGS]
    for condition in _conditions(table):
        found += [f"{path}: not in the vocabulary" for path in condition.settings if path not in vocabulary.SPECS]
    return found


def _conditions(table: Table) -> Iterator[Condition]:
    for entry in table.entries:
        when = getattr(entry, "when", None)
        if when is not None:
            yield when


def unread_sources(framework: Framework, version: str) -> list[str]:
    """Settings of a data source that reading one does not answer. Sources are made of all that the schema allows."""
    table = framework.table(version)
    own = {to_path(key)[0] for key in table.sources.own}
    wanted = set(vocabulary.SOURCE_SETTINGS)
    found: dict[str, str] = {}
    decoded = 0
    for reader, section in _readings(framework, version, lambda place: place.path[0] in own):
        for source in table.sources.decode(reader):
            decoded += 1
            owed = {name for name in wanted if _applies(vocabulary.SOURCE_PREFIX + name, reader)}
            for name in sorted((owed - set(source)) | (set(source) - wanted)):
                missing = "not answered" if name in wanted else "not in the vocabulary"
                found.setdefault(f"data.sources[].{name}: {missing}", section)
    if decoded:
        return [f"{problem} ({section})" for problem, section in found.items()]
    return [f"no value of {', '.join(table.sources.own)} was read as a data source"]


def _applies(setting: str, reader: Reader) -> bool:
    when = vocabulary.SPECS[setting].when
    return when is None or when.holds(reader)


def _readings(framework: Framework, version: str, wanted: Any) -> Iterator[tuple[Reader, str]]:
    """Documents that hold all keys of a section together, once with each sample of their values."""
    table = framework.table(version)
    grouped: dict[tuple[str, Path, str | None], list[Place]] = {}
    for place in places(framework, version):
        if wanted(place):
            grouped.setdefault((place.section, place.path[:-1], place.recipe), []).append(place)
    for (section, _, recipe), held in grouped.items():
        choices = [list(samples(place.facts)) for place in held]
        for turn in range(max(map(len, choices))):
            tree = copy.deepcopy(dict(held[0].around))
            for place, values in zip(held, choices, strict=True):
                put(tree, place.path, copy.deepcopy(values[turn % len(values)]))
            yield Reader(table, from_tree(tree), Context(recipe=recipe)), section


def unclaimed(framework: Framework, version: str, keys: frozenset[str] | None = None) -> list[str]:
    """Keys that a config may hold and nothing answers, and values that the schema allows and reading fails on.

    keys: look at these only; by default at all for the newest version, for another at those that it has otherwise.
    """
    if keys is None and version != framework.versions()[-1]:
        keys = changed_keys(framework, version)
    return list(_scan(framework, version, keys)[0])


@cache
def _scan(
    framework: Framework, version: str, keys: frozenset[str] | None
) -> tuple[dict[str, None], dict[str, set[ClaimKind]]]:
    """Read every key with every sample of its value: what is wrong, and what each key was claimed as."""
    table = framework.table(version)
    listed = {key for entry in table.entries if isinstance(entry, Pending) for key in entry.keys}
    wrong: dict[str, None] = {}
    kinds: dict[str, set[ClaimKind]] = {}
    faults: set[str] = set()
    for reader, held, told in _all_readings(framework, version, keys):
        try:
            claims = reader.run().claims
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            if fault not in faults:
                wrong[f"{told}: reading fails: {fault}"] = None
            faults.add(fault)
            continue
        for place in held:
            found = {claim.kind for path, claim in claims.items() if path[: len(place.path)] == place.path}
            kinds.setdefault(place.key, set()).update(found)
            if ClaimKind.PENDING in found and place.key not in listed:
                wrong[f"{place.key} in {place.section}: claimed by no entry"] = None
    return wrong, kinds


def _all_readings(
    framework: Framework, version: str, keys: frozenset[str] | None
) -> Iterator[tuple[Reader, list[Place], str]]:
    """Each key outside components by itself, the arguments of a component together."""
    table = framework.table(version)
    arguments: dict[str, list[Place]] = {}
    for place in places(framework, version):
        if keys is not None and place.key not in keys:
            continue
        if place.section.startswith(COMPONENT):
            arguments.setdefault(place.section, []).append(place)
        elif not place.facts.get("component"):
            for value in samples(place.facts):
                reader = Reader(table, from_tree(place.tree(value)), Context(recipe=place.recipe))
                yield reader, [place], f"{place.key}: {value!r} in {place.section}"
    for reader, section in _readings(framework, version, lambda place: place.section in arguments):
        yield reader, arguments[section], section


def claimed_twice(framework: Framework, version: str) -> list[str]:
    """Keys that two entries claim for the same thing under the same condition.

    A key may feed several settings. Two rows for one key and one setting differ in `when`, and so does what a key
    without a setting does. A row for the exact mode stands beside the one for every day.
    """
    found = []
    seen: dict[tuple[str, str, str, bool], Entry] = {}
    for entry in framework.table(version).entries:
        if isinstance(entry, Heading | Sources | Missing | Always):
            continue
        when = getattr(entry, "when", None)
        words = when.words if when is not None else ""
        exact = getattr(entry, "exact_only", False)
        about = entry.settings if isinstance(entry, Field | Group | Derived) else ("",)
        for key in entry.keys:
            for setting in about:
                mark = (key, setting, words, exact)
                if mark in seen and seen[mark] is not entry:
                    said = f"{setting or 'no setting'} {words and f'when {words}'}".rstrip()
                    found.append(f"{key}: claimed twice for {said}")
                seen[mark] = entry
    return found


def beyond_the_schema(framework: Framework, version: str) -> list[str]:
    """Keys that an entry names and no version of the framework has. Tables may be the same for several versions."""
    known, free = _known(framework)
    found = []
    for entry in framework.table(version).entries:
        for key in getattr(entry, "keys", ()):
            parts = to_path(key.replace("[]", ""))
            above = {".".join(map(str, parts[:length])) for length in range(1, len(parts))}
            if key not in known and key.replace("[]", "") not in known and not above & free:
                found.append(f"{key}: no version of {framework.title} has this key")
    return found


@cache
def _known(framework: Framework) -> tuple[set[str], set[str]]:
    """The keys of all versions and recipes with the mappings above them, and those under which any name may stand."""
    known: set[str] = set()
    free: set[str] = {key for _, key, _ in framework.layout.beside}
    known |= free
    for version in framework.versions():
        holds = Holds(framework, version)
        for section in holds.roots():
            for place in holds.of(section):
                known.add(place.key)
                above = place.key.rpartition(".")[0]
                if above:
                    known.add(above)
                nested = place.facts.get("component") or "ref" in place.facts or "refs" in place.facts
                if str(place.facts.get("type", "any")).startswith(_FREE) and not nested:
                    free.add(place.key)
                if place.facts.get("component"):
                    known.add(f"{place.key}.{framework.layout.component}")
                if holds.pinned.keys(place.section).get(SECTION, {}).get("kwargs"):
                    free.add(above)
    return known, free


def wordless(framework: Framework, version: str) -> list[str]:
    """Entries that owe an explanation and have none, and texts that name a place on somebody's machine."""
    found = []
    for entry in framework.table(version).entries:
        name = ", ".join(getattr(entry, "keys", ()) or getattr(entry, "settings", ())) or "heading"
        owed = {
            Private: getattr(entry, "effect", ""),
            Unread: getattr(entry, "why", ""),
            Always: getattr(entry, "why", ""),
            Derived: getattr(entry, "why", ""),
            Missing: getattr(entry, "why", ""),
        }
        if type(entry) in owed and not str(owed[type(entry)]).strip():
            found.append(f"{name}: {type(entry).__name__} without words")
        when = getattr(entry, "when", None)
        if when is not None and not when.words.strip():
            found.append(f"{name}: a condition without words")
        texts = [when.words if when is not None else "", *(str(getattr(entry, part, "")) for part in ("why", "effect"))]
        found += [f"{name}: names a place on a machine: {text}" for text in texts if _MACHINE.search(text)]
    return found


CHECKS = (unanswered, unread_sources, unclaimed, claimed_twice, beyond_the_schema, wordless)


# --- counts -----------------------------------------------------------------------------------------------------


def counts(framework: Framework, version: str) -> dict[str, int]:
    """How far a table is: settings answered, what its keys are, rows with a proof and without.

    `elsewhere` are keys of recipes that are not converted, which nothing answers.
    """
    table = framework.table(version)
    claims = _scan(framework, version, None)[1]
    kinds = Counter(_kind(table, key, claims[key]) for key in claims)
    proofs = [bool(entry.proof) for entry in table.entries if isinstance(entry, Field | Group | Always)]
    holds = Holds(framework, version)
    others = {
        key
        for section in holds.roots()
        for key in holds.pinned.keys(section)
        if key != SECTION and not is_converted(framework, version, section) and _kind(table, key, set()) == "pending"
    }
    answered = sum(path in table.by_setting for path in vocabulary.GLOBAL_SETTINGS) + len(vocabulary.SOURCE_SETTINGS)
    return {
        "settings": answered,
        "claimed": kinds["claimed"],
        "private": kinds["private"],
        "unread": kinds["unread"],
        "pending": kinds["pending"],
        "elsewhere": len(others),
        "proven": sum(proofs),
        "unproven": len(proofs) - sum(proofs),
    }


def _kind(table: Table, key: str, claims: set[ClaimKind]) -> str:
    if ClaimKind.PENDING in claims:
        return "pending"
    if ClaimKind.SETTING in claims:
        return "claimed"
    path: tuple[Key, ...] = tuple(
        part for name in key.split(".") for part in ((name.removesuffix("[]"), 0) if name.endswith("[]") else (name,))
    )
    of: Sequence[tuple[str, tuple[type, ...]]] = (
        ("claimed", (Field, Group, Sources, Derived)),
        ("private", (Private,)),
        ("unread", (Unread,)),
    )
    top = str(path[0])
    found = [
        entry
        for entry in table.entries
        if any(pattern.startswith(top) and matches(pattern, path) for pattern in getattr(entry, "keys", ()))
    ]
    return next((name for name, types in of if any(isinstance(entry, types) for entry in found)), "pending")


def all_counts(frameworks: Iterable[Framework]) -> dict[str, dict[str, int]]:
    """The counts of each framework's newest release, and of what comes after it."""
    return {f"{f.name}@{version}": counts(f, version) for f in frameworks for version in counted(f)}


def counted(framework: Framework) -> list[str]:
    return list(dict.fromkeys((framework.newest, framework.versions()[-1])))


def ratchet(found: Mapping[str, int], committed: Mapping[str, int]) -> list[str]:
    """How counts differ from the committed ones. Those in FALLING may only fall; all are to be kept up to date."""
    said = []
    for name, now in found.items():
        before = committed.get(name)
        if before is None:
            said.append(f"{name}: {now}, not in the committed counts yet")
        elif name in FALLING and now > before:
            said.append(f"{name} rose from {before} to {now}; it may only fall")
        elif now != before:
            better = "better: " if name in FALLING else ""
            said.append(f"{better}{name} is {now}, committed {before}; write the new counts down")
    return said


def main(arguments: Sequence[str]) -> int:
    file = File(arguments[0])
    names = arguments[1:] or registry.names()
    found = all_counts(registry.get(name) for name in names)
    committed = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    rises = [
        f"{of}: {said}"
        for of, numbers in found.items()
        for said in ratchet(numbers, committed.get(of, numbers))
        if " rose " in said
    ]
    if rises:
        print("\n".join(rises), file=sys.stderr)
        return 1
    file.write_text(json.dumps(committed | found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
