"""Every table is total: all settings answered, all keys of the pinned schema claimed, once, and in words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from ftmigrate import schema
from ftmigrate.frameworks import conformance, registry
from ftmigrate.frameworks.config_keys import places
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.registry import Framework
from ftmigrate.frameworks.samples import samples
from ftmigrate.frameworks.table import SAME, Derived, Entry, Field, Heading, Pending, Private, Sources, Table, Unread
from ftmigrate.run import vocabulary

COUNTS = Path(__file__).parent / "counts.json"
# the newest release of each framework and what comes after it; older ones are read as far as these tables tell
COUNTED = [(name, version) for name in registry.names() for version in conformance.counted(registry.get(name))]


@pytest.fixture(params=COUNTED, ids=lambda pair: "@".join(pair))
def pair(request: pytest.FixtureRequest) -> tuple[Framework, str]:
    name, version = request.param
    return registry.get(name), version


@pytest.fixture(params=registry.names())
def newest(request: pytest.FixtureRequest) -> tuple[Framework, str]:
    framework = registry.get(request.param)
    return framework, framework.versions()[-1]


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_conforms(pair: tuple[Framework, str], check: Callable[[Framework, str], list[str]]) -> None:
    found = check(*pair)
    assert not found, "\n".join(found)


def test_problems_are_those_of_all_checks(newest: tuple[Framework, str]) -> None:
    assert conformance.problems(*newest) == [problem for check in conformance.CHECKS for problem in check(*newest)]


@pytest.mark.parametrize(("name", "version"), COUNTED)
def test_counts(name: str, version: str) -> None:
    committed = json.loads(COUNTS.read_text(encoding="utf-8")).get(f"{name}@{version}", {})
    said = conformance.ratchet(conformance.counts(registry.get(name), version), committed)
    how = f"python -m ftmigrate.frameworks.conformance {COUNTS.relative_to(COUNTS.parent.parent)}"
    assert not said, f"{name} {version}: " + "; ".join(said) + f" ({how})"


@pytest.mark.parametrize(("name", "version"), COUNTED)
def test_every_key_is_counted_once(name: str, version: str) -> None:
    framework = registry.get(name)
    found = conformance.counts(framework, version)
    held = {place.key for place in places(framework, version) if not place.facts.get("component")}
    assert sum(found[kind] for kind in ("claimed", "private", "unread", "pending")) == len(held)
    assert found["settings"] == len(vocabulary.SPECS)


# --- the checks find what they are for --------------------------------------------------------------------------


def _changed(framework: Framework, change: Callable[[Entry], Iterator[Entry]]) -> Framework:
    """The framework with other entries in its tables."""

    def table(version: str) -> Table:
        own = framework.table(version)
        return replace(own, entries=tuple(new for entry in own.entries for new in change(entry)))

    return replace(framework, table=table)


def _first(framework: Framework, version: str, kind: type[Entry], fits: Callable[[Entry], bool]) -> Entry:
    found = [entry for entry in framework.table(version).entries if isinstance(entry, kind) and fits(entry)]
    if not found:
        pytest.skip(f"{framework.name} has no such entry")
    return found[0]


def _alone(framework: Framework, version: str) -> Callable[[Entry], bool]:
    """Whether an entry's key is a plain key of the schema that no other entry names."""
    named = [key for entry in framework.table(version).entries for key in getattr(entry, "keys", ())]
    held = {place.key for place in places(framework, version)}
    return lambda entry: all(named.count(key) == 1 and "." not in key and key in held for key in entry.keys)  # type: ignore[union-attr]


def test_a_missing_row_for_a_key_is_found(newest: tuple[Framework, str]) -> None:
    framework, version = newest
    gone = _first(framework, version, Private, _alone(framework, version))
    assert isinstance(gone, Private)
    changed = _changed(framework, lambda entry: iter(() if entry is gone else (entry,)))
    found = conformance.unclaimed(changed, version, frozenset({gone.key}))
    assert found
    assert all(problem.startswith(f"{gone.key} ") and "claimed by no entry" in problem for problem in found)
    listed = _changed(framework, lambda entry: iter((Pending(gone.key) if entry is gone else entry,)))
    assert conformance.unclaimed(listed, version, frozenset({gone.key})) == []


def test_a_missing_row_for_a_setting_is_found(newest: tuple[Framework, str]) -> None:
    framework, version = newest
    path = vocabulary.GLOBAL_SETTINGS[-1]

    def without(entry: Entry) -> Iterator[Entry]:
        if path not in getattr(entry, "settings", ()):
            yield entry

    assert f"{path}: no entry answers it" in conformance.unanswered(_changed(framework, without), version)


def test_a_setting_that_the_vocabulary_lacks_is_found(newest: tuple[Framework, str]) -> None:
    framework, version = newest
    odd = Derived(("model.colour",), lambda _: {}, "invented")
    changed = _changed(framework, lambda entry: iter((entry, odd) if isinstance(entry, Sources) else (entry,)))
    assert "model.colour: not in the vocabulary" in conformance.unanswered(changed, version)


