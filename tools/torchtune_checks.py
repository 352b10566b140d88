"""List where torchtune's recipes, and what they call on the config, refuse one: their `raise` and `assert` statements.

    python tools/torchtune_checks.py VERSION=WHEEL_OR_DIRECTORY [VERSION=WHEEL_OR_DIRECTORY ...]

Give all versions, oldest first; what is listed are the statements of the last release (a version that begins with a
digit). Writes schemas/torchtune.checks.json, one line a statement, those that are the same put together:

* `file`: below the release; `recipes/` with the names of the recipes in `recipes`
* `function`, `error`: the exception's name, `AssertionError` for an assert
* `keys`: the keys of the config that the tests around it look at
* `since`: the first version that has it, `until`: the first after the last release that has it no more
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from package_source import last

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "schemas" / "torchtune.checks.json"
CALLED = ("torchtune/training", "torchtune/config", "torchtune/utils/_device.py", "torchtune/datasets/_concat.py",
          "torchtune/datasets/_packed.py")  # fmt: skip


@dataclass(frozen=True)
class Statement:
    file: str
    function: str
    error: str
    keys: tuple[str, ...]


@dataclass
class Scope:
    """What names in a function stand for: keys of the config, by local name and by attribute of self."""

    attributes: dict[str, set[str]] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)

    def keys(self, node: ast.AST) -> set[str]:
        found: set[str] = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                found |= {part.attr} if part.value.id == "cfg" and part.attr != "get" else set()
                found |= self.attributes.get(part.attr, set()) if part.value.id == "self" else set()
            elif isinstance(part, ast.Call) and last(part.func) == "get" and part.args:
                first = part.args[0]
                if isinstance(first, ast.Constant) and ast.unparse(part.func).startswith("cfg."):
                    found |= {".".join([*ast.unparse(part.func).split(".")[1:-1], str(first.value)])}
            elif isinstance(part, ast.Name):
                found |= self.names.get(part.id, set())
        return found


def statements(file: str, tree: ast.Module) -> Iterator[Statement]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            scope = Scope()
            functions = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            for function in functions:
                for part in ast.walk(function):
                    if isinstance(part, ast.Assign):
                        for target in part.targets:
                            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                                scope.attributes.setdefault(target.attr, set()).update(scope.keys(part.value))
            for function in functions:
                yield from _of_function(file, function, Scope(scope.attributes))
        elif isinstance(node, ast.FunctionDef):
            yield from _of_function(file, node, Scope())


def _of_function(file: str, function: ast.FunctionDef, scope: Scope) -> Iterator[Statement]:
    for argument in (*function.args.args, *function.args.kwonlyargs):
        name = argument.arg
        if name.startswith("cfg_") or name.endswith("_cfg"):
            scope.names[name] = {name.removeprefix("cfg_").removesuffix("_cfg")}
        elif name not in ("self", "cfg", "cls"):
            scope.names[name] = {name}
    for part in ast.walk(function):
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
            scope.names.setdefault(part.targets[0].id, set()).update(scope.keys(part.value))
    yield from _inside(file, function, function.body, scope, set())


def _inside(
    file: str, function: ast.FunctionDef, body: Sequence[ast.stmt], scope: Scope, around: set[str]
) -> Iterator[Statement]:
    for node in body:
        if isinstance(node, ast.Raise):
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = last(error) if error is not None else "the same"
            yield Statement(file, function.name, name, tuple(sorted(around)))
        elif isinstance(node, ast.Assert):
            keys = around | scope.keys(node.test)
            yield Statement(file, function.name, "AssertionError", tuple(sorted(keys)))
        elif isinstance(node, ast.If):
            tested = around | scope.keys(node.test)
            yield from _inside(file, function, node.body, scope, tested)
            yield from _inside(file, function, node.orelse, scope, tested)
        else:
            for part in ("body", "orelse", "finalbody"):
                inner = getattr(node, part, None)
                if isinstance(inner, list) and not isinstance(node, ast.ClassDef):
                    yield from _inside(file, function, inner, scope, around)
            for handler in getattr(node, "handlers", ()):
                yield from _inside(file, function, handler.body, scope, around)


def release(where: Path) -> list[tuple[str, Statement]]:
    """Each statement with the recipe it stands in ("" for the package)."""
    found: list[tuple[str, Statement]] = []
    files = sorted((where / "recipes").rglob("*.py"))
    for name in CALLED:
        files += [where / name] if name.endswith(".py") else sorted((where / name).rglob("*.py"))
    for file in files:
        if not file.is_file() or "/configs/" in str(file) or file.name == "__init__.py":
            continue
        path = str(file.relative_to(where))
        recipe = path.removeprefix("recipes/").removesuffix(".py") if path.startswith("recipes/") else ""
        for one in statements("recipes" if recipe else path, ast.parse(file.read_text(encoding="utf-8"))):
            found.append((recipe, one))
    return found


def main(arguments: Sequence[str]) -> int:
    if not arguments or any("=" not in argument for argument in arguments):
        print(f"usage: {Path(sys.argv[0]).name} VERSION=DIRECTORY ...", file=sys.stderr)
        return 2
    releases = {one.partition("=")[0]: release(Path(one.partition("=")[2])) for one in arguments}
    newest = [version for version in releases if version[:1].isdigit()][-1]
    rows: dict[Statement, dict[str, Any]] = {}
    for recipe, one in releases[newest]:
        row = rows.setdefault(
            one,
            {"file": one.file, "function": one.function, "error": one.error, "keys": list(one.keys), "recipes": []},
        )
        row["recipes"] += [recipe] if recipe and recipe not in row["recipes"] else []
    for one, row in rows.items():
        having = [version for version, found in releases.items() if any(other == one for _, other in found)]
        later = list(releases)[list(releases).index(newest) :]
        row |= {"since": having[0], "until": next((version for version in later if version not in having), None)}
        if not row["recipes"]:
            del row["recipes"]
    lines = ",\n".join(json.dumps(row) for row in rows.values())
    TARGET.write_text(
        f'{{"framework": "torchtune", "version": "{newest}",\n"checks": [\n{lines}\n]}}\n', encoding="utf-8"
    )
    print(f"torchtune {newest}: {len(releases[newest])} statements, {len(rows)} of them different")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
