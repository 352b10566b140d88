"""Pydantic models read from source, as facts about their keys.

Facts are those of ftmigrate/schema.py, and besides:

* `enum`: members of a Literal or an Enum (values, not names) among the alternatives of `type`; an Enum class is spelt
  as the type of its values. `open`: true when `type` also admits any value of the enum's own type
* `refs` instead of `ref` where a union names several models; `list`: true when the models are items of a list
* `ge`, `gt`, `le`, `lt`, `min_length`, `max_length`, `pattern`, `strict`: constraints on the value itself
  (a `pattern` beside an `enum` is a further way to be valid)
* `field`: the attribute's name where the key is an alias of it; `alias_of`: this key is another spelling of that key
"""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from package_source import Named, NotLiteral, Package, defined, in_order, last, union_members
from schema_store import Facts, normalise_type

_CONSTRAINTS = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "strict")
_ANNOTATED_TYPES = {"MinLen": "min_length", "MaxLen": "max_length", "Ge": "ge", "Gt": "gt", "Le": "le", "Lt": "lt"}
_CONLIST = {"min_length": "MinLen", "max_length": "MaxLen"}
_PLAIN = {
    "PositiveInt": "int",
    "NonNegativeInt": "int",
    "PositiveFloat": "float",
    "StrictStr": "str",
    "StrictBool": "bool",
    "StrictInt": "int",
    "StrictFloat": "float",
    "DirectoryPath": "str",
    "FilePath": "str",
}


@dataclass
class Field:
    """A field as written, with the module and class it stands in."""

    name: str
    owner: Named
    annotation: ast.expr
    value: ast.expr | None
    facts: Facts = field(default_factory=dict)


def fields(package: Package, cls: Named) -> dict[str, Field]:
    """The fields of a model, those of its bases included, the nearest definition of each."""
    found: dict[str, Field] = {}
    for owner in reversed(package.mro(cls)):
        for statement in owner.node.body if isinstance(owner.node, ast.ClassDef) else ():
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            name = statement.target.id
            if name.startswith("_") or name == "model_config" or last(statement.annotation) == "ClassVar":
                continue
            found[name] = Field(name, owner, statement.annotation, statement.value)
    for one in found.values():
        one.facts = _FieldReader(package, one).facts()
    return found


def config(package: Package, cls: Named) -> dict[str, Any]:
    """The model's configuration as pydantic merges it from its bases."""
    merged: dict[str, Any] = {}
    if not isinstance(cls.node, ast.ClassDef):
        return merged
    for base in package.bases(cls):
        merged |= config(package, base)
    for statement in cls.node.body:
        if isinstance(statement, ast.Assign) and "model_config" in defined(statement):
            value = statement.value
            if isinstance(value, ast.Call):
                merged |= {k.arg: package.literal(cls.module, k.value) for k in value.keywords if k.arg}
            else:
                merged |= package.literal(cls.module, value)
        elif isinstance(statement, ast.ClassDef) and statement.name == "Config":  # the older way to say it
            for inner in statement.body:
                if isinstance(inner, ast.Assign):
                    merged[defined(inner)[0]] = package.literal(cls.module, inner.value)
    return merged


def section(package: Package, cls: Named) -> dict[str, Facts]:
    """The keys a model accepts, aliases included, and under "" its policy on other keys."""
    policy = config(package, cls)
    by_name = bool(policy.get("populate_by_name") or policy.get("validate_by_name"))
    keys: dict[str, Facts] = {"": {"extra": policy.get("extra", "ignore")}}
    for name, one in fields(package, cls).items():
        facts = dict(one.facts)
        spellings: list[str] = facts.pop("aliases", [])
        if not spellings:
            keys[name] = facts
            continue
        main = name if name in spellings else spellings[0]
        if main != name:
            facts["field"] = name
        keys[main] = facts
        others = [*spellings, *([name] if by_name else [])]
        for other in dict.fromkeys(o for o in others if o != main):
            keys[other] = {"type": facts["type"], "alias_of": main}
    return keys


def models(package: Package, cls: Named) -> dict[str, Named]:
    """The models named in a model's annotations, by class name, nested ones included."""
    found: dict[str, Named] = {}
    queue = [cls]
    while queue:
        for one in fields(package, queue.pop()).values():
            for named in _FieldReader(package, one).references():
                if named.name in found and found[named.name] != named:
                    raise ValueError(f"two models are named {named.name}")
                if named.name not in found:
                    found[named.name] = named
                    queue.append(named)
    return found


