"""List the functions with which Axolotl checks a config, by reading released wheels as syntax trees.

    python tools/axolotl_validators.py VERSION=WHEEL_OR_DIRECTORY [VERSION=WHEEL_OR_DIRECTORY ...]

Give all releases, oldest first; what is listed are the functions of the last. Writes schemas/axolotl.validators.json:
one line a function, in the order in which the functions stand in the model that checks a config (pydantic runs those
of mode `before` from the last to the first, and then those of mode `after` from the first to the last; a plugin's
stand before all others), then those of other models. Of each:

* `name` (class and function), `file`, `model`: `config`, `plugin PATH`, the section of a nested mapping, or `cloud`
  (models that no training config reaches)
* `mode`: `before` or `after`; `fields` of a field validator
* `does`: any of `raises`, `warns`, `rewrites`; functions of the package that it calls included
* `machine`: what it asks of the machine
* `reads`: the keys that it names
* `since`: the first release that has a function of this name, `same`: the first of the releases up to the last in which
  its code is what it is now, messages and names of local variables aside
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract_axolotl import CONFIG, CONFIG_MODULES, extract
from package_source import Named, Package, last
from pydantic_source import models

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "schemas" / "axolotl.validators.json"
DECORATORS = ("model_validator", "field_validator")
WARNINGS = ("warning", "warning_once")
MACHINE = {
    "is_available": "GPU",
    "is_torch_npu_available": "NPU",
    "is_fp8_available": "packages",
    "is_flash_attn_2_available": "packages",
    "find_spec": "packages",
    "ALL_ATTENTION_FUNCTIONS": "packages",
    "varlen_attn": "packages",
    "capabilities": "GPU",
    "env_capabilities": "packages",
    "open": "files",
    "is_file": "files",
    "get_default_process_count": "processors",
}
Function = ast.FunctionDef


@dataclass(frozen=True)
class Validator:
    """A decorated function and the class that defines it."""

    owner: Named
    function: Function
    decorator: ast.Call

    @property
    def name(self) -> str:
        return f"{self.owner.name}.{self.function.name}"

    @property
    def mode(self) -> str:
        for keyword in self.decorator.keywords:
            if keyword.arg == "mode" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
        return "after"

    @property
    def fields(self) -> list[str]:
        return [str(argument.value) for argument in self.decorator.args if isinstance(argument, ast.Constant)]


def of_class(cls: Named) -> Iterator[Validator]:
    """The validators that a class itself defines, a later one of the same name in the place of the earlier."""
    found: dict[str, Validator] = {}
    for statement in cls.node.body if isinstance(cls.node, ast.ClassDef) else ():
        for decorator in statement.decorator_list if isinstance(statement, ast.FunctionDef) else ():
            if isinstance(decorator, ast.Call) and last(decorator.func) in DECORATORS:
                assert isinstance(statement, ast.FunctionDef)
                found[statement.name] = Validator(cls, statement, decorator)
    yield from found.values()


def of_model(package: Package, model: Named) -> list[Validator]:
    """A model's validators in the order in which pydantic gathers them: bases first, as the MRO has them."""
    found: dict[str, Validator] = {}
    for cls in reversed(package.mro(model)):
        found |= {one.function.name: one for one in of_class(cls)}
    return list(found.values())


def listed(package: Package) -> Iterator[tuple[str, Validator]]:
    """Each validator of a release with the section of the schema that it is for."""
    top = next(n for m in CONFIG_MODULES if isinstance((n := package.resolve(m, CONFIG)).node, ast.ClassDef))
    sections: dict[str, Named] = {"config": top, **models(package, top)}
    for section, keys in extract(package).items():
        about = keys.get("", {})
        if "plugin" in about and "class" in about:
            sections[section] = _plugin_model(package, about["plugin"], about["class"])
            sections |= models(package, sections[section])
    seen: set[tuple[str, str]] = set()
    for section, model in sections.items():
        for one in of_model(package, model):
            key = (one.owner.dotted, one.function.name)
            if key not in seen:
                seen.add(key)
                yield section, one
    for module in package.modules("axolotl"):
        tree = package.tree(module)
        for node in tree.body if tree else ():
            for one in of_class(Named(module, node.name, node)) if isinstance(node, ast.ClassDef) else ():
                key = (one.owner.dotted, one.function.name)
                if key not in seen:
                    seen.add(key)
                    yield "other", one


def _plugin_model(package: Package, path: str, name: str) -> Named:
    for module in package.modules(".".join(path.split(".")[:3])):
        found = package.resolve(module, name)
        if isinstance(found.node, ast.ClassDef):
            return found
    raise ValueError(f"the model {name} of {path} is not found")


