"""Facts of one parameter: its type with aliases opened, the values it may take, its default."""

from __future__ import annotations

import ast
import copy

from schema_store import Facts, normalise_type
from torchtune_source import Module, NotLiteral, Package, Parameter

_HEADS = ("Literal", "Union", "Optional", "List", "Dict", "Tuple", "Callable", "list", "dict", "tuple", "Mapping")


def type_facts(package: Package, module: Module, annotation: ast.expr | None) -> Facts:
    """`type`, and `enum` where a Literal lists the values (of the items, if the type is a list)."""
    if annotation is None:
        return {"type": "any"}
    values: list[object] = []
    opened = _open(package, module, copy.deepcopy(annotation), values, 0)
    facts: Facts = {"type": normalise_type(ast.unparse(opened))}
    if values:
        facts["enum"] = values
    return facts


def _open(package: Package, module: Module, node: ast.expr, values: list[object], depth: int) -> ast.expr:
    """The annotation with type aliases replaced by what they stand for, and Literals by the type of their values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.Name | ast.Attribute) and depth < 5:
        target = package.expression(module, node)
        if target is not None and target.module is not None and _is_alias(target.node):
            assert isinstance(target.node, ast.expr)
            return _open(package, target.module, copy.deepcopy(target.node), values, depth + 1)
        return node
    if isinstance(node, ast.Subscript):
        if _head(node) == "Literal":
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            found = [item.value for item in items if isinstance(item, ast.Constant)]
            values += [value for value in found if value is not None]
            kinds = dict.fromkeys("None" if value is None else type(value).__name__ for value in found)
            return ast.parse(" | ".join(kinds), mode="eval").body
        kept = [] if _head(node).lower() in ("dict", "mapping", "callable") else values  # no values of the whole
        node.slice = _open(package, module, node.slice, kept, depth)
    elif isinstance(node, ast.Tuple | ast.List):
        node.elts = [_open(package, module, item, values, depth) for item in node.elts]
    elif isinstance(node, ast.BinOp):
        node.left = _open(package, module, node.left, values, depth)
        node.right = _open(package, module, node.right, values, depth)
    return node


def _is_alias(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Subscript) and _head(node) in _HEADS


def _head(node: ast.Subscript) -> str:
    return ast.unparse(node.value).split(".")[-1]


def parameter_facts(package: Package, parameter: Parameter) -> Facts:
    """The facts of one parameter; a default that is no literal is kept as its source text."""
    facts = type_facts(package, parameter.module, parameter.annotation)
    if parameter.default is None:
        return {**facts, "required": True}
    try:
        facts["default"] = package.literal(parameter.default_module or parameter.module, parameter.default)
    except NotLiteral:
        facts["expression"] = ast.unparse(parameter.default)
    if facts["type"] == "any" and "default" in facts and facts["default"] is not None:
        facts["type"] = type(facts["default"]).__name__
    return facts