def test_a_source_setting_left_out_is_found(newest: tuple[Framework, str]) -> None:
    framework, version = newest

    def lossy(entry: Entry) -> Iterator[Entry]:
        if isinstance(entry, Sources):
            own = entry.decode

            def decode(reader: Reader) -> list[dict[str, object]]:
                return [{name: value for name, value in source.items() if name != "split"} for source in own(reader)]

            yield replace(entry, decode=decode)
        else:
            yield entry

    found = conformance.unread_sources(_changed(framework, lossy), version)
    assert len(found) == 1
    assert found[0].startswith("data.sources[].split: not answered")


def test_a_second_claim_is_found(newest: tuple[Framework, str]) -> None:
    framework, version = newest
    row = _first(framework, version, Field, lambda entry: getattr(entry, "when", None) is None)
    assert isinstance(row, Field)
    twice = Field(row.key, row.setting, SAME)
    changed = _changed(framework, lambda entry: iter((entry, twice) if entry is row else (entry,)))
    assert f"{row.key}: claimed twice for {row.setting}" in conformance.claimed_twice(changed, version)


def test_a_key_that_the_schema_lacks_is_found(newest: tuple[Framework, str]) -> None:
    framework, version = newest
    odd = Unread("no_such_key", "invented")
    changed = _changed(framework, lambda entry: iter((odd, entry) if isinstance(entry, Sources) else (entry,)))
    assert [
        problem for problem in conformance.beyond_the_schema(changed, version) if problem.startswith("no_such_key:")
    ]


@pytest.mark.parametrize("words", ["", "  ", "see /home/somebody/notes", "see /tmp/x"])
def test_bad_words_are_found(newest: tuple[Framework, str], words: str) -> None:
    framework, version = newest
    odd = Unread("seed", words)
    changed = _changed(framework, lambda entry: iter((odd, entry) if isinstance(entry, Sources) else (entry,)))
    (problem,) = conformance.wordless(changed, version)
    assert problem.startswith("seed: ")


def test_a_decoder_that_fails_is_found(newest: tuple[Framework, str]) -> None:
    framework, version = newest
    broken = replace(SAME, decode=lambda value, _: math.sqrt("no"))  # type: ignore[arg-type]
    row = _first(framework, version, Field, _alone(framework, version))
    assert isinstance(row, Field)
    changed = _changed(framework, lambda e: iter((replace(row, codec=broken) if e is row else e,)))
    found = conformance.unclaimed(changed, version, frozenset({row.key}))
    assert [problem for problem in found if "reading fails: TypeError" in problem]


def test_ratchet() -> None:
    before = {"settings": 10, "pending": 3, "unproven": 5}
    assert conformance.ratchet(before, before) == []
    assert conformance.ratchet({**before, "pending": 4}, before) == ["pending rose from 3 to 4; it may only fall"]
    (said,) = conformance.ratchet({**before, "unproven": 4}, before)
    assert said.startswith("better: unproven is 4, committed 5")
    (said,) = conformance.ratchet({**before, "settings": 11}, before)
    assert said == "settings is 11, committed 10; write the new counts down"


def test_counts_are_not_written_when_one_rises(newest: tuple[Framework, str], tmp_path: Path) -> None:
    framework, version = newest
    file = tmp_path / "counts.json"
    assert conformance.main([str(file), framework.name]) == 0
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written[f"{framework.name}@{version}"] == conformance.counts(framework, version)
    written[f"{framework.name}@{version}"]["unproven"] = -1
    file.write_text(json.dumps(written), encoding="utf-8")
    assert conformance.main([str(file), framework.name]) == 1
    assert json.loads(file.read_text(encoding="utf-8")) == written


# --- sample values ----------------------------------------------------------------------------------------------


def test_samples_suit_the_schema(newest: tuple[Framework, str]) -> None:
    """Samples are accepted by the exported JSON Schema, an independent reading of the same facts."""
    jsonschema = pytest.importorskip("jsonschema")
    from ftmigrate.json_schema.sections import Definitions
    from ftmigrate.json_schema.sections import Sections as Exported

    framework, version = newest
    pinned = schema.load(framework.name, version)
    types = Exported(pinned, framework.layout, Definitions()).types
    odd = []
    for place in places(framework, version):
        if place.facts.get("component") or "ref" in place.facts or "refs" in place.facts or "refused" in place.facts:
            continue
        wanted = types.of(place.facts)
        if "$ref" in json.dumps(wanted):
            continue
        check = jsonschema.Draft202012Validator(wanted)
        odd += [
            f"{place.key} in {place.section}: {value!r}" for value in samples(place.facts) if not check.is_valid(value)
        ]
    assert not odd, "\n".join(sorted(set(odd)))


def test_headings_are_not_rows() -> None:
    assert not hasattr(Heading("x"), "keys")
