"""Write `schemas/torchtune.json` from releases or checkouts of torchtune, read as syntax trees (nothing is imported).

    python tools/extract_torchtune.py 0.6.1=torchtune-0.6.1-py3-none-any.whl main=CHECKOUT --snapshot main=COMMIT

Sections: `recipe NAME` (the keys that the recipe reads), `component PATH` (the parameters of everything a config may
name), `config NAME` (a shipped config: which recipes it is registered for). Facts beyond those of ftmigrate/schema.py:

* recipe keys: `component` (given to config.instantiate), `injects` (arguments that the recipe adds itself), `list` (a
  list of them is taken too), `kwargs_of` (its entries go to that callable), `dotted_path` (a string naming a
  component), `default_key` (absent, another key's value holds), `nonnull` (the recipe raises for null or absence),
  `conditional` (read only under a test of that key; `!key`: only where that test fails), `indexed` (a value of the enum
  may be followed by `:NUMBER`)
* sections: `distributed`, `configs`, `file`, `registered`; `kind`, `kwargs` and `varargs` (what the extra arguments are
  handed to, or true), `partial_of`, `fixed`, `alias_of`, `deprecated`, `external`, `parameters`, `architecture`
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import re
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import schema_patch
import schema_store
from schema_store import Facts, Sections, same
from torchtune_catalogue import components, enum_members
from torchtune_recipes import reads
from torchtune_source import NotLiteral, Package

_PRECISION = ("torchtune.training.precision", "torchtune.utils.precision")  # the latter in 0.2
SCHEMAS = Path(__file__).parent.parent / "schemas"


def extract(root: Path, version: str, patch: Path) -> Sections:
    """All sections of one version, the corrections of `patch` applied."""
    package = Package(root)
    sections = components(package, _named(root))
    registry = _registry(package)
    sections |= _recipes(package, registry)
    sections |= _configs(root, registry)
    _correct(sections, patch, version)
    return sections


def _named(root: Path) -> set[str]:
    """The paths that the shipped configs name their components by: some are private."""
    texts = (file.read_text(encoding="utf-8") for file in (root / "recipes/configs").rglob("*.yaml"))
    return {path for text in texts for path in re.findall(r"_component_: *(torchtune[\w.]+)", text)}


def _registry(package: Package) -> list[Facts]:
    """The recipes that the package registers: name, file_path, configs, supports_distributed."""
    module = package.module("torchtune._recipe_registry")
    assert module is not None
    listed = module.bindings["_ALL_RECIPES"]
    assert isinstance(listed, ast.List)
    return [_call(entry) for entry in listed.elts if isinstance(entry, ast.Call)]


def _call(node: ast.Call) -> Facts:
    """The keywords of a constructor call of literals and of further such calls."""
    found: Facts = {}
    for keyword in node.keywords:
        value = keyword.value
        if isinstance(value, ast.List):
            found[str(keyword.arg)] = [_call(item) for item in value.elts if isinstance(item, ast.Call)]
        else:
            found[str(keyword.arg)] = ast.literal_eval(value)
    return found


def _recipes(package: Package, registry: Sequence[Facts]) -> Sections:
    registered = {f"recipes/{entry['file_path']}": entry for entry in registry}
    found: Sections = {}
    for name in package.names("recipes"):
        module = package.module(name)
        if module is None or not {"recipe_main", "main"} & set(module.bindings):
            continue
        file = name.replace(".", "/") + ".py"
        entry = registered.get(file)
        about: Facts = {"distributed": bool(entry and entry["supports_distributed"]), "configs": [], "file": file}
        if entry is None:
            about |= {"distributed": name.endswith("_distributed"), "registered": False}
        else:
            about["configs"] = [config["name"] for config in entry["configs"]]
        keys = reads(package, module)
        _enums(package, keys)
        _mappings(keys)
        section = entry["name"] if entry else file.removeprefix("recipes/").removesuffix(".py")
        found[f"recipe {section}"] = {"": about, **keys}
    return found


def _enums(package: Package, keys: dict[str, Facts]) -> None:
    """The values of the keys that every recipe hands to the same two helpers: `dtype` and `device`."""
    tables = [package.resolve(f"{place}.PRECISION_STR_TO_DTYPE") for place in _PRECISION]
    precision = next((table for table in tables if table is not None and isinstance(table.node, ast.Dict)), None)
    devices = enum_members(package, package.resolve("torchtune.utils._device.DeviceSupport"))
    if precision is None or not isinstance(precision.node, ast.Dict):
        raise NotLiteral("the table of dtypes is not where it was")
    for key, facts in keys.items():
        refused = facts.pop("refused", [])
        if key.split(".")[-1] == "dtype":
            dtypes = [node.value for node in precision.node.keys if isinstance(node, ast.Constant)]
            facts |= {"type": "str", "enum": [dtype for dtype in dtypes if dtype not in refused]}
        elif key.split(".")[-1] == "device":
            types = [value[0] for value in devices.values() if isinstance(value, list)]
            facts |= {"type": "str", "indexed": True}
            facts |= {"enum": types} if types else {}  # no list of them up to 0.4


def _mappings(keys: dict[str, Facts]) -> None:
    """A key of which further keys are read is a mapping, or a list of them."""
    for key, facts in keys.items():
        shapes = {"list[dict[str, any]]": f"{key}[].", "dict[str, any]": f"{key}."}
        for shape, prefix in shapes.items():
            if facts["type"] == "any" and any(other.startswith(prefix) for other in keys):
                facts["type"] = f"{shape} | None" if facts.get("default", shape) is None else shape


def _configs(root: Path, registry: Sequence[Facts]) -> Sections:
    found: Sections = {}
    for entry in registry:
        for config in entry["configs"]:
            file = f"recipes/configs/{config['file_path']}"
            about = found.setdefault(f"config {config['name']}", {"": {"recipes": [], "file": file}})[""]
            about["recipes"].append(entry["name"])
            if not (root / file).exists():
                about["missing"] = True
    return found


def _correct(sections: Sections, patch: Path, version: str) -> None:
    """Whole sections that the package's source does not hold, then corrections; a `*` stands for every section so named
    that has the key and does not say so yet."""
    for whole in whole_sections(patch, version):
        keys = sections.setdefault(whole["section"], {})
        keys.update(whole["keys"])
        if "" not in whole["keys"]:
            keys[""].pop("parameters", None)
    exact = []
    for one in schema_patch.corrections(patch, version):
        names = fnmatch.filter(sorted(sections), one["section"]) if "*" in one["section"] else [one["section"]]
        for name in names:
            now = sections[name].get(one["key"])
            if "*" not in one["section"] or (now is not None and not same({**now, **one["facts"]}, now)):
                exact.append({**one, "section": name})
    schema_patch.apply(sections, exact)


def whole_sections(patch: Path, version: str) -> list[dict[str, Any]]:
    """The hand-written sections for one version. Raises ValueError for one without evidence."""
    table = schema_store.read(patch) or {}
    for whole in table.get("sections", []):
        if not whole.get("evidence"):
            raise ValueError(f"a section without evidence: {whole['section']}")
    return [whole for whole in table.get("sections", []) if schema_patch.covers(whole["versions"], version)]


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """The folder of a checkout, or of a wheel unpacked for the time being."""
    if source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(source) as wheel:
        wheel.extractall(folder)
        yield Path(folder)


def report(version: str, sections: Sections) -> str:
    """Counts of one version, a line each."""
    groups = Counter(section.split(" ")[0] for section in sections)
    kinds = Counter(keys[""]["kind"] for section, keys in sections.items() if section.startswith("component "))
    keys = sum(len(keys) - 1 for keys in sections.values())
    lines = [f"{version}: {len(sections)} sections {dict(groups)}, {keys} keys"]
    return "\n".join([*lines, f"  components by kind: {dict(kinds.most_common())}"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write schemas/torchtune.json from releases of torchtune.")
    parser.add_argument("sources", nargs="+", metavar="VERSION=DIR_OR_WHEEL")
    parser.add_argument("--snapshot", action="append", default=[], metavar="VERSION=COMMIT")
    parser.add_argument("--order", help="all versions to keep, oldest first, separated by commas")
    parser.add_argument("--output", type=Path, default=SCHEMAS / "torchtune.json")
    parser.add_argument("--patch", type=Path, default=SCHEMAS / "torchtune.patch.json")
    options = parser.parse_args(arguments)
    found: dict[str, Sections] = {}
    for argument in options.sources:
        version, _, source = argument.partition("=")
        if not source:
            parser.error(f"{argument}: VERSION=DIR_OR_WHEEL is needed")
        with unpacked(Path(source)) as root:
            found[version] = extract(root, version, options.patch)
        print(report(version, found[version]))
    table = schema_store.read(options.output)
    snapshots = dict((table or {}).get("snapshots", {})) | dict(s.split("=", 1) for s in options.snapshot)
    order = options.order.split(",") if options.order else None
    merged = schema_store.merge(table, "torchtune", found, order, {"snapshots": snapshots})
    schema_store.write(options.output, merged)
    return 0


if __name__ == "__main__":
    sys.exit(main())
