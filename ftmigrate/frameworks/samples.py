"""Values that a key's facts in the pinned schema allow: a few of each kind, for checks and generated configs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ftmigrate.document.model import Value
from ftmigrate.schema import Facts

_SCALARS: dict[str, tuple[Value, ...]] = {
    "int": (1, 2),
    "float": (0.5, 1.0),
    "bool": (True, False),
    "str": ("text", ""),
    "Path": ("text",),
    "any": ("text", 1, True, {}, [1]),
    "None": (None,),
}
_ELSE: Value = "text"
"""For what no file can hold: some text, as a dotted path would be."""


def samples(facts: Facts) -> Iterator[Value]:
    """At least one value: the allowed values of an enumeration, the default, and one or two of each type."""
    seen: list[str] = []
    for value in [*_all(facts)] or [_ELSE]:
        if repr(value) not in seen:
            seen.append(repr(value))
            yield value


def _all(facts: Facts) -> Iterator[Value]:
    members = _members(_parse(str(facts.get("type", "any"))))
    allowed = list(facts.get("enum") or ())
    if allowed and any(_head(member)[0] == "list" for member in members):
        yield allowed[:2]
    else:
        yield from allowed
    if facts.get("default") is not None and not facts.get("refused"):
        yield facts["default"]
    for member in members:
        for value in _of(member):
            if isinstance(value, str | list) and allowed:
                continue
            if isinstance(value, int | float) and not isinstance(value, bool):
                if allowed and any(isinstance(one, int | float) for one in allowed):
                    continue
                value = _limited(value, facts)
            if value not in ("", []) or "min_length" not in facts:
                yield value


def _limited(value: float, facts: Facts) -> float:
    """The number moved between the key's limits."""
    least = facts["gt"] + 1 if "gt" in facts else facts.get("ge", value)
    found = max(value, least)
    if "lt" in facts:
        found = min(found, facts["lt"] - 1 if isinstance(value, int) else facts["lt"] / 2)
    return type(value)(min(found, facts.get("le", found)))


def _of(node: ast.expr) -> Iterator[Value]:
    name, arguments = _head(node)
    if name in _SCALARS:
        yield from _SCALARS[name]
    elif name == "list":
        yield [_one(arguments[0])] if arguments else ["text"]
        yield []
    elif name == "tuple":
        yield [_one(argument) for argument in arguments if not isinstance(argument, ast.Constant)]
    elif name == "dict":
        key = "1" if arguments and _head(arguments[0])[0] == "int" else "name"
        yield {key: _one(arguments[-1]) if arguments else _ELSE}
        yield {}


def _one(node: ast.expr) -> Value:
    return next((value for member in _members(node) for value in _of(member)), _ELSE)


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return ast.Name("any")


def _members(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_members(node.left), *_members(node.right)]
    return [node]


def _head(node: ast.expr) -> tuple[str, list[ast.expr]]:
    """`dict[str, int]` as its name and its arguments."""
    if isinstance(node, ast.Subscript):
        arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return ast.unparse(node.value), list(arguments)
    return ast.unparse(node), []
