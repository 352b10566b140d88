"""Extract Axolotl's config schema from released wheels, by reading source only.

    python tools/extract_axolotl.py 0.21.0=WHEEL_OR_DIRECTORY [VERSION=WHEEL_OR_DIRECTORY ...]

A directory is an unpacked wheel or source distribution (releases before 0.17 come as the latter only). Writes schemas/axolotl.json. Sections: `config` (the top level), one per nested model, and `plugin <dotted path>` with
the keys that a plugin of that path adds to the top level. Beside the facts of pydantic_source.py:

* `removed`: no longer supported, the replacement's key where there is one; `refused` tells when that is an error:
  "truthy" or "set" (any value but null). Without `refused` the key is passed over.
* `supplied`: required, but given by the program and not by the file
* of a plugin's section: `plugin` its dotted path, `also` other paths to the same class, `builtin`: active without
  being listed, `class`: the model its keys come from, `adapters`: the values of `adapter` it adds, `takes`: further
  values that it lets keys of the top level have
* `ignorecase`: the enum's values in any letter case

What the source alone does not tell is corrected by schemas/axolotl.patch.json.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from package_source import Named, NotLiteral, Package
from pydantic_source import models, replacement, section
from schema_patch import apply, corrections
from schema_store import Facts, Sections, merge, read, write

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "AxolotlConfigWCapabilities"
CONFIG_MODULES = ("axolotl.utils.schemas.config", "axolotl.utils.config.models.input.v0_4_1")  # the latter up to 0.7
SUPPLIED = ("capabilities", "env_capabilities")


def extract(package: Package) -> Sections:
    """All sections of one release."""
    top = next((n for m in CONFIG_MODULES if isinstance((n := package.resolve(m, CONFIG)).node, ast.ClassDef)), None)
    if top is None:
        raise ValueError(f"{CONFIG} is not defined in {' or '.join(CONFIG_MODULES)}")
    found = {"config": top, **models(package, top)}
    plugins = list(_plugins(package))
    for _, _, plugin in plugins:
        if arguments := _arguments(package, plugin):
            found |= models(package, arguments)
    sections = {name: _section(package, model) for name, model in found.items()}
    for name in SUPPLIED:
        facts = sections["config"].get(name, {})
        if facts.pop("required", False):
            facts["supplied"] = True
    sections["config"] |= {key: facts for key, facts in _refused(package, top) if key not in sections["config"]}
    if "FSDPConfig" in sections:
        sections["FSDPConfig"] |= {k: f for k, f in _fsdp1(package).items() if k not in sections["FSDPConfig"]}
    builtin = _builtin(package)
    for path, also, plugin in plugins:
        arguments = _arguments(package, plugin)
        keys = _section(package, arguments) if arguments else {"": {}}
        keys[""] |= {"plugin": path}
        if adapters := _adapters(package, plugin):
            keys[""] |= {"adapters": adapters}
        if arguments:
            keys[""] |= {"class": arguments.name}
        if also:
            keys[""] |= {"also": also}
        if path in builtin:
            keys[""] |= {"builtin": True}
        sections[f"plugin {path}"] = keys
    return sections


def _section(package: Package, model: Named) -> dict[str, Facts]:
    keys = section(package, model)
    for name, facts in _deprecations(package, model).items():
        main = next(k for k, f in keys.items() if k and (k == name or f.get("field") == name) and "alias_of" not in f)
        keys[main] = {**keys[main], **facts}
    return keys


def _deprecations(package: Package, model: Named) -> dict[str, Facts]:
    """What the models' own field validators say of their field: that it warns as deprecated, or refuses to go on."""
    found: dict[str, Facts] = {}
    for function in _methods(package, model):
        for name in _validated(function):
            value = function.args.args[-1].arg
            for test, outcome in _outcomes(function, value):
                message = _message(outcome)
                other = replacement(message, name)
                if isinstance(outcome, ast.Raise) and "DeprecationWarning" in ast.unparse(outcome):
                    found[name] = {"removed": other, "refused": test}
                elif isinstance(outcome, ast.Expr) and "deprecated" in message:
                    found[name] = {"deprecated": other}
    return found


def _refused(package: Package, model: Named) -> Iterator[tuple[str, Facts]]:
    """Keys that are no fields and that a validator of the whole config refuses when they are there."""
    for function in _methods(package, model):
        lists: dict[str, list[str]] = {}
        for node in function.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                lists[node.targets[0].id] = _strings(node.value) or _filtered(node.value, lists)
            elif isinstance(node, ast.If) and (raised := [s for s in node.body if isinstance(s, ast.Raise)]):
                key = _looked_up(node.test)
                keys = [key] if key else lists.get(node.test.id, []) if isinstance(node.test, ast.Name) else []
                for key in keys:
                    yield key, {"type": "any", "removed": replacement(_message(raised[0]), key), "refused": "truthy"}
            elif any(isinstance(inner, ast.Return) for inner in ast.walk(node)):
                break  # what follows is under a condition


def _fsdp1(package: Package) -> dict[str, Facts]:
    """Options of the FSDP that is gone: some are refused, some passed over."""
    module = "axolotl.utils.schemas.validation"
    found: dict[str, Facts] = {}
    refused = package.resolve(module, "FSDP1_ONLY_REJECTED_KEYS")
    ignored = package.resolve(module, "FSDP1_ONLY_IGNORED_KEYS")
    if isinstance(refused.node, ast.expr):
        for key, other in package.literal(module, refused.node).items():
            found[key] = {"type": "any", "removed": other or True, "refused": "present"}
    if isinstance(ignored.node, ast.expr):
        for key in package.literal(module, ignored.node):
            found[key] = {"type": "any", "removed": True}
    return found


