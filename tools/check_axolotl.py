"""Compare schemas/axolotl.json with the pydantic models of an installed Axolotl.

    AXOLOTL_PYTHON tools/check_axolotl.py [VERSION] [--json FILE]

Runs in Axolotl's own environment. Every section is compared with the imported model: keys, types, defaults,
requiredness, enum values, constraints, aliases, the policy on other keys; facts that come from the patch are left out
of that. Keys recorded as refused are given to the real model, which must refuse them. Exit 1 on any difference.
"""

from __future__ import annotations

import argparse
import enum
import importlib
import importlib.metadata
import importlib.util
import json
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from schema_patch import corrections
from schema_store import Facts, expand, normalise_type, read, same

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "strict")
COMPARED = ("type", "default", "required", "enum", "open", "ref", "refs", "list", "field", "alias_of", *CONSTRAINTS)
CONFIG_MODULES = ("axolotl.utils.schemas.config", "axolotl.utils.config.models.input.v0_4_1")
MINIMAL = {
    "base_model": "m",
    "learning_rate": 1e-4,
    "datasets": [{"path": "d", "type": "alpaca"}],
    "micro_batch_size": 1,
    "gradient_accumulation_steps": 1,
}


def module(name: str) -> Any:
    """A module of Axolotl's environment; the type checker does not have it."""
    return importlib.import_module(name)


def config_module() -> Any:
    """The module of the config's model: under `utils/schemas`, up to 0.7 elsewhere."""
    for name in CONFIG_MODULES:
        if importlib.util.find_spec(name.rpartition(".")[0]) and importlib.util.find_spec(name):
            return module(name)
    raise ImportError(f"neither {' nor '.join(CONFIG_MODULES)} is there")


def pydantic() -> Any:
    return module("pydantic")


def members(annotation: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The members of a union, with the metadata that `Annotated` gives them."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for item in typing.get_args(annotation):
            yield from members(item)
    elif origin is typing.Annotated:
        inner, *metadata = typing.get_args(annotation)
        yield inner, tuple(metadata)
    else:
        yield annotation, ()


def is_class(annotation: Any, base: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, base)


def spell(annotation: Any) -> str:
    """A runtime annotation as text."""
    if annotation is type(None):
        return "None"
    if annotation is Any:
        return "any"
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return spell(args[0])
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(spell(item) for item in args)
    if origin is not None:
        return f"{origin.__name__}[{', '.join(spell(item) for item in args)}]"
    if is_class(annotation, enum.Enum) and annotation.__module__.startswith("axolotl"):
        kinds = {type(member.value).__name__ for member in annotation}
        return kinds.pop() if len(kinds) == 1 else str(annotation.__name__)
    return str(annotation.__name__)


def models_in(annotation: Any) -> Iterator[Any]:
    if is_class(annotation, pydantic().BaseModel):
        yield annotation
    for item in typing.get_args(annotation):
        if not isinstance(item, str):
            yield from models_in(item)


def plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, pydantic().BaseModel):
        return {} if value == type(value)() else value.model_dump()
    return value if isinstance(value, str | int | float | list | dict | None) else {"not data": str(value)}


def has_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is list or any(has_list(item) for item in typing.get_args(annotation))