def callees(package: Package, one: Validator) -> list[Function]:
    """The function and those of the package that it calls, at any depth; the class's own and the module's."""
    found: list[Function] = []
    queue: list[tuple[str, Function]] = [(one.owner.module, one.function)]
    while queue:
        module, function = queue.pop()
        if any(function is other for other in found):
            continue
        found.append(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                queue += list(_defined(package, one.owner, module, function, node.func))
    return found


def _defined(
    package: Package, owner: Named, module: str, within: Function, called: ast.expr
) -> Iterator[tuple[str, Function]]:
    name = last(called)
    if isinstance(called, ast.Attribute):
        methods = [s for c in package.mro(owner) if isinstance(c.node, ast.ClassDef) for s in c.node.body]
        for statement in methods:
            if isinstance(statement, ast.FunctionDef) and statement.name == name:
                yield owner.module, statement
        return
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(within)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    source, original = imported.get(name, (module, name))
    for where in (source, _imported_from(package, source, original)):
        tree = package.tree(where) if where else None
        for statement in tree.body if tree else ():
            if isinstance(statement, ast.FunctionDef) and statement.name == original:
                yield where, statement
                return


def _imported_from(package: Package, module: str, name: str) -> str:
    tree = package.tree(module) if module else None
    for statement in tree.body if tree else ():
        if isinstance(statement, ast.ImportFrom) and any((a.asname or a.name) == name for a in statement.names):
            return statement.module or ""
    return ""


def does(one: Validator, functions: Sequence[Function]) -> list[str]:
    nodes = [node for function in functions for node in ast.walk(function)]
    found = []
    if any(isinstance(node, ast.Raise) for node in nodes):
        found.append("raises")
    if any(isinstance(node, ast.Call) and last(node.func) in WARNINGS for node in nodes):
        found.append("warns")
    if any(_rewrites(node) for node in nodes) or (one.fields and _returns_another(one.function)):
        found.append("rewrites")
    return found


def _rewrites(node: ast.AST) -> bool:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.Call) and last(node.func) in ("pop", "setdefault"):
        return True
    return any(
        (isinstance(target, ast.Attribute) and ast.unparse(target).startswith("self."))
        or (isinstance(target, ast.Subscript) and ast.unparse(target).startswith(("data[", "self.")))
        for target in targets
    )


def _returns_another(function: Function) -> bool:
    """Whether a field validator gives back anything but its argument."""
    argument = function.args.args[-1].arg
    assigned = any(
        isinstance(node, ast.Assign) and any(ast.unparse(target) == argument for target in node.targets)
        for node in ast.walk(function)
    )
    returned = [ast.unparse(n.value) for n in ast.walk(function) if isinstance(n, ast.Return) and n.value is not None]
    return assigned or any(text not in (argument, "None") for text in returned)


def asks(functions: Sequence[Function]) -> list[str]:
    names: set[str] = set()
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Name | ast.Attribute):
                names.add(last(node))
            elif isinstance(node, ast.Constant) and node.value in ("capabilities", "env_capabilities"):
                names.add(str(node.value))
            elif isinstance(node, ast.alias):
                names.add(node.name)
    return sorted({MACHINE[name] for name in names if name in MACHINE})


def reads(one: Validator, functions: Sequence[Function], keys: set[str]) -> list[str]:
    """The keys that it names, its own fields first."""
    found = dict.fromkeys(one.fields)
    for function in functions:
        compared = {id(item) for node in ast.walk(function) if isinstance(node, ast.Compare) for item in _values(node)}
        for node in ast.walk(function):
            name = None
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in compared:
                name = node.value
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                name = node.attr
            if name in keys:
                found[name] = None
    return list(found)


def _values(node: ast.Compare) -> Iterator[ast.AST]:
    for operator, item in zip(node.ops, node.comparators, strict=True):
        if not isinstance(operator, ast.In | ast.NotIn) or not isinstance(item, ast.Name):
            yield from ast.walk(item)


class _Plain(ast.NodeTransformer):
    """Code without what does not change a verdict: documentation, text of messages, annotations."""

    def visit_FunctionDef(self, node: Function) -> ast.AST:
        self.generic_visit(node)
        if node.body and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant):
            node.body = node.body[1:] or [ast.Pass()]
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
        node.name, node.decorator_list = "function", []
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if isinstance(node.value, ast.Call) and "LOG." in ast.unparse(node.value) else node


def code(functions: Sequence[Function]) -> list[str]:
    return [ast.dump(_Plain().visit(ast.parse(ast.unparse(function)))) for function in functions]


def write(target: Path, rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    head = json.dumps(about)[1:-1]
    target.write_text(f'{{{head},\n"validators": [\n{lines}\n]}}\n', encoding="utf-8")


def named(package: Package) -> dict[str, list[list[str]]]:
    """The code of each validator of a release by its function's name (classes were split and renamed over time)."""
    found: dict[str, list[list[str]]] = {}
    for module in package.modules("axolotl"):
        tree = package.tree(module)
        for node in tree.body if tree else ():
            for one in of_class(Named(module, node.name, node)) if isinstance(node, ast.ClassDef) else ():
                found.setdefault(one.function.name, []).append(code(callees(package, one)))
    return found


def main(arguments: Sequence[str]) -> int:
    if not arguments or any("=" not in argument for argument in arguments):
        print(f"usage: {Path(sys.argv[0]).name} VERSION=WHEEL_OR_DIRECTORY ...", file=sys.stderr)
        return 2
    packages = {argument.partition("=")[0]: Package(Path(argument.partition("=")[2])) for argument in arguments}
    newest = list(packages)[-1]
    history = {version: named(package) for version, package in packages.items()}
    package = packages[newest]
    keys = {key for section in extract(package).values() for key in section if key}
    rows = []
    for section, one in listed(package):
        functions = callees(package, one)
        now = code(functions)
        having = [version for version, names in history.items() if one.function.name in names]
        same = newest
        for version in reversed(packages):
            if now not in history[version].get(one.function.name, []):
                break
            same = version
        row: dict[str, Any] = {"name": one.name, "file": package.file(one.owner.module), "model": section}
        row |= {"mode": one.mode} | ({"fields": one.fields} if one.fields else {})
        row |= {"does": does(one, functions)}
        if machine := asks(functions):
            row["machine"] = machine
        row |= {"reads": reads(one, functions, keys), "since": having[0], "same": same}
        rows.append(row)
    write(TARGET, rows, {"framework": "axolotl", "version": newest})
    count = {kind: sum(kind in row["does"] for row in rows) for kind in ("raises", "warns", "rewrites")}
    print(f"axolotl {newest}: {len(rows)} validators, {', '.join(f'{n} {kind}' for kind, n in count.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
