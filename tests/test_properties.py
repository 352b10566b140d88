"""Properties of tables and conversions, on generated settings and configs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ftmigrate.cli import main
from ftmigrate.conversion import Conversion, convert
from ftmigrate.conversion.plan import plan
from ftmigrate.conversion.write import render
from ftmigrate.document.model import Unresolved, Value, from_tree
from ftmigrate.frameworks import conformance, registry
from ftmigrate.frameworks.config_keys import Place, places
from ftmigrate.frameworks.reader import Context, Reader, read
from ftmigrate.frameworks.samples import samples
from ftmigrate.frameworks.table import CannotSay, Field, Group, Nearest
from ftmigrate.run import vocabulary
from ftmigrate.run.compare import LOSSES, Verdict, losses, private
from ftmigrate.run.model import NOT_APPLICABLE, Origin, Run, Setting

pytest.importorskip("omegaconf")
from tests.torchtune_documents import Generated, configs, leaves

SOURCE, TARGET = registry.get("torchtune"), registry.get("axolotl")
FEW = settings(max_examples=max(settings().max_examples // 4, 10))
NEWEST = SOURCE.versions()[-2:]


# --- generated torchtune configs --------------------------------------------------------------------------------


def _convert(config: Generated, version: str) -> Conversion:
    document = SOURCE.parse(config.text.encode(), "config.yaml", config.overrides)
    return convert(document, (SOURCE, version), (TARGET, TARGET.newest), Context(config.told), "out.yaml")


@given(configs(), st.sampled_from(NEWEST))
def test_every_leaf_has_exactly_one_entry(config: Generated, version: str) -> None:
    result = _convert(config, version)
    event("refused" if result.refused else "converted")
    paths = [entry.source_path for entry in result.ledger.entries if entry.source_path is not None]
    assert len(paths) == len(set(paths))
    assert sorted(paths) == sorted(leaves(config.tree()))
    assert bool(result.files) == (result.refused is None)


@FEW
@given(configs(), st.sampled_from(NEWEST))
def test_the_ledger_is_the_difference(config: Generated, version: str) -> None:
    """What the ledger calls a loss is what reading the written file again finds, and nothing else."""
    result = _convert(config, version)
    assume(result.refused is None)
    (text,) = result.files.values()
    back = read(TARGET.table(TARGET.newest), TARGET.parse(text.encode(), "out.yaml", ()), Context())
    told = {e.setting for entry in result.ledger.entries for e in entry.effects if e.verdict in LOSSES}
    assert {found.path for found in losses(result.source, back)} == told
    alone = {
        e.source_path for e in result.ledger.entries if not e.effects and e.verdict in (Verdict.DROPPED, Verdict.MANUAL)
    }
    assert {path for path, _ in private(result.source)} <= alone
    assert private(back) == []


@FEW
@given(configs())
def test_converting_is_deterministic(config: Generated) -> None:
    first, second = (_convert(config, SOURCE.newest) for _ in range(2))
    assert first.files == second.files
    assert json.dumps(first.ledger.json()) == json.dumps(second.ledger.json())


@FEW
@given(config=configs(), strict=st.booleans())
def test_exit_status(config: Generated, strict: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("convert")
    source, out, report = folder / "config.yaml", folder / "out.yaml", folder / "ledger.json"
    source.write_text(config.text, encoding="utf-8")
    told = ["--recipe", config.told] if config.told else []
    sets = [word for override in config.overrides for word in ("--set", override)]
    command = [
        "convert",
        str(source),
        "--from",
        "torchtune",
        "--to",
        "axolotl",
        "-o",
        str(out),
        "--report",
        str(report),
    ]
    status = main([*command, *told, *sets, *(["--strict"] if strict else [])])
    found = json.loads(report.read_text(encoding="utf-8"))
    bad = found["summary"]["dropped"] + found["summary"]["manual"]
    assert status == (2 if found["refused"] else 1 if strict and bad else 0)
    assert out.exists() == (found["refused"] is None)


# --- what a table can say, written and read again ---------------------------------------------------------------

MINIMAL: dict[str, Value] = {
    "base_model": "org/model",
    "datasets": [{"path": "org/rows", "type": "alpaca"}],
    "output_dir": "out",
}
TABLE = TARGET.table(TARGET.newest)


# What makes most settings apply.
RICH: dict[str, Value] = {
    **MINIMAL, "adapter": "lora", "lora_r": 8, "lora_alpha": 16, "sample_packing": True, "val_set_size": 0.1,
    "fsdp_version": 2, "fsdp_config": {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}, "use_wandb": True,
}  # fmt: skip


@cache
def pools() -> Mapping[str, list[object]]:
    """For each setting the values that some key of the target's schema gives it."""
    found: dict[str, dict[str, object]] = {path: {} for path in vocabulary.GLOBAL_SETTINGS}
    for place in places(TARGET, TARGET.newest):
        if len(place.path) > 2 or place.section != TARGET.layout.root:
            continue
        for value in samples(place.facts):
            for around in (MINIMAL, RICH):
                run = read(TABLE, from_tree({**around, **place.tree(value)}), Context(world_size=1))
                for path, seen in found.items():
                    got = run.settings[path]
                    if got.leaves and got.value is not NOT_APPLICABLE and not isinstance(got.value, Unresolved):
                        seen.setdefault(repr(got.value), got.value)
    return {path: list(seen.values()) for path, seen in found.items()}