class _FieldReader:
    """Reads one field's annotation and default into facts."""

    def __init__(self, package: Package, one: Field) -> None:
        self.package, self.one, self.module = package, one, one.owner.module
        self.annotation = self._expand(self.module, one.annotation)

    def facts(self) -> Facts:
        facts: Facts = {"type": normalise_type(ast.unparse(self._plain(self.annotation)))}
        enum, admits = self._alternatives()
        if enum:
            facts["enum"] = enum
            if any(type(value).__name__ in admits for value in enum):
                facts["open"] = True
        refs = list(dict.fromkeys(named.name for named in self.references()))
        if refs:
            facts |= {"ref": refs[0]} if len(refs) == 1 else {"refs": refs}
            if self._in_list():
                facts["list"] = True
        facts |= self._constraints(self.annotation)
        calls = [*self._annotated_calls(self.annotation), *([self.one.value] if self._is_field_call() else [])]
        for call in calls:
            assert isinstance(call, ast.Call)
            facts |= self._call(call)
        if self.one.value is not None and not self._is_field_call():
            facts |= self._default(self.one.value)
        if "default" not in facts and "expression" not in facts:
            facts["required"] = True
        return facts

    def references(self) -> list[Named]:
        """The models the annotation names."""
        found = []
        for node in in_order(self.annotation):
            if isinstance(node, ast.Name):
                named = self.package.resolve(self.module_of(node), node.id)
                if self.package.is_model(named):
                    found.append(named)
        return found

    def module_of(self, node: ast.AST) -> str:
        return getattr(node, "module", self.module)

    def _expand(self, module: str, node: ast.expr) -> ast.expr:
        """The annotation with its aliases written out, each name marked with the module it is read in."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._expand(module, ast.parse(node.value, mode="eval").body)
        if isinstance(node, ast.Name):
            named = self.package.resolve(module, node.id)
            if isinstance(named.node, ast.expr):
                return self._expand(named.module, named.node)
            marked = ast.Name(node.id, ast.Load())
            marked.module = module  # type: ignore[attr-defined]
            return marked
        if isinstance(node, ast.Call) and last(node.func) == "conlist":
            items = ast.Subscript(ast.Name("list", ast.Load()), self._expand(module, node.args[0]), ast.Load())
            bounds: list[ast.expr] = [
                ast.Call(ast.Name(_CONLIST[str(k.arg)], ast.Load()), [k.value], []) for k in node.keywords
            ]
            parts = ast.Tuple([items, *bounds], ast.Load())
            return ast.Subscript(ast.Name("Annotated", ast.Load()), parts, ast.Load())
        if isinstance(node, ast.BinOp):
            return ast.BinOp(self._expand(module, node.left), node.op, self._expand(module, node.right))
        if isinstance(node, ast.Subscript):
            head = last(node.value)
            if head == "Literal":
                return node
            inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            plain = inside[1:] if head == "Annotated" else []
            expanded = [*(self._expand(module, item) for item in inside[: len(inside) - len(plain)]), *plain]
            inner = expanded[0] if len(expanded) == 1 else ast.Tuple(expanded, ast.Load())
            return ast.Subscript(self._expand(module, node.value), inner, ast.Load())
        return node

    def _plain(self, node: ast.expr) -> ast.expr:
        """The annotation with enums spelt as the type of their values, and constrained types as the plain ones."""
        if isinstance(node, ast.Name):
            if node.id in _PLAIN:
                return ast.Name(_PLAIN[node.id], ast.Load())
            named = self.package.resolve(self.module_of(node), node.id)
            if self.package.is_enum(named):
                return ast.Name(self._enum_type(named), ast.Load())
            return node
        if isinstance(node, ast.BinOp):
            return ast.BinOp(self._plain(node.left), node.op, self._plain(node.right))
        if isinstance(node, ast.Subscript) and last(node.value) != "Literal":
            if last(node.value) == "Annotated":
                assert isinstance(node.slice, ast.Tuple)
                return self._plain(node.slice.elts[0])
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            plain = [self._plain(item) for item in items]
            inner = plain[0] if len(plain) == 1 else ast.Tuple(plain, ast.Load())
            return ast.Subscript(node.value, inner, ast.Load())
        return node

    def _enum_type(self, named: Named) -> str:
        try:
            types = {type(value).__name__ for value in self.package.members(named)}
        except NotLiteral:
            return named.name
        return types.pop() if len(types) == 1 else named.name

    def _alternatives(self) -> tuple[list[Any], set[str]]:
        """Enum values among the union's members, and the plain types that stand beside them."""
        enum: list[Any] = []
        plain: set[str] = set()
        for member in union_members(self.annotation):
            constrained = isinstance(member, ast.Subscript) and last(member.value) == "Annotated"
            if constrained:
                assert isinstance(member, ast.Subscript)
                assert isinstance(member.slice, ast.Tuple)
                member = member.slice.elts[0]
            if isinstance(member, ast.Subscript) and last(member.value) == "Literal":
                items = member.slice.elts if isinstance(member.slice, ast.Tuple) else [member.slice]
                enum += [self.package.literal(self.module, item) for item in items]
            elif isinstance(member, ast.Name):
                named = self.package.resolve(self.module_of(member), member.id)
                if self.package.is_enum(named):
                    with suppress(NotLiteral):
                        enum += self.package.members(named)
                elif not constrained:
                    plain.add(_PLAIN.get(member.id, member.id))
        return list(dict.fromkeys(value for value in enum if value is not None)), plain

    def _in_list(self) -> bool:
        return any(
            isinstance(n, ast.Subscript) and last(n.value) in ("list", "List") for n in ast.walk(self.annotation)
        )

    def _annotated_calls(self, node: ast.expr) -> list[ast.expr]:
        if isinstance(node, ast.Subscript) and last(node.value) == "Annotated":
            assert isinstance(node.slice, ast.Tuple)
            return [m for m in node.slice.elts[1:] if isinstance(m, ast.Call) and last(m.func) == "Field"]
        return []

    def _constraints(self, node: ast.expr) -> Facts:
        """Constraints given by `Annotated` members of the union (those inside containers are not the value's own)."""
        facts: Facts = {}
        for member in union_members(node):
            if isinstance(member, ast.Subscript) and last(member.value) == "Annotated":
                assert isinstance(member.slice, ast.Tuple)
                for call in member.slice.elts[1:]:
                    if isinstance(call, ast.Call) and last(call.func) in _ANNOTATED_TYPES:
                        facts[_ANNOTATED_TYPES[last(call.func)]] = self._value(call.args[0])
                    elif isinstance(call, ast.Call) and last(call.func) == "StringConstraints":
                        facts |= {k.arg: self._value(k.value) for k in call.keywords if k.arg in _CONSTRAINTS}
        return facts

    def _is_field_call(self) -> bool:
        return isinstance(self.one.value, ast.Call) and last(self.one.value.func) == "Field"

    def _call(self, call: ast.Call) -> Facts:
        facts: Facts = {}
        if call.args:
            facts |= self._default(call.args[0])
        for keyword in call.keywords:
            name, value = keyword.arg, keyword.value
            if name == "default":
                facts |= self._default(value)
            elif name == "default_factory":
                facts |= self._factory(value)
            elif name in _CONSTRAINTS:
                facts[name] = self._value(value)
            elif name == "deprecated":
                facts["deprecated"] = replacement(str(self._value(value)), self.one.name)
            elif name in ("alias", "validation_alias"):
                facts["aliases"] = self._aliases(value)
        return facts

    def _aliases(self, value: ast.expr) -> list[str]:
        if isinstance(value, ast.Call):
            return [self._value(item) for item in value.args]
        return [self._value(value)]

    def _default(self, value: ast.expr) -> Facts:
        if isinstance(value, ast.Constant) and value.value is Ellipsis:
            return {}
        try:
            return {"default": self._value(value)}
        except NotLiteral:
            return {"expression": ast.unparse(value)}

    def _factory(self, value: ast.expr) -> Facts:
        body = value.body if isinstance(value, ast.Lambda) else ast.Call(value, [], [])
        if isinstance(body, ast.Call) and not body.args and not body.keywords:
            name = last(body.func)
            if name in ("list", "dict"):
                return {"default": [] if name == "list" else {}}
            if self.package.is_model(self.package.resolve(self.module, name)):
                return {"default": {}}
        return self._default(body)

    def _value(self, node: ast.expr) -> Any:
        owner = self.one.owner.node
        return self.package.literal(self.module, node, owner if isinstance(owner, ast.ClassDef) else None)


def replacement(text: str, own: str) -> str | bool:
    """The key a deprecation names instead, or true where it names none."""
    for pattern in (r"\buse `?([a-z_][a-z0-9_.]*)", r"\b(?:superseded by|under) `?([a-z_][a-z0-9_.]*)"):
        for match in re.finditer(pattern, text, re.IGNORECASE):
            name = match.group(1).rstrip(".")
            if "_" in name and name != own:
                return name
    return True
