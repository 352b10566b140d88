"""Compare `schemas/torchtune.json` with an installed torchtune: `python tools/check_torchtune.py [VERSION]`.

Runs in torchtune's own environment, with that environment's interpreter, and needs nothing else. Every component
section is compared with `inspect.signature` of the imported object; every shipped config is held against the schema of
its recipe and components. Exit 1 where a signature differs, or a config names a component or argument that the schema
lacks, or lacks a key that the schema requires; keys that no recipe reads are printed only: torchtune ignores them too.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import schema_store
from schema_store import Facts, Sections

SCHEMA = Path(__file__).parent.parent / "schemas" / "torchtune.json"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")


def imported(path: str) -> Any:
    """The object that a dotted path names. Raises ImportError or AttributeError."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name and ".".join(parts[:cut]).startswith(error.name):
                continue
            raise
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ImportError(path)


def signature_of(found: Any) -> inspect.Signature:
    """The signature; a class that inherits a protocol's placeholder for `__init__` takes no arguments."""
    constructor = getattr(found, "__init__", None) if isinstance(found, type) else None
    if getattr(constructor, "__name__", "").startswith("_no_init"):
        return inspect.Signature()
    return inspect.signature(found)


def plain(value: object) -> object:
    """A default as JSON data; NotImplemented for one that is none."""
    if isinstance(value, tuple | list):
        items = [plain(item) for item in value]
        return NotImplemented if any(item is NotImplemented for item in items) else items
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value if value is None or type(value) in (str, int, float, bool) else NotImplemented


def differences(keys: dict[str, Facts], signature: inspect.Signature) -> list[str]:
    """Where a section and a signature disagree on parameters, defaults and catch-alls."""
    found = []
    parameters = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    catch_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    if catch_all != bool(keys[""].get("kwargs")):
        found.append(f"takes further keywords: {catch_all}")
    found += [f"{name}: not in the schema" for name in parameters if name not in keys]
    found += [f"{name}: not in the signature" for name in keys if name and name not in parameters]
    for name, parameter in parameters.items():
        facts = keys.get(name)
        if facts is None:
            continue
        if parameter.default is parameter.empty:
            if not facts.get("required"):
                found.append(f"{name}: required")
        elif "expression" in facts:
            if type(parameter.default) in (str, int, bool, type(None)):
                found.append(f"{name}: {parameter.default!r}, kept as an expression")
        elif (
            "default" not in facts
            or plain(parameter.default) is NotImplemented
            or not schema_store.same(facts["default"], plain(parameter.default))
        ):
            found.append(f"{name}: default {parameter.default!r}, schema {facts.get('default', 'none')!r}")
    return found


def check_components(sections: Sections) -> tuple[Counter[str], list[str]]:
    """Counts of identical, differing, not importable and unknown; what differs or is not importable in words."""
    counts: Counter[str] = Counter()
    lines: list[str] = []
    for section, keys in sections.items():
        if not section.startswith("component "):
            continue
        path = section.removeprefix("component ")
        if keys[""].get("parameters") == "unknown":
            counts["parameters unknown"] += 1
            continue
        try:
            signature = signature_of(imported(path))
        except Exception as error:  # importing foreign modules may raise anything
            counts["not importable"] += 1
            lines.append(f"not importable: {path}: {error}".splitlines()[0])
            continue
        found = differences(keys, signature)
        counts["differing" if found else "identical"] += 1
        lines += [f"differs: {path}: {line}" for line in found]
    return counts, lines


def component_nodes(value: object, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with `_component_`, with where it stands."""
    if isinstance(value, dict):
        if "_component_" in value:
            yield path, value
        for key, item in value.items():
            yield from component_nodes(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from component_nodes(item, f"{path}[{index}]")


def accepts(sections: Sections, path: str, argument: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a component takes an argument, itself or through what it hands its `**kwargs` to."""
    keys = sections.get(f"component {path}")
    if keys is None or keys[""].get("parameters") == "unknown":
        return True
    if argument in keys:
        return bool(argument)
    onward = keys[""].get("kwargs", False)
    if not isinstance(onward, str) or onward in seen:
        return bool(onward)
    return accepts(sections, onward, argument, seen | {path})


def check_config(sections: Sections, recipe: str, tree: dict[str, Any], text: str) -> list[tuple[str, str]]:
    """What the schema says against one config: pairs of a kind and the key or path it is about."""
    keys = sections[f"recipe {recipe}"]
    referenced = {name.split(".")[0] for name in _REFERENCE.findall(text)}
    found = [("unread key", key) for key in tree if key not in keys and key not in referenced]
    for key, facts in keys.items():
        if facts.get("required") and "." not in key and key not in tree:
            found.append(("required key missing", key))
    for where, node in component_nodes(tree):
        path = node["_component_"]
        section = sections.get(f"component {path}")
        if section is None:
            found.append(("unknown component", path))
            continue
        given = [name for name in node if name != "_component_"]
        found += [("unknown argument", f"{path}.{name}") for name in given if not accepts(sections, path, name)]
        injects = keys.get(where, {}).get("injects")
        if injects and not injects["positional"]:
            known = {*given, *injects["keywords"]}
            needed = [name for name, facts in section.items() if facts.get("required") and name not in known]
            found += [("required argument missing", f"{path}.{name}") for name in needed]
    return found


def check_configs(sections: Sections, root: Path) -> tuple[Counter[str], list[str]]:
    """Counts per kind of finding over the shipped configs, and the findings in words, once per recipe."""
    from omegaconf import OmegaConf

    text: list[str] = []
    lines: Counter[tuple[str, str, str]] = Counter()
    counts: Counter[str] = Counter()
    for section, keys in sections.items():
        if not section.startswith("config "):
            continue
        file = root / keys[""]["file"]
        if not file.exists():
            counts["absent config"] += 1
            text.append(f"absent: {keys['']['file']}{'' if keys[''].get('missing') else ' (the schema has it)'}")
            continue
        tree: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        for recipe in keys[""]["recipes"]:
            counts["configs checked"] += 1
            for kind, what in check_config(sections, recipe, tree, file.read_text(encoding="utf-8")):
                lines[kind, recipe, what] += 1
    for (kind, recipe, what), number in sorted(lines.items()):
        counts[kind] += number
        text.append(f"{kind}: {what} in {number} config(s) of {recipe}")
    return counts, text


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare the stored schema with the installed torchtune.")
    parser.add_argument("version", nargs="?", help="the schema's version; the installed one's without it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there too")
    parser.add_argument("--root", type=Path, help="the folder that holds recipes/; beside torchtune without it")
    options = parser.parse_args(arguments)
    torchtune = importlib.import_module("torchtune")
    version = options.version or torchtune.__version__.split("+")[0]
    table = schema_store.read(SCHEMA)
    if table is None or version not in table["versions"]:
        print(f"no schema of torchtune {version}", file=sys.stderr)
        return 2
    sections = schema_store.expand(table)[version]
    components, found = check_components(sections)
    configs, more = check_configs(sections, options.root or Path(str(torchtune.__file__)).parent.parent)
    print("\n".join([*found, *more]))
    print("components:", ", ".join(f"{number} {name}" for name, number in components.items()))
    print("configs:", ", ".join(f"{number} {name}" for name, number in configs.items()))
    if options.json:
        result = {"components": components, "configs": configs, "found": [*found, *more]}
        options.json.write_text(json.dumps(result), encoding="utf-8")
    harmless = {"configs checked", "absent config", "unread key"}
    return 1 if components["differing"] or set(configs) - harmless else 0


if __name__ == "__main__":
    sys.exit(main())