def _values(path: str) -> st.SearchStrategy[object]:
    kinds = vocabulary.spec(path).type.split(" | ")
    ways: list[st.SearchStrategy[object]] = [st.sampled_from(pools()[path])] if pools()[path] else []
    if "int" in kinds:
        ways.append(st.integers(1, 5000))
    if "float" in kinds:
        ways.append(st.sampled_from((1e-6, 0.05, 0.5, 0.999)))
    if kinds == ["bool"]:
        ways.append(st.booleans())
    return st.one_of(ways) if ways else st.nothing()


# What follows from other settings is not wanted by itself.
_FOLLOWING = {path for path in vocabulary.GLOBAL_SETTINGS if all(
    not isinstance(entry, Field) and getattr(entry, "propose", None) is None for entry in TABLE.by_setting[path]
)}  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> dict[str, object]:
    """Some settings with values that the target's keys can give them, or any number."""
    ways = {path: _values(path) for path in vocabulary.GLOBAL_SETTINGS if path not in _FOLLOWING | {"method.name"}}
    sayable = sorted(path for path, values in ways.items() if not values.is_empty)
    chosen = draw(st.sets(st.sampled_from(sayable), min_size=1, max_size=12))
    return {path: draw(ways[path]) for path in sorted(chosen)}


def complete(changed: Mapping[str, object]) -> Run:
    """The run of a minimal config with some settings changed. What comes to apply has the first value it can have."""
    base = read(TABLE, from_tree(MINIMAL), Context(world_size=1))
    found = dict(base.settings)
    run = replace(base, settings=found)
    for path, value in changed.items():
        found[path] = Setting(path, value, Origin.EXPLICIT, ((path,),))
    for path in vocabulary.GLOBAL_SETTINGS:
        when = vocabulary.spec(path).when
        if when is not None and not when.holds(_View(run)):
            found[path] = Setting(path, NOT_APPLICABLE, Origin.NOT_APPLICABLE)
        elif found[path].value is NOT_APPLICABLE and pools()[path]:
            found[path] = Setting(path, pools()[path][0], Origin.DEFAULT)
    return run


class _View:
    """A run as conditions see it."""

    recipe: str | None = None
    version = TARGET.newest

    def __init__(self, run: Run) -> None:
        self.run = run

    def get(self, setting: str) -> object:
        return self.run[setting]


def _written(run: Run) -> tuple[Mapping[str, Value], Mapping[str, str], Reader]:
    """The keys planned for a run, why others are not, and a reading of the written file."""
    planned = plan(run, TABLE, Context(world_size=1))
    text = render(planned.tree(), TABLE, ("made by a test",), {}, planned.todo)
    return (
        planned.keys,
        planned.reasons,
        Reader(TABLE, TARGET.parse(text.encode(), "out.yaml", ()), Context(world_size=1)),
    )


def _nearest(path: str, run: Run, back: Reader) -> bool:
    """Whether none of the keys that say a setting can say it better beside what else is written."""
    wanted = run[path]
    for entry in TABLE.by_setting[path]:
        if entry.when is not None and not entry.when.holds(back):
            continue
        if isinstance(entry, Field) and entry.write:
            try:
                said = entry.codec.decode(entry.codec.encode(wanted, back), back)
            except CannotSay:
                continue
            if vocabulary.difference(path, wanted, said, {}) is None:
                return False
        if isinstance(entry, Group) and entry.propose is not None and not entry.exact_only:
            together = {name: run[name] for name in entry.settings if run[name] is not NOT_APPLICABLE}
            now = _wrong(together, {name: back.get(name) for name in together})
            for candidate in entry.propose(together, back):
                decoded = entry.decode(candidate, back)
                if _wrong(together, {name: decoded[name].value for name in together}) < now:
                    return False
    return True


def _wrong(wanted: Mapping[str, object], got: Mapping[str, object]) -> int:
    return sum(vocabulary.difference(path, value, got[path], {}) is not None for path, value in wanted.items())


