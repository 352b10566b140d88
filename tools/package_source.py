"""A release read as syntax trees, without importing it: names followed across modules, bases merged, literal values."""

from __future__ import annotations

import ast
import operator
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ENUM_BASES = {"Enum", "IntEnum", "StrEnum"}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.LShift: operator.lshift,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


class NotLiteral(Exception):
    """The expression has no value that can be told from the source alone."""


@dataclass(frozen=True)
class Named:
    """What a name stands for: a class, a module-level expression, or something outside the package."""

    module: str
    name: str
    node: ast.ClassDef | ast.expr | None

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}"


class Package:
    """The source of one release: a wheel, or a directory that holds the package's own directory."""

    def __init__(self, where: Path) -> None:
        self.root: Any = where if where.is_dir() else zipfile.Path(where)
        if where.is_dir() and (where / "src").is_dir():  # an unpacked source distribution
            self.root = where / "src"
        self._trees: dict[str, ast.Module | None] = {}
        self._scopes: dict[str, dict[str, ast.stmt]] = {}

    def text(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        file = self.root.joinpath(path)
        return str(file.read_text(encoding="utf-8")) if file.is_file() else None

    def texts(self, directory: str, ending: str) -> Iterator[tuple[str, str]]:
        """The files of a directory by their names without the ending."""
        for entry in sorted(self.root.joinpath(directory).iterdir(), key=lambda e: str(e.name)):
            if entry.name.endswith(ending):
                yield entry.name.removesuffix(ending), entry.read_text(encoding="utf-8")

    def file(self, module: str) -> str | None:
        base = module.replace(".", "/")
        return next((p for p in (f"{base}.py", f"{base}/__init__.py") if self.root.joinpath(p).is_file()), None)

    def tree(self, module: str) -> ast.Module | None:
        if module not in self._trees:
            path = self.file(module)
            text = self.text(path) if path else None
            self._trees[module] = None if text is None else ast.parse(text)
        return self._trees[module]

    def modules(self, package: str) -> Iterator[str]:
        """The modules below a package, by name."""

        def below(directory: Any, prefix: str) -> Iterator[str]:
            for entry in sorted(directory.iterdir(), key=lambda e: str(e.name)):
                if entry.is_dir():
                    yield from below(entry, f"{prefix}.{entry.name}")
                elif entry.name == "__init__.py":
                    yield prefix
                elif entry.name.endswith(".py"):
                    yield f"{prefix}.{entry.name[:-3]}"

        yield from below(self.root.joinpath(package.replace(".", "/")), package)

    def _scope(self, module: str) -> dict[str, ast.stmt]:
        if module not in self._scopes:
            found: dict[str, ast.stmt] = {}
            tree = self.tree(module)
            for statement in tree.body if tree else ():
                for name in defined(statement):
                    found[name] = statement
            self._scopes[module] = found
        return self._scopes[module]

    def resolve(self, module: str, name: str) -> Named:
        """What `name` means at the top level of `module`, imports followed."""
        statement = self._scope(module).get(name)
        if isinstance(statement, ast.ClassDef):
            return Named(module, name, statement)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            return Named(module, name, statement.value)
        if isinstance(statement, ast.ImportFrom):
            source = self._absolute(module, statement)
            original = next(a.name for a in statement.names if (a.asname or a.name) == name)
            if self.file(source):
                return self.resolve(source, original)
            return Named(source, original, None)
        return Named("", name, None)

    def _absolute(self, module: str, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        parts = module.split(".")
        is_package = (self.file(module) or "").endswith("/__init__.py")
        keep = len(parts) - statement.level + (1 if is_package else 0)
        return ".".join([*parts[:keep], *([statement.module] if statement.module else [])])

    def bases(self, cls: Named) -> list[Named]:
        assert isinstance(cls.node, ast.ClassDef)
        return [self.resolve(cls.module, last(base)) for base in cls.node.bases]

    def mro(self, cls: Named) -> list[Named]:
        """The method resolution order (C3); bases outside the package stand without their own bases."""
        if not isinstance(cls.node, ast.ClassDef):
            return [cls]
        bases = self.bases(cls)
        return [cls, *_merge_orders([*(self.mro(base) for base in bases), list(bases)])]

    def subclass_of(self, cls: Named, names: Iterable[str]) -> bool:
        return any(base.name in names for base in self.mro(cls)[1:])

    def is_enum(self, cls: Named) -> bool:
        return isinstance(cls.node, ast.ClassDef) and self.subclass_of(cls, _ENUM_BASES)

    def is_model(self, cls: Named) -> bool:
        return isinstance(cls.node, ast.ClassDef) and self.subclass_of(cls, ("BaseModel",))

    def members(self, cls: Named) -> list[Any]:
        """The values of an Enum class. Raises NotLiteral where the source alone does not tell one."""
        assert isinstance(cls.node, ast.ClassDef)
        return [
            self.literal(cls.module, s.value)
            for s in cls.node.body
            if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)
        ]

    def literal(self, module: str, node: ast.expr, owner: ast.ClassDef | None = None) -> Any:
        """The value of an expression as data. Raises NotLiteral."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self.literal(module, item, owner) for item in node.elts]
        if isinstance(node, ast.Dict):
            keys = [self.literal(module, key, owner) if key else None for key in node.keys]
            if None in keys:
                raise NotLiteral(ast.unparse(node))
            return dict(zip(keys, (self.literal(module, v, owner) for v in node.values), strict=True))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self.literal(module, node.operand, owner)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            left, right = self.literal(module, node.left, owner), self.literal(module, node.right, owner)
            return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.Subscript):
            return self.literal(module, node.value, owner)[self.literal(module, node.slice, owner)]
        if isinstance(node, ast.Call) and last(node.func) in ("int", "float", "str") and len(node.args) == 1:
            value = self.literal(module, node.args[0], owner)
            return {"int": int, "float": float, "str": str}[last(node.func)](value)
        if isinstance(node, ast.Name):
            for statement in owner.body if owner else ():
                if node.id in defined(statement) and isinstance(statement, ast.Assign | ast.AnnAssign):
                    assert statement.value is not None
                    return self.literal(module, statement.value, owner)
            named = self.resolve(module, node.id)
            if isinstance(named.node, ast.expr):
                return self.literal(named.module, named.node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            named = self.resolve(module, node.value.id)
            if self.is_enum(named):
                assert isinstance(named.node, ast.ClassDef)
                return self.literal(named.module, _assigned(named.node, node.attr))
        raise NotLiteral(ast.unparse(node))


def defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [t.id for t in statement.targets if isinstance(t, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    return []


def _assigned(cls: ast.ClassDef, name: str) -> ast.expr:
    for statement in cls.body:
        if isinstance(statement, ast.Assign) and name in defined(statement):
            return statement.value
    raise NotLiteral(f"{cls.name}.{name}")


def last(node: ast.expr) -> str:
    """The last name of a dotted expression, of a subscript's head or of a call's function."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return last(node.value)
    return ""


def in_order(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        yield from in_order(child)


def union_members(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*union_members(node.left), *union_members(node.right)]
    if isinstance(node, ast.Subscript) and last(node.value) in ("Optional", "Union"):
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [member for item in items for member in union_members(item)]
    return [node]


def _merge_orders(orders: list[list[Named]]) -> list[Named]:
    merged: list[Named] = []
    while orders := [order for order in orders if order]:
        for order in orders:
            head = order[0]
            if not any(_among(head, other[1:]) for other in orders):
                break
        else:
            raise ValueError("inconsistent bases")
        merged.append(head)
        orders = [[one for one in order if not _same(one, head)] for order in orders]
    return merged


def _same(a: Named, b: Named) -> bool:
    return a.module == b.module and a.name == b.name


def _among(one: Named, others: Iterable[Named]) -> bool:
    return any(_same(one, other) for other in others)