def facts_of(name: str, info: Any, by_name: bool) -> tuple[str, Facts, list[str]]:
    """The key, its facts, and its other spellings."""
    facts: Facts = {"type": normalise_type(spell(info.annotation))}
    values: list[Any] = []
    kinds: set[str] = set()
    metadata = list(info.metadata)
    for member, extra in members(info.annotation):
        metadata += extra
        if typing.get_origin(member) is typing.Literal:
            values += typing.get_args(member)
        elif is_class(member, enum.Enum):
            values += [one.value for one in member] if member.__module__.startswith("axolotl") else []
        elif not extra:  # a constrained type admits not every value
            kinds.add(getattr(member, "__name__", ""))
    values = [value for value in dict.fromkeys(values) if value is not None]
    if values:
        facts["enum"] = [plain(value) for value in values]
        if any(type(value).__name__ in kinds for value in values):
            facts["open"] = True
    refs = list(dict.fromkeys(model.__name__ for model in models_in(info.annotation)))
    if refs:
        facts |= {"ref": refs[0]} if len(refs) == 1 else {"refs": refs}
        if has_list(info.annotation):
            facts["list"] = True
    for item in metadata:
        for constraint in CONSTRAINTS:
            value = getattr(item, constraint, None)
            if value is not None:
                facts[constraint] = value
    if info.is_required():
        facts["required"] = True
    else:
        facts["default"] = plain(info.get_default(call_default_factory=True))
    spellings = []
    for alias in (info.validation_alias, info.alias):
        spellings += list(alias.choices) if isinstance(alias, pydantic().AliasChoices) else [alias] if alias else []
    spellings = list(dict.fromkeys(spellings))
    if not spellings:
        return name, facts, []
    main = name if name in spellings else spellings[0]
    if main != name:
        facts["field"] = name
    others = [one for one in dict.fromkeys([*spellings, *([name] if by_name else [])]) if one != main]
    return main, facts, others


def section_of(model: Any) -> dict[str, Facts]:
    config = model.model_config
    keys: dict[str, Facts] = {"": {"extra": config.get("extra") or "ignore"}}
    by_name = bool(config.get("populate_by_name") or config.get("validate_by_name"))
    for name, info in model.model_fields.items():
        main, facts, others = facts_of(name, info, by_name)
        keys[main] = facts
        if info.deprecated:
            facts["deprecated"] = True
        for other in others:
            keys[other] = {"type": facts["type"], "alias_of": main}
    return keys


def find_models(sections: dict[str, dict[str, Facts]]) -> Iterator[tuple[str, Any | str | None]]:
    """Each section's model; the reason where it cannot be imported, None where a plugin has none."""
    named: dict[str, Any] = {"config": config_module().AxolotlConfigWCapabilities}
    for section, keys in sections.items():
        if "plugin" in keys[""]:
            try:
                named[section] = plugin_model(keys[""]["plugin"])
            except Exception as problem:  # importing what a plugin needs may raise anything
                named[section] = alone(keys[""]["plugin"], keys[""].get("class", "")) or str(problem)
    queue = [model for model in named.values() if not isinstance(model, str) and model is not None]
    while queue:
        model = queue.pop()
        model.model_rebuild()  # resolves annotations that name classes defined later
        for info in model.model_fields.values():
            for model in models_in(info.annotation):
                if model.__name__ not in named:
                    named[model.__name__] = model
                    queue.append(model)
    for section in dict.fromkeys([*sections, *named]):
        yield section, named.get(section, "no such model")


def plugin_model(path: str) -> Any:
    where, _, name = path.rpartition(".")
    plugin = getattr(module(where), name)
    arguments = plugin.get_input_args(plugin.__new__(plugin))
    if arguments is None:
        return None
    where, _, name = arguments.rpartition(".")
    return getattr(module(where), name)


def alone(plugin: str, name: str) -> Any | None:
    """The model of a plugin whose package needs something not installed: its `args.py` loaded by itself."""
    package = plugin.removeprefix("axolotl.").split(".")[:2]
    file = Path(module("axolotl").__path__[0], *package, "args.py")
    if not file.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"args_of_{package[-1]}", file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # where pydantic looks names up
    spec.loader.exec_module(loaded)
    return getattr(loaded, name, None)


def compare(stored: dict[str, Facts], real: dict[str, Facts], patched: dict[str, set[str]]) -> list[str]:
    problems = []
    extras = {key for key, facts in stored.items() if key and "removed" in facts and "default" not in facts}
    for key in sorted({*stored, *real} - extras):
        if key not in stored or key not in real:
            problems.append(f"{key}: only {'in the model' if key in real else 'stored'}")
            continue
        if key == "":
            if stored[key].get("extra", "ignore") != real[key]["extra"]:
                problems.append(f"extra: {stored[key].get('extra')} stored, {real[key]['extra']} in the model")
            continue
        mine, theirs = dict(stored[key]), real[key]
        if mine.pop("supplied", None):
            mine["required"] = True
        if "expression" in mine:
            theirs = {name: value for name, value in theirs.items() if name != "default"}
        if theirs.get("deprecated") and "deprecated" not in mine:
            problems.append(f"{key}: deprecated in the model only")
        for fact in COMPARED:
            if fact not in patched.get(key, set()) and not same(mine.get(fact), theirs.get(fact)):
                problems.append(f"{key}.{fact}: {mine.get(fact)!r} stored, {theirs.get(fact)!r} in the model")
    return problems