@given(changes())
def test_what_is_written_reads_back(changed: dict[str, object]) -> None:
    """A setting that keys were written for has the wanted value, or a reason, or the nearest that its keys can say."""
    run = complete(changed)
    keys, reasons, back = _written(run)
    wrong = []
    for path, wanted in run.settings.items():
        if wanted.value is NOT_APPLICABLE or path in _FOLLOWING or path.startswith("data.sources["):
            continue
        got = back.setting(path)
        said = vocabulary.difference(path, wanted.value, got.value, {})
        if said is not None and got.leaves and path not in reasons and not _nearest(path, run, back):
            wrong.append(f"{path}: {said} ({keys})")
    assert not wrong, "\n".join(wrong)


@given(changes())
def test_writing_again_is_a_fixed_point(changed: dict[str, object]) -> None:
    """A run that a file of the target describes is written as keys that describe the same run, again and again."""
    said = _written(complete(changed))[2].run()
    keys, _, back = _written(said)
    again = back.run()
    assert {p: repr(s.value) for p, s in again.settings.items()} == {p: repr(s.value) for p, s in said.settings.items()}
    assert _written(again)[0] == keys


# --- codecs -----------------------------------------------------------------------------------------------------

PAIRS = [(framework.name, version) for framework in (SOURCE, TARGET) for version in conformance.counted(framework)]


@cache
def fields(name: str, version: str) -> tuple[tuple[Field, Place], ...]:
    """The rows that say one setting by one key, with a place where the key may stand."""
    framework = registry.get(name)
    held = {place.key: place for place in reversed(places(framework, version))}
    entries = [entry for entry in framework.table(version).entries if isinstance(entry, Field) and entry.write]
    return tuple((entry, held[entry.key]) for entry in entries if entry.key in held)


def _misread(name: str, version: str, entry: Field, place: Place, value: Value) -> str | None:
    """What is wrong with encoding what a value means; None where decoding that means the same, or it is refused."""
    table = registry.get(name).table(version)
    reader = Reader(table, from_tree(place.tree(value)), Context(place.recipe, world_size=1))
    meaning = entry.codec.decode(value, reader)
    if isinstance(meaning, Unresolved):
        return None
    try:
        spelled = entry.codec.encode(meaning, reader)
    except CannotSay as reason:
        return None if str(reason) else "refused without a reason"
    if isinstance(spelled, Nearest):
        return None if spelled.why else "another value without a reason"
    again = Reader(table, from_tree(place.tree(spelled)), Context(place.recipe, world_size=1))
    got = entry.codec.decode(spelled, again)
    if vocabulary.difference(entry.setting, meaning, got, {}) is None:
        return None
    return f"{entry.key}: {value!r} means {meaning!r}, said as {spelled!r}, which means {got!r}"


@pytest.mark.parametrize(("name", "version"), PAIRS)
def test_decode_after_encode_is_the_same(name: str, version: str) -> None:
    """Whatever a key can mean is said by the key's own encoding, or refused with a reason."""
    assert len(fields(name, version)) > 30
    wrong = [
        problem
        for entry, place in fields(name, version)
        for value in samples(place.facts)
        if not (value is None and registry.get(name).table(version).null_is_absent)
        if (problem := _misread(name, version, entry, place, value)) is not None
    ]
    assert not wrong, "\n".join(wrong)


@given(pair=st.sampled_from(PAIRS), data=st.data())
def test_decode_after_encode_of_numbers(pair: tuple[str, str], data: st.DataObject) -> None:
    numeric = [
        (entry, place)
        for entry, place in fields(*pair)
        if not place.facts.get("enum") and any(kind in str(place.facts.get("type")) for kind in ("int", "float"))
    ]
    entry, place = data.draw(st.sampled_from(numeric))
    whole = "float" not in str(place.facts["type"])
    least = place.facts.get("ge", 1)
    value = data.draw(st.integers(least, 10**6) if whole else st.floats(least, 1e6, allow_nan=False))
    assert _misread(*pair, entry, place, value) is None


def test_written_text_is_parsed_again(tmp_path: Path) -> None:
    """The fixture of the properties above is itself a config."""
    file = tmp_path / "minimal.yaml"
    file.write_text(json.dumps(MINIMAL), encoding="utf-8")
    assert main(["show", str(file), "--from", "axolotl"]) == 0


def test_odd_values() -> None:
    """Configs that once failed."""
    tree: dict[str, Any] = {"enable_activation_offloading": {}, "tensor_parallel_dim": "two", "clip_grad_norm": "much"}
    for key, value in tree.items():
        config = Generated(json.dumps({key: value}), told="full_finetune_distributed")
        assert [e.source_path for e in _convert(config, "main").ledger.entries if e.source_path] == [key]