def _plugins(package: Package) -> Iterator[tuple[str, list[str], Named]]:
    """Every plugin: the dotted path to name it by, other paths to it, and its class."""
    for module in package.modules("axolotl.integrations"):
        tree = package.tree(module)
        for node in tree.body if tree else ():
            if not isinstance(node, ast.ClassDef):
                continue
            plugin = Named(module, node.name, node)
            if node.name == "BasePlugin" or not package.subclass_of(plugin, ("BasePlugin",)):
                continue
            parts = module.split(".")
            paths = [
                ".".join([*parts[:n], node.name])
                for n in range(1, len(parts) + 1)
                if package.resolve(".".join(parts[:n]), node.name).node is node
            ]
            yield paths[0], paths[1:], plugin


def _arguments(package: Package, plugin: Named) -> Named | None:
    """The model of the keys that a plugin adds."""
    for node in _body(package, plugin, "get_input_args"):
        if isinstance(node, ast.Return) and node.value is not None:
            path = package.literal(plugin.module, node.value)
            module, _, name = path.rpartition(".")
            found = package.resolve(module, name)
            if not isinstance(found.node, ast.ClassDef):
                raise ValueError(f"{path}, the keys of {plugin.dotted}, is not found")
            return found
    return None


def _adapters(package: Package, plugin: Named) -> list[str]:
    """The values of `adapter` that a plugin adds."""
    return [
        package.literal(plugin.module, keyword.value)
        for node in _body(package, plugin, "get_adapter_capabilities")
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "AdapterCapabilities"
        for keyword in node.keywords
        if keyword.arg == "name"
    ]


def _body(package: Package, cls: Named, method: str) -> Iterator[ast.AST]:
    """The nodes of a method of this very class."""
    assert isinstance(cls.node, ast.ClassDef)
    for statement in cls.node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == method:
            yield from ast.walk(statement)


def _builtin(package: Package) -> list[str]:
    named = package.resolve("axolotl.integrations.base", "BUILTIN_PLUGINS")
    found: list[str] = package.literal(named.module, named.node) if isinstance(named.node, ast.expr) else []
    return found


def _methods(package: Package, model: Named) -> Iterator[ast.FunctionDef]:
    for owner in reversed(package.mro(model)):
        for statement in owner.node.body if isinstance(owner.node, ast.ClassDef) else ():
            if isinstance(statement, ast.FunctionDef):
                yield statement


def _validated(function: ast.FunctionDef) -> list[str]:
    """The fields a `field_validator` is for."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "field_validator":
            return [str(a.value) for a in decorator.args if isinstance(a, ast.Constant)]
    return []


def _outcomes(function: ast.FunctionDef, value: str) -> Iterator[tuple[str, ast.stmt]]:
    """The statements that run when the value is truthy, or when it is set."""
    tests = {value: "truthy", f"{value} is not None": "set"}
    for node in function.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) in tests:
            for statement in node.body:
                yield tests[ast.unparse(node.test)], statement


def _looked_up(test: ast.expr) -> str | None:
    """`K` of the test `data.get("K")`."""
    if isinstance(test, ast.Call) and ast.unparse(test.func) == "data.get" and isinstance(test.args[0], ast.Constant):
        return str(test.args[0].value)
    return None


def _message(statement: ast.stmt) -> str:
    strings = [n.value for n in ast.walk(statement) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return "".join(strings)


def _strings(node: ast.expr) -> list[str]:
    if isinstance(node, ast.List) and all(isinstance(e, ast.Constant) and isinstance(e.value, str) for e in node.elts):
        return [ast.literal_eval(e) for e in node.elts]
    return []


def _filtered(node: ast.expr, lists: dict[str, list[str]]) -> list[str]:
    """The list that `[f for f in LIST if data.get(f)]` goes through."""
    if isinstance(node, ast.ListComp) and [ast.unparse(i) for i in node.generators[0].ifs] == [
        f"data.get({ast.unparse(node.elt)})"
    ]:
        return lists.get(ast.unparse(node.generators[0].iter), [])
    return []


def main(arguments: Sequence[str]) -> int:
    if not arguments or any("=" not in argument for argument in arguments):
        print(f"usage: {Path(sys.argv[0]).name} VERSION=WHEEL_OR_DIRECTORY ...", file=sys.stderr)
        return 2
    patch_file = ROOT / "schemas" / "axolotl.patch.json"
    by_version: dict[str, Sections] = {}
    for argument in arguments:
        version, _, where = argument.partition("=")
        try:
            by_version[version] = extract(Package(Path(where)))
        except (NotLiteral, ValueError) as problem:
            print(f"{version}: {problem}", file=sys.stderr)
            return 2
        apply(by_version[version], corrections(patch_file, version))
    target = ROOT / "schemas" / "axolotl.json"
    write(target, merge(read(target), "axolotl", by_version))
    for version, sections in by_version.items():
        keys = sum(len([key for key in section if key]) for section in sections.values())
        print(
            f"axolotl {version}: {len(sections)} sections, {keys} keys, {len(sections['config']) - 1} at the top level"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