def refusals(config: dict[str, Facts], fsdp: dict[str, Facts]) -> tuple[list[str], int]:
    """Give the model each key recorded as refused; it must accept the rest without it, and refuse it."""
    model = config_module().AxolotlInputConfig

    def refused(**keys: Any) -> bool:
        try:
            model(**MINIMAL, **keys)
        except (ValueError, DeprecationWarning):
            return True
        return False

    problems = ["the minimal config is refused"] if refused() else []
    count = 0
    for key, facts in config.items():
        if "refused" in facts:
            count += 1
            value: Any = 1.0 if "float" in facts["type"] else 1 if "int" in facts["type"] else True
            if not refused(**{key: value}):
                problems.append(f"{key}: not refused")
            if facts["refused"] == "truthy" and refused(**{key: None}):
                problems.append(f"{key}: refused even when null")
    for key, facts in fsdp.items():
        if "removed" in facts:
            count += 1
            if refused(fsdp_config={key: True}) != ("refused" in facts):
                problems.append(f"fsdp_config.{key}: refused is {facts.get('refused')} stored, not so in the model")
    return problems, count


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare the stored schema with the installed Axolotl.")
    parser.add_argument("version", nargs="?", help="the schema's version; the installed one's without it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there too")
    options = parser.parse_args(arguments)
    installed = importlib.metadata.version("axolotl")
    version = options.version or installed
    table = read(ROOT / "schemas" / "axolotl.json")
    if table is None or version not in table["versions"]:
        print(f"schemas/axolotl.json has no version {version}", file=sys.stderr)
        return 2
    if version != installed:
        print(f"the installed Axolotl is {installed}, not {version}", file=sys.stderr)
        return 2
    sections = expand(table)[version]
    patched: dict[str, dict[str, set[str]]] = {}
    for one in corrections(ROOT / "schemas" / "axolotl.patch.json", version):
        patched.setdefault(one["section"], {}).setdefault(one["key"], set()).update(one["facts"], one.get("remove", ()))
    counts = {"identical": 0, "differing": 0, "without keys": 0, "not importable": 0}
    keys = 0
    found: list[str] = []
    for section, model in find_models(sections):
        if isinstance(model, str):
            outcome, problems = "not importable", [model]
        elif model is None:
            outcome = "without keys" if len(sections[section]) == 1 else "differing"
            problems = [] if len(sections[section]) == 1 else ["the plugin adds no keys"]
        else:
            problems = compare(sections.get(section, {}), section_of(model), patched.get(section, {}))
            outcome = "differing" if problems else "identical"
            keys += len(model.model_fields)
        counts[outcome] += 1
        found += [f"{outcome}: {section}: {problem}" for problem in problems]
    problems, refused = refusals(sections["config"], sections.get("FSDPConfig", {}))
    found += [f"differing: {problem}" for problem in problems]
    print("\n".join(found))
    facts = sum(len(names) for keys_ in patched.values() for names in keys_.values())
    print(", ".join(f"{count} sections {name}" for name, count in counts.items()))
    print(f"{keys} fields compared, {facts} facts patched, {refused} removed keys tried, {len(problems)} differing")
    if options.json:
        result = {"sections": counts, "fields": keys, "patched": facts, "removed keys tried": refused, "found": found}
        options.json.write_text(json.dumps(result), encoding="utf-8")
    return 1 if counts["differing"] or problems else 0


if __name__ == "__main__":
    sys.exit(main())
