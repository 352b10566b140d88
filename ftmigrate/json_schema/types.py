"""A key's facts as JSON Schema: its type's annotation, its allowed values and its limits."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias

from msgspec import Struct

from ftmigrate.schema import Facts, Layout

Json: TypeAlias = dict[str, Any]

INTEGER = r"^\s*[+-]?\d+(_\d+)*(\.0*)?\s*$"
NUMBER = (
    r"^\s*[+-]?(\d+(_\d+)*(\.(\d+(_\d+)*)?)?|\.\d+(_\d+)*)([eE][+-]?\d+(_\d+)*)?\s*$"
    r"|^\s*[+-]?([iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])\s*$"
)
BOOLEAN = (
    r"^([tT]([rR][uU][eE])?|[fF]([aA][lL][sS][eE])?|[yY]([eE][sS])?|[nN][oO]?|[oO][nN]|[oO][fF][fF]|[01])$"
)  # fmt: skip
LATER = r"\$\{|^\?\?\?$"  # an interpolation, or a value that only the command line gives

_LISTS = {"list", "set", "frozenset", "Sequence", "Iterable", "List", "Set"}
_MAPPINGS = {"dict", "Mapping", "Dict"}
_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_UNSAYABLE = {"torch.Tensor", "torch.Generator"}  # no file can give one: no alternative
_FALSY: list[Any] = [None, False, 0, "", [], {}]


class Types(Struct, frozen=True):
    """Translates facts. `models` are the sections that a type may name, `refer` gives the reference to some of them."""

    layout: Layout
    models: Collection[str]
    refer: Callable[[tuple[str, ...]], Json]

    def of(self, facts: Facts) -> Json:
        """What a value of the key must be; {} where nothing is known."""
        refused = facts.get("refused")
        if refused == "present":
            return {"not": {}}
        if refused == "set":
            return {"type": "null"}
        if refused == "truthy":
            return {"enum": _FALSY}
        found = self.alternatives(facts)
        return {} if found is None else one_of(found)

    def alternatives(self, facts: Facts) -> list[Json] | None:
        """The ways for a value to be valid; None where anything may be."""
        found = self._union(_parse(str(facts.get("type", "any"))), facts, top=True)
        if found is None:
            return None
        if facts.get("nonnull"):
            found = [way for way in found if way != {"type": "null"}]
        elif not self.layout.lax and {"type": "boolean"} in found:
            found.append({"type": "null"})  # tested for truth
        if self.layout.interpolated and {"type": "string"} not in found:
            found.append({"type": "string", "pattern": LATER})
        return _distinct(found)

    def _union(self, node: ast.expr, facts: Facts, *, top: bool) -> list[Json] | None:
        members = [m for m in _members(node) if ast.unparse(m) not in _UNSAYABLE] or [node]
        named = tuple(m.id for m in members if isinstance(m, ast.Name) and m.id in self.models)
        found: list[Json] = [self.refer(named)] if named else []
        for member in members:
            if isinstance(member, ast.Name) and member.id in named:
                continue
            ways = self._member(member, facts, top=top)
            if ways is None:
                return None
            found += ways
        return _distinct(found)

    def _member(self, node: ast.expr, facts: Facts, *, top: bool) -> list[Json] | None:
        if isinstance(node, ast.Constant) and node.value is None:
            return [{"type": "null"}]
        name, arguments = _head(node)
        if name == "Literal":
            return _choice(facts, [ast.literal_eval(value) for value in arguments])
        if name in ("str", "Path", "int", "float", "bool"):
            return self._scalar(name, facts, top=top)
        if name in _LISTS:
            array: Json = {"type": "array"}
            if arguments and (items := self._items(arguments[0], facts)):
                array["items"] = items
            return [array | ({"minItems": facts["min_length"]} if top and "min_length" in facts else {})]
        if name == "tuple":
            return [self._tuple(arguments, facts)]
        if name in _MAPPINGS:
            mapping: Json = {"type": "object"}
            if len(arguments) == 2 and (values := self._items(arguments[1], facts)):
                mapping["additionalProperties"] = values
            return [mapping]
        if "enum" in facts and "Literal[" not in str(facts.get("type")) and name != "any" and name.isidentifier():
            return self._scalar("str", facts, top=top)  # the class of an enumeration
        return None

    def _items(self, node: ast.expr, facts: Facts) -> Json:
        ways = self._union(node, facts, top=False)
        if ways is None:
            return {}
        if self.layout.interpolated and {"type": "string"} not in ways:
            ways = [*ways, {"type": "string", "pattern": LATER}]
        return one_of(ways)

    def _tuple(self, arguments: list[ast.expr], facts: Facts) -> Json:
        if not arguments or len(arguments) == 1:
            return {"type": "array"}
        if isinstance(arguments[-1], ast.Constant) and arguments[-1].value is Ellipsis:
            return {"type": "array", "items": self._items(arguments[0], facts)}
        size = len(arguments)
        return {
            "type": "array",
            "prefixItems": [self._items(node, facts) for node in arguments],
            "minItems": size,
            "maxItems": size,
        }

    def _scalar(self, name: str, facts: Facts, *, top: bool) -> list[Json]:
        values = None if "Literal[" in str(facts.get("type")) else facts.get("enum")
        if name in ("str", "Path"):
            return _string(facts, [v for v in values or () if isinstance(v, str)], top=top)
        if name == "bool":
            return [{"type": "boolean"}, *([{"enum": [0, 1]}, _text(BOOLEAN)] if self.layout.lax else [])]
        numbers = [v for v in values or () if isinstance(v, int | float) and not isinstance(v, bool)]
        if numbers:
            return [{"enum": [*numbers, *([str(v) for v in numbers] if self.layout.lax else [])]}]
        limits = {_LIMITS[key]: facts[key] for key in _LIMITS if top and key in facts}
        found: list[Json] = [{"type": "integer" if name == "int" else "number", **limits}]
        if self.layout.lax and not (top and facts.get("strict")):
            found += [{"type": "boolean"}, _text(INTEGER if name == "int" else NUMBER)]
        return found


def _string(facts: Facts, values: list[str], *, top: bool) -> list[Json]:
    limits = {"minLength": facts["min_length"]} if top and "min_length" in facts else {}
    if not values:
        return [{"type": "string", **limits, **({"pattern": facts["pattern"]} if top and "pattern" in facts else {})}]
    if facts.get("indexed"):
        return [{"enum": values}, _text(f"^({'|'.join(values)}):\\d+$")]
    if facts.get("open"):
        return [{"enum": values}, {"type": "string"}]
    return [*_choice(facts, values), *([_text(facts["pattern"])] if "pattern" in facts else [])]


def _choice(facts: Facts, values: list[Any]) -> list[Json]:
    """One of some values, in any letter case where the framework takes it."""
    found: list[Json] = [{"enum": values}]
    if facts.get("ignorecase"):
        spelt = ("".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in value) for value in values)
        found.append(_text(f"^({'|'.join(spelt)})$"))
    return found


def _text(pattern: str) -> Json:
    return {"type": "string", "pattern": pattern}


def one_of(ways: list[Json]) -> Json:
    """Some alternatives as one schema."""
    plain = [way["type"] for way in ways if set(way) == {"type"} and isinstance(way["type"], str)]
    rest = [way for way in ways if not (set(way) == {"type"} and isinstance(way["type"], str))]
    if "string" in plain:
        rest = [way for way in rest if way.get("type") != "string"]
    if "number" in plain:
        plain = [name for name in plain if name != "integer"]
    merged = [*rest, *([{"type": plain[0] if len(plain) == 1 else plain}] if plain else [])]
    return merged[0] if len(merged) == 1 else {"anyOf": merged}


def _distinct(ways: Iterable[Json]) -> list[Json]:
    found: list[Json] = []
    for way in ways:
        if way not in found:
            found.append(way)
    return found


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
