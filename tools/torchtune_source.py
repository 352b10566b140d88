"""A Python package read as syntax trees: names followed through imports and aliases, signatures, literal values.

Nothing is imported. What a name means is found the way the interpreter would: the bindings of its module, `from`
imports, re-exports in `__init__`, `partial(...)` and plain aliases.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

Node: TypeAlias = ast.FunctionDef | ast.ClassDef | ast.expr
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class Import:
    """`import module` (name None) or `from module import name`."""

    module: str
    name: str | None


@dataclass(eq=False)
class Module:
    """One module: its syntax tree and what its top level binds."""

    name: str
    is_package: bool
    tree: ast.Module
    bindings: dict[str, Import | Node] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    exported: list[str] | None = None


@dataclass(frozen=True, eq=False)
class Target:
    """What a dotted path means: an own function, class or value (with its module), or a path outside the package."""

    path: str
    module: Module | None = None
    node: Node | None = None

    @property
    def external(self) -> bool:
        return self.node is None


@dataclass(frozen=True)
class Parameter:
    """One parameter; `annotation` is an expression of `module`, `default` one of `default_module` (a partial's own)."""

    name: str
    module: Module
    annotation: ast.expr | None = None
    default: ast.expr | None = None
    default_module: Module | None = None


@dataclass(frozen=True)
class Signature:
    """What a callable takes. `kwargs` and `varargs` are the names of its catch-alls; `body` is where they go."""

    parameters: tuple[Parameter, ...]
    kwargs: str | None = None
    varargs: str | None = None
    body: ast.FunctionDef | None = None
    module: Module | None = None
    owner: Target | None = None


class NotLiteral(Exception):
    """The expression is no literal that can be told from the source alone."""


class Package:
    """The modules below a root folder that holds the package (and, as modules too, its `recipes`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules: dict[str, Module | None] = {}

    def names(self, package: str) -> Iterator[str]:
        """The dotted names of all modules of `package`, itself included."""
        for path in sorted((self.root / package.replace(".", "/")).rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def module(self, name: str) -> Module | None:
        """The module of that name; None where the package has none."""
        if name not in self._modules:
            base = self.root / name.replace(".", "/")
            file, is_package = (base / "__init__.py", True) if base.is_dir() else (base.with_suffix(".py"), False)
            self._modules[name] = _parse(name, file, is_package) if file.exists() else None
        return self._modules[name]

    def resolve(self, path: str) -> Target | None:
        """What a dotted path names, followed to its definition; None where a module of ours lacks the name."""
        parts = path.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            module = self.module(".".join(parts[:cut]))
            if module is not None:
                target = self.lookup(module, parts[cut])
                for part in parts[cut + 1 :]:
                    target = self._member(target, part)
                return target
        return None if self.module(parts[0]) else Target(path)

    def lookup(self, module: Module, name: str) -> Target | None:
        """What `name` means at the top level of `module`."""
        bound = module.bindings.get(name)
        if bound == Import(module.name, name):  # `from package import submodule` in the package itself
            bound = None
        if isinstance(bound, Import):
            if bound.name is None:
                return Target(bound.module, self.module(bound.module))
            source = self.module(bound.module)
            if source is None:
                inside = self.module(bound.module.split(".")[0]) is not None
                return None if inside else Target(f"{bound.module}.{bound.name}")
            return self.lookup(source, bound.name)
        if bound is not None:
            if isinstance(bound, ast.Name | ast.Attribute):
                return self.expression(module, bound) or Target(f"{module.name}.{name}", module, bound)
            return Target(f"{module.name}.{name}", module, bound)
        submodule = self.module(f"{module.name}.{name}")
        if submodule is not None:
            return Target(submodule.name, submodule)
        for star in module.stars:
            source = self.module(star)
            found = self.lookup(source, name) if source else None
            if found is not None:
                return found
        return None

    def expression(self, module: Module, node: ast.expr) -> Target | None:
        """What a name or attribute expression in `module` names."""
        if isinstance(node, ast.Name):
            return self.lookup(module, node.id)
        if isinstance(node, ast.Attribute):
            return self._member(self.expression(module, node.value), node.attr)
        return None

    def _member(self, target: Target | None, name: str) -> Target | None:
        if target is None:
            return None
        if target.node is None:
            if target.module is not None:
                return self.lookup(target.module, name)
            return Target(f"{target.path}.{name}")
        if isinstance(target.node, ast.ClassDef) and target.module is not None:
            for statement in target.node.body:
                for bound, node in _bound(statement):
                    if bound == name and not isinstance(node, Import):
                        return Target(f"{target.path}.{name}", target.module, node)
        return None

    def public(self, module: Module) -> Sequence[str]:
        """The public names of a module: `__all__`, or what it binds; for a plain file only what it defines itself."""
        if module.exported is not None:
            return module.exported
        return [
            name
            for name, bound in module.bindings.items()
            if not name.startswith("_") and (module.is_package or not isinstance(bound, Import))
        ]

    def partial(self, target: Target) -> tuple[Target, dict[str, ast.expr]] | None:
        """The callable and the keywords of `name = partial(callable, key=value)`; None for anything else."""
        node, module = target.node, target.module
        if not isinstance(node, ast.Call) or module is None or not node.args:
            return None
        called = self.expression(module, node.func)
        if called is None or called.path != "functools.partial":
            return None
        inner = self.expression(module, node.args[0])
        if inner is None:
            return None
        return inner, {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}

    def signature(self, target: Target) -> Signature | None:
        """The parameters of a function, class or partial; None where the source alone does not tell."""
        node, module = target.node, target.module
        if module is None:
            return None
        if isinstance(node, ast.FunctionDef):
            return replace(_arguments(node, module), owner=target)
        if isinstance(node, ast.ClassDef):
            return self._class_signature(target)
        bound = self.partial(target)
        if bound is None:
            return None
        inner = self.signature(bound[0])
        if inner is None:
            return None
        fixed = bound[1]
        parameters = tuple(
            replace(parameter, default=fixed[parameter.name], default_module=module)
            if parameter.name in fixed
            else parameter
            for parameter in inner.parameters
        )
        return replace(inner, parameters=parameters)

    def bases(self, target: Target) -> Iterator[Target]:
        """The base classes, own and external, in the order of the source."""
        if isinstance(target.node, ast.ClassDef) and target.module is not None:
            for base in target.node.bases:
                expr = base.value if isinstance(base, ast.Subscript) else base
                found = self.expression(target.module, expr)
                if found is not None:
                    yield found

    def method(self, target: Target, name: str) -> tuple[ast.FunctionDef, Target] | None:
        """A method of a class and the class that defines it, own or inherited within the package."""
        if isinstance(target.node, ast.ClassDef):
            for statement in target.node.body:
                if isinstance(statement, ast.FunctionDef) and statement.name == name:
                    return statement, target
        for base in self.bases(target):
            found = self.method(base, name)
            if found is not None:
                return found
        return None

    def _class_signature(self, target: Target) -> Signature | None:
        assert isinstance(target.node, ast.ClassDef)
        if any(_dotted(d).split(".")[-1] == "dataclass" for d in target.node.decorator_list):
            return Signature(tuple(self._fields(target)), module=target.module, owner=target)
        found = self.method(target, "__init__")
        if found is not None:
            init, owner = found
            assert owner.module is not None
            arguments = _arguments(init, owner.module)
            return replace(arguments, parameters=arguments.parameters[1:], owner=owner)
        outside = [base for base in self._ancestors(target) if base.external]
        if any(base.path.split(".")[-1] in ("Module", "Exception") for base in outside):
            return Signature((), kwargs="kwargs", varargs="args", module=target.module, owner=target)
        if all(base.path.split(".")[-1] in ("Protocol", "ABC", "object", "Generic") for base in outside):
            return Signature((), module=target.module, owner=target)
        return None

    def _ancestors(self, target: Target) -> Iterator[Target]:
        for base in self.bases(target):
            yield base
            yield from self._ancestors(base)

    def _fields(self, target: Target) -> Iterator[Parameter]:
        assert isinstance(target.node, ast.ClassDef)
        assert target.module is not None
        for base in self.bases(target):
            if isinstance(base.node, ast.ClassDef):
                yield from self._fields(base)
        for statement in target.node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                yield Parameter(statement.target.id, target.module, statement.annotation, statement.value)

    def literal(self, module: Module, node: ast.expr) -> object:
        """The value of an expression as JSON data. Raises NotLiteral."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str | int | float | bool | None):
                return node.value
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.literal(module, node.operand)
            if isinstance(value, int | float):
                return -value
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            left, right = self.literal(module, node.left), self.literal(module, node.right)
            if isinstance(left, int | float) and isinstance(right, int | float):
                return _OPERATORS[type(node.op)](left, right)
        elif isinstance(node, ast.List | ast.Tuple):
            return [self.literal(module, item) for item in node.elts]
        elif isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            if all(isinstance(key, str) for key in keys):
                values = [self.literal(module, value) for value in node.values]
                return dict(zip([str(key) for key in keys], values, strict=True))
        elif isinstance(node, ast.Subscript):
            table, key = self.literal(module, node.value), self.literal(module, node.slice)
            if isinstance(table, dict) and key in table:
                return table[key]
        elif isinstance(node, ast.Name | ast.Attribute) and not self._member_of_enum(module, node):
            target = self.expression(module, node)
            if (
                target is not None
                and target.module is not None
                and isinstance(target.node, ast.expr)
                and not isinstance(target.node, ast.Name | ast.Attribute)
            ):
                return self.literal(target.module, target.node)
        raise NotLiteral(ast.unparse(node))

    def _member_of_enum(self, module: Module, node: ast.expr) -> bool:
        owner = self.expression(module, node.value) if isinstance(node, ast.Attribute) else None
        return owner is not None and any(base.path == "enum.Enum" for base in self.bases(owner))


def _parse(name: str, file: Path, is_package: bool) -> Module:
    module = Module(name, is_package, ast.parse(file.read_text(encoding="utf-8"), str(file)))
    for statement in _flat(module.tree.body):
        if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
            module.stars.append(_absolute(module, statement))
            continue
        for bound, what in _bound(statement, module):
            if bound == "__all__" and isinstance(what, ast.List):
                module.exported = [item.value for item in what.elts if isinstance(item, ast.Constant)]  # type: ignore[misc]
            else:
                module.bindings.setdefault(bound, what)
    return module


def _flat(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under `if` and `try` included; the first binding of a name is to win."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _flat([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            yield from _flat([*statement.body, *(s for handler in statement.handlers for s in handler.body)])
        else:
            yield statement


def _bound(statement: ast.stmt, module: Module | None = None) -> Iterator[tuple[str, Import | Node]]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name, statement
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement.value
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        yield statement.target.id, statement.value
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            yield (alias.asname, Import(alias.name, None)) if alias.asname else _top(alias.name)
    elif isinstance(statement, ast.ImportFrom) and module is not None:
        for alias in statement.names:
            yield alias.asname or alias.name, Import(_absolute(module, statement), alias.name)


def _top(name: str) -> tuple[str, Import]:
    first = name.split(".")[0]
    return first, Import(first, None)


def _absolute(module: Module, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    parts = parts[: len(parts) - statement.level + (1 if module.is_package else 0)]
    return ".".join([*parts, statement.module] if statement.module else parts)


@cache
def _arguments(function: ast.FunctionDef, module: Module) -> Signature:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    padding: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults = [*padding, *arguments.defaults]
    pairs = [*zip(positional, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    parameters = tuple(Parameter(argument.arg, module, argument.annotation, default) for argument, default in pairs)
    kwargs = arguments.kwarg.arg if arguments.kwarg else None
    varargs = arguments.vararg.arg if arguments.vararg else None
    return Signature(parameters, kwargs, varargs, function, module)


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)
