"""Which keys of the config a recipe reads: its source followed from `main(cfg)` as an abstract run over syntax trees.

A value is followed while it is the config or a part of it: through local names, `self.x`, arguments of methods, classes
of the package that receive it. Attribute and item access is a hard read; `get`, `getattr`, `hasattr` and
`in` are soft ones. A read under a test of other keys is guarded by them.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from schema_store import Facts
from torchtune_keys import Guard, Path, Reads, dotted, facts_of
from torchtune_source import Module, NotLiteral, Package, Target
from torchtune_types import type_facts

_SAME = ("list", "tuple", "copy", "deepcopy", "to_container", "get_dtype", "ListConfig")
_UNTYPED = ("any", "DictConfig", "ListConfig", "torch.", "ScaleType")


@dataclass(frozen=True)
class Part:
    """The config (the empty path) or a part of it."""

    path: Path


@dataclass
class Instance:
    """An object of a class of ours, with what it keeps of the config."""

    cls: Target
    attributes: dict[str, Value] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Method:
    instance: Instance
    name: str


@dataclass(frozen=True)
class Extra:
    """What a `**kwargs` parameter holds."""

    values: Mapping[str, Value]


Value: TypeAlias = Part | Instance | Method | Target | Extra | None


class Reader:
    """One run over one recipe; `keys` holds what it read."""

    def __init__(self, package: Package, module: Module) -> None:
        self.package = package
        self.root = module
        self.keys: dict[Path, Reads] = {}
        self.guards: list[Guard] = []
        self.touched: list[Path] = []
        self.instances: list[Instance] = []
        self.stack: list[tuple[int, str]] = []

    def run(self) -> None:
        """Follow the recipe's entry point, then the methods that nothing called by name."""
        entry = next(
            bound
            for name in ("recipe_main", "main")
            if isinstance(bound := self.root.bindings.get(name), ast.FunctionDef)
        )
        self._body(entry.body, {entry.args.args[0].arg: Part(())}, self.root)
        for instance in self.instances:
            if isinstance(instance.cls.node, ast.ClassDef):
                for statement in instance.cls.node.body:
                    if isinstance(statement, ast.FunctionDef) and statement.name not in instance.called:
                        self._method(Method(instance, statement.name), [], {})

    # Recording

    def _read(self, path: Path) -> Reads:
        return self.keys.setdefault(path, Reads())

    def _hard(self, path: Path) -> None:
        self.touched.append(path)
        if (dotted(path), True) in self.guards:
            return  # read only where its own test found it
        parts = {dotted(path[: i + 1]) for i in range(len(path))}
        guards = dict.fromkeys(guard for guard in self.guards if guard[0] not in parts)
        self._read(path).hard.append(tuple(guards))

    def _soft(self, path: Path, default: ast.expr | None, value: Value, module: Module, given: bool) -> None:
        facts: Facts = {}
        if isinstance(value, Part):
            facts["default_key"] = dotted(value.path)
        elif default is not None:
            try:
                facts["default"] = self.package.literal(module, default)
            except NotLiteral:
                facts["expression"] = ast.unparse(default)
        elif given:
            facts["default"] = None
        self._read(path).soft.append(facts)
        self.touched.append(path)

    def _type(self, value: Value, annotation: ast.expr | None, module: Module) -> None:
        """A part that is passed to a parameter has the parameter's type."""
        if isinstance(value, Part) and value.path and annotation is not None:
            found = type_facts(self.package, module, annotation)
            types = self._read(value.path).facts.setdefault("types", [])
            if not any(word in found["type"] for word in _UNTYPED) and found not in types:
                types.append(found)

    # Statements

    def _body(self, body: Sequence[ast.stmt], names: dict[str, Value], module: Module) -> Value:
        result: Value = None
        for statement in body:
            result = self._statement(statement, names, module) or result
        return result

    def _statement(self, node: ast.stmt, names: dict[str, Value], module: Module) -> Value:
        result: Value = None
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            value = self._eval(node.value, names, module) if node.value else None
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self._assign(target, value, names, module)
        elif isinstance(node, ast.If):
            self._raises(node, names, module)
            tested = self._tested(node.test, names, module)
            with self._guarded(tested, True):
                result = self._body(node.body, names, module)
            with self._guarded(tested, False):
                result = self._body(node.orelse, names, module) or result
        elif isinstance(node, ast.For):
            self._assign(node.target, self._item(node.iter, names, module), names, module)
            result = self._body([*node.body, *node.orelse], names, module)
        elif isinstance(node, ast.While):
            self._eval(node.test, names, module)
            result = self._body(node.body, names, module)
        elif isinstance(node, ast.With):
            for item in node.items:
                self._eval(item.context_expr, names, module)
            result = self._body(node.body, names, module)
        elif isinstance(node, ast.Try):
            parts = [*node.body, *(s for handler in node.handlers for s in handler.body), *node.orelse]
            result = self._body([*parts, *node.finalbody], names, module)
        elif isinstance(node, ast.Return):
            result = self._eval(node.value, names, module) if node.value else None
        elif isinstance(node, ast.FunctionDef):
            self._body(node.body, dict(names), module)
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._eval(child, names, module)
        return result

    def _assign(self, target: ast.expr, value: Value, names: dict[str, Value], module: Module) -> None:
        if isinstance(target, ast.Tuple):
            last = target.elts[-1]  # `for index, item in enumerate(...)`, `for key, value in x.items()`
            for element in target.elts:
                self._assign(element, value if element is last else None, names, module)
        elif isinstance(target, ast.Name):
            if value is not None or not self.guards:
                names[target.id] = value
        elif isinstance(target, ast.Attribute):
            owner = self._eval(target.value, names, module)
            if isinstance(owner, Instance) and (value is not None or not self.guards):
                owner.attributes[target.attr] = value

    def _raises(self, node: ast.If, names: dict[str, Value], module: Module) -> None:
        """What a test that leads to an error says of a key: `nonnull`, or a dtype that is refused."""
        test = node.test
        if not (isinstance(node.body[-1], ast.Raise) and isinstance(test, ast.Compare) and len(test.ops) == 1):
            return
        with self._silent():
            value = self._eval(test.left, names, module)
        if not isinstance(value, Part) or self.guards:
            return
        right = ast.unparse(test.comparators[0])
        if isinstance(test.ops[0], ast.Is) and right == "None":
            self._read(value.path).facts["nonnull"] = True
        elif isinstance(test.ops[0], ast.Eq) and right == "torch.float16":
            self._read(value.path).facts["refused"] = ["fp16"]

    # Guards

    def _tested(self, test: ast.expr, names: dict[str, Value], module: Module) -> list[str]:
        before, self.touched = self.touched, []
        self._eval(test, names, module)
        touched, self.touched = self.touched, before + self.touched
        inner = [path for path in touched if path]
        longest = [p for p in inner if not any(q != p and q[: len(p)] == p for q in inner)]
        return list(dict.fromkeys(dotted(path) for path in longest))

    @contextmanager
    def _guarded(self, keys: Sequence[str], holds: bool) -> Iterator[None]:
        before = len(self.guards)
        self.guards += [(key, holds) for key in keys]
        yield
        del self.guards[before:]

    @contextmanager
    def _silent(self) -> Iterator[None]:
        kept, touched = copy.deepcopy(self.keys), list(self.touched)
        yield
        self.keys, self.touched = kept, touched

    # Expressions

    def _eval(self, node: ast.expr, names: dict[str, Value], module: Module) -> Value:
        if isinstance(node, ast.Name):
            found = names[node.id] if node.id in names else self.package.lookup(module, node.id)
            if isinstance(found, Part):
                self.touched.append(found.path)
            return found
        if isinstance(node, ast.Attribute):
            return self._attribute(self._eval(node.value, names, module), node.attr)
        if isinstance(node, ast.Subscript):
            return self._subscript(node, names, module)
        if isinstance(node, ast.Call):
            return self._call(node, names, module)
        if isinstance(node, ast.BoolOp):
            keys: list[str] = []
            for operand in node.values:
                with self._guarded(keys, isinstance(node.op, ast.And)):
                    keys += self._tested(operand, names, module)
            return None
        if isinstance(node, ast.IfExp):
            tested = self._tested(node.test, names, module)
            with self._guarded(tested, True):
                first = self._eval(node.body, names, module)
            with self._guarded(tested, False):
                return self._eval(node.orelse, names, module) or first
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            container = self._eval(node.comparators[0], names, module)
            key = _text(node.left)
            if isinstance(container, Part) and key is not None:
                self._soft((*container.path, key), None, None, module, given=False)
                return None
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            inner = dict(names)
            for generator in node.generators:
                self._assign(generator.target, self._item(generator.iter, inner, module), inner, module)
                for condition in generator.ifs:
                    self._eval(condition, inner, module)
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            for part in parts:
                self._eval(part, inner, module)
            return None
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._eval(child, names, module)
        return None

    def _attribute(self, owner: Value, name: str) -> Value:
        if isinstance(owner, Part):
            path = (*owner.path, name)
            self._hard(path)
            return Part(path)
        if isinstance(owner, Instance):
            if name in owner.attributes:
                value = owner.attributes[name]
                if isinstance(value, Part):
                    self.touched.append(value.path)
                return value
            return Method(owner, name) if self.package.method(owner.cls, name) else None
        if isinstance(owner, Target) and owner.module is not None and owner.node is None:
            return self.package.lookup(owner.module, name)
        if isinstance(owner, Target) and owner.external:
            return Target(f"{owner.path}.{name}")
        return None

    def _subscript(self, node: ast.Subscript, names: dict[str, Value], module: Module) -> Value:
        owner = self._eval(node.value, names, module)
        self._eval(node.slice, names, module)
        if isinstance(owner, Part):
            key = _text(node.slice)
            if key is not None and isinstance(node.ctx, ast.Load):
                self._hard((*owner.path, key))
            return Part((*owner.path, key)) if key is not None else None
        return None

    def _item(self, node: ast.expr, names: dict[str, Value], module: Module) -> Value:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("enumerate", "list", "reversed") and node.args:
            node = node.args[0]
        value = self._eval(node, names, module)
        if isinstance(value, Part) and value.path:
            return Part((*value.path[:-1], value.path[-1] + "[]"))
        return None

    # Calls

    def _call(self, node: ast.Call, names: dict[str, Value], module: Module) -> Value:
        function = node.func
        if isinstance(function, ast.Attribute):
            owner = self._eval(function.value, names, module)
            if isinstance(owner, Part):
                return self._part_method(owner, function.attr, node, names, module)
            if isinstance(owner, Extra) and function.attr in ("get", "pop") and node.args:
                return owner.values.get(self._key(node.args[0], module) or "")
            if function.attr == "options":
                return owner
            callee = owner if function.attr == "remote" else self._attribute(owner, function.attr)
        else:
            callee = self._eval(function, names, module)
        name = ast.unparse(function).split(".")[-1]
        if name in ("getattr", "hasattr") and len(node.args) > 1:
            return self._getattr(node, names, module)
        if name == "super":
            return next((value for value in names.values() if isinstance(value, Instance)), None)
        args = [self._eval(arg.value if isinstance(arg, ast.Starred) else arg, names, module) for arg in node.args]
        kwargs = {
            keyword.arg or f"**{i}": self._eval(keyword.value, names, module) for i, keyword in enumerate(node.keywords)
        }
        if isinstance(function, ast.Call) and ast.unparse(function.func) == "ray.remote":
            return args[0] if args else None
        first = args[0] if args else None
        if isinstance(first, Part) and first.path:
            self._known(name, first, node, module)
        for value, keyword in zip(kwargs.values(), node.keywords, strict=True):
            if keyword.arg is None and isinstance(value, Part) and value.path:
                facts = self._read(value.path).facts
                if isinstance(callee, Target):
                    facts["kwargs_of"] = callee.path
                else:
                    facts["component"] = True
        if name in _SAME:
            return first if args else next(iter(kwargs.values()), None)
        return self._follow(callee, args, kwargs, module)

    def _follow(self, callee: Value, args: list[Value], kwargs: dict[str, Value], module: Module) -> Value:
        if isinstance(callee, Method):
            return self._method(callee, args, kwargs)
        if not isinstance(callee, Target):
            return None
        ours = callee.module is self.root
        holds = any(isinstance(value, Part) and not value.path for value in [*args, *kwargs.values()])
        if isinstance(callee.node, ast.ClassDef) and (ours or holds):
            instance = Instance(callee)
            self.instances.append(instance)
            if self.package.method(callee, "__init__"):
                self._method(Method(instance, "__init__"), args, kwargs)
            return instance
        if isinstance(callee.node, ast.FunctionDef) and callee.module is not None:
            names = self._bind(callee.node, callee.module, args, kwargs)
            if ours:
                return self._enter((id(callee.node), callee.path), callee.node, names, callee.module)
        return None

    def _method(self, method: Method, args: list[Value], kwargs: dict[str, Value]) -> Value:
        found = self.package.method(method.instance.cls, method.name)
        if found is None:
            return None
        function, owner = found
        assert owner.module is not None
        method.instance.called.add(method.name)
        static = any(ast.unparse(d) == "staticmethod" for d in function.decorator_list)
        names = self._bind(function, owner.module, args if static else [method.instance, *args], kwargs)
        return self._enter((id(method.instance), function.name), function, names, owner.module)

    def _enter(
        self, mark: tuple[int, str], function: ast.FunctionDef, names: dict[str, Value], module: Module
    ) -> Value:
        if mark in self.stack:
            return None
        self.stack.append(mark)
        result = self._body(function.body, names, module)
        self.stack.pop()
        return result

    def _bind(
        self, function: ast.FunctionDef, module: Module, args: Sequence[Value], kwargs: Mapping[str, Value]
    ) -> dict[str, Value]:
        parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        names: dict[str, Value] = {parameter.arg: None for parameter in parameters}
        annotations = {parameter.arg: parameter.annotation for parameter in parameters}
        for parameter, value in zip(parameters, args, strict=False):
            names[parameter.arg] = value
        names.update({name: value for name, value in kwargs.items() if name in annotations})
        for name, value in names.items():
            self._type(value, annotations[name], module)
        if function.args.kwarg:
            extra = {name: value for name, value in kwargs.items() if name not in annotations}
            names[function.args.kwarg.arg] = Extra(extra)
        return names

    def _part_method(self, part: Part, name: str, node: ast.Call, names: dict[str, Value], module: Module) -> Value:
        values = [self._eval(arg, names, module) for arg in [*node.args, *(k.value for k in node.keywords)]]
        key = self._key(node.args[0], module) if node.args else None
        if name in ("get", "pop") and key is not None:
            path = (*part.path, key)
            default = node.args[1] if len(node.args) > 1 else None
            if name == "pop" and default is None:
                self._hard(path)
            else:
                self._soft(path, default, values[1] if len(values) > 1 else None, module, given=True)
            return Part(path)
        return part if name in ("items", "values", "copy") else None

    def _getattr(self, node: ast.Call, names: dict[str, Value], module: Module) -> Value:
        owner = self._eval(node.args[0], names, module)
        default = node.args[2] if len(node.args) > 2 else None
        value = self._eval(default, names, module) if default is not None else None
        key = self._key(node.args[1], module)
        if not isinstance(owner, Part) or key is None:
            return None
        self._soft((*owner.path, key), default, value, module, given=default is not None)
        return Part((*owner.path, key))

    def _key(self, node: ast.expr, module: Module) -> str | None:
        try:
            key = self.package.literal(module, node)
        except NotLiteral:
            return None
        return key if isinstance(key, str) else None

    def _known(self, name: str, part: Part, node: ast.Call, module: Module) -> None:
        """What the calls that torchtune makes components with say of their first argument."""
        facts = self._read(part.path).facts
        if name == "instantiate":
            facts["component"] = True
            given = facts.setdefault("injects", {"positional": 0, "keywords": []})
            given["positional"] = max(given["positional"], len(node.args) - 1)
            given["keywords"] = sorted({*given["keywords"], *(k.arg for k in node.keywords if k.arg)})
        elif name == "_get_component_from_path":
            facts["dotted_path"] = True
        elif name == "isinstance" and "ListConfig" in ast.unparse(node.args[1]):
            facts["list"] = True


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def reads(package: Package, module: Module) -> dict[str, Facts]:
    """The facts of every key that the recipe in `module` reads."""
    reader = Reader(package, module)
    reader.run()
    return facts_of(reader.keys)
