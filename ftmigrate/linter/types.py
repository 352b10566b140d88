"""Whether a value suits a key's facts: the schema's annotations, allowed values and limits, as the framework reads them.

The same reading of the facts as the exported JSON Schema's (`json_schema/types.py`), on values instead of keywords.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from ftmigrate.document.model import Path, Unresolved, Value
from ftmigrate.schema import Facts, Layout

_INTEGER = re.compile(r"\s*[+-]?\d+(_\d+)*(\.0*)?\s*\Z")
NUMBER = re.compile(
    r"\s*[+-]?(\d+(_\d+)*(\.(\d+(_\d+)*)?)?|\.\d+(_\d+)*)([eE][+-]?\d+(_\d+)*)?\s*\Z|\s*[+-]?(inf(inity)?|nan)\s*\Z",
    re.IGNORECASE,
)
_BOOLEAN = frozenset(("true", "t", "false", "f", "yes", "y", "no", "n", "on", "off", "1", "0"))
_LISTS = frozenset(("list", "set", "frozenset", "Sequence", "Iterable", "List", "Set"))
_MAPPINGS = frozenset(("dict", "Mapping", "Dict"))
_UNSAYABLE = frozenset(("torch.Tensor", "torch.Generator"))
_SCALARS = frozenset(("str", "Path", "int", "float", "bool"))


_COMPARE: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "more than"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "less than"),
}
Models: TypeAlias = Callable[[str], bool]  # whether a type's name is that of a section of the schema


class Member(NamedTuple):
    """One alternative of a type: its name, and its arguments (unions; for Literal the values)."""

    name: str
    args: tuple[Any, ...] = ()


_ANY = Member("any")


class Problem(NamedTuple):
    """kind: "type", "value" (none of those allowed), "range". wanted: in words. value: the part that is wrong, at `path`."""

    kind: str
    wanted: str
    value: Value
    allowed: tuple[str, ...] = ()
    path: Path = ()

    def below(self, part: str | int) -> Problem:
        """The same, seen from what holds the part."""
        return self._replace(path=(part, *self.path))


@cache
def union(text: str) -> tuple[Member, ...]:
    """The alternatives of an annotation."""
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError:
        return (Member("any"),)
    return _union(node)


def _union(node: ast.expr) -> tuple[Member, ...]:
    if isinstance(node, ast.BinOp):
        return (*_union(node.left), *_union(node.right))
    if isinstance(node, ast.Constant):
        return (Member("None"),) if node.value is None else (Member("..."),)
    if isinstance(node, ast.Subscript):
        name = ast.unparse(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            return (Member(name, tuple(ast.literal_eval(part) for part in parts)),)
        return (Member(name, tuple(_union(part) for part in parts)),)
    return (Member(ast.unparse(node)),)


_PYTHON: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "Path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "None": (type(None),),
    "any": (str, int, float, bool, type(None)),
}
_NARROWER = frozenset((*_COMPARE, "enum", "min_length", "pattern", "nonnull"))
_TOLD = frozenset(("removed", "refused", "deprecated", "component"))  # there is more to say of the key than its type


@cache
def _members(text: str) -> tuple[Member, ...]:
    return tuple(one for one in union(text) if one.name not in _UNSAYABLE) or union(text)


@cache
def _always(text: str) -> frozenset[type]:
    """The types of which any value suits an annotation, as long as the facts say nothing narrower."""
    return frozenset(kind for one in _members(text) for kind in _PYTHON.get(one.name, ()))


_SURE: dict[int, tuple[frozenset[type], Facts]] = {}  # by the id of the facts, which are kept so that it stays theirs


def surely(value: Value, facts: Facts) -> bool:
    """Whether a value suits by its type alone, and nothing else is to be said: the answer for most values, and cheap."""
    found = _SURE.get(id(facts))
    if found is None:
        plain = _NARROWER.isdisjoint(facts) and _TOLD.isdisjoint(facts)
        found = _SURE[id(facts)] = (_always(facts.get("type", "any")) if plain else frozenset(), facts)
    return type(value) in found[0]


def check(value: Value, facts: Facts, layout: Layout, models: Models, *, nullable: bool) -> Problem | None:
    """What is wrong with a value; None if it suits. Of nested models only that they are mappings is asked."""
    if surely(value, facts):
        return None
    members = _members(str(facts.get("type", "any")))
    if value is None:
        if facts.get("nonnull"):
            return Problem("type", _words(list(members), facts), value)
        boolean = not layout.lax and any(one.name == "bool" for one in members)
        if nullable or boolean:
            return None
    return _any(value, members, facts, layout, models, top=True)


def _any(
    value: Value, members: tuple[Member, ...], facts: Facts, layout: Layout, models: Models, *, top: bool
) -> Problem | None:
    if isinstance(value, Unresolved) or _ANY in members:
        return None
    problems: list[Problem] = []
    for member in members:
        problem = _member(value, member, facts, layout, models, top=top)
        if problem is None:
            return None
        problems.append(problem)
    nearer = [one for one in problems if one.kind != "type"]
    if nearer:
        values = tuple(dict.fromkeys(value for one in nearer for value in one.allowed))
        return nearer[0]._replace(allowed=values)
    deeper = [one for one in problems if one.path]
    return deeper[0] if deeper else Problem("type", _words(list(members), facts), value)


def _member(value: Value, member: Member, facts: Facts, layout: Layout, models: Models, *, top: bool) -> Problem | None:
    name = member.name
    wrong = Problem("type", name, value)
    if name == "None":
        return None if value is None else wrong
    if name == "Literal":
        return _choice(value, member.args, facts)
    if name in _SCALARS or (not models(name) and "enum" in facts and name.isidentifier() and name != "any"
                            and name not in _LISTS | _MAPPINGS | {"tuple"} and "Literal[" not in str(facts["type"])):  # fmt: skip
        return _scalar(value, name if name in _SCALARS else "str", facts, layout, top=top)
    if name in _LISTS or name == "tuple":
        if not isinstance(value, list):
            return wrong
        if top and len(value) < facts.get("min_length", 0):
            return Problem("range", f"at least {facts['min_length']} items", value)
        return _items(value, member, facts, layout, models)
    if name in _MAPPINGS or models(name):
        if not isinstance(value, dict):
            return wrong
        if models(name) or len(member.args) != 2 or _ANY in member.args[1]:
            return None
        for key, item in value.items():
            if item is None and not layout.lax:
                continue
            problem = _any(item, member.args[1], facts, layout, models, top=False)
            if problem is not None:
                return problem.below(key)
        return None
    return None


def _items(value: list[Value], member: Member, facts: Facts, layout: Layout, models: Models) -> Problem | None:
    if not member.args or (len(member.args) == 1 and _ANY in member.args[0]):
        return None
    each = [member.args[0]] * len(value)
    if member.name == "tuple" and len(member.args) > 1 and member.args[-1] != (Member("..."),):
        if len(value) != len(member.args):
            return Problem("type", f"a list of {len(member.args)} values", value)
        each = list(member.args)
    for index, (item, members) in enumerate(zip(value, each, strict=True)):
        problem = _any(item, members, facts, layout, models, top=False)
        if problem is not None:
            return problem.below(index)
    return None


def _choice(value: Value, allowed: tuple[Any, ...], facts: Facts) -> Problem | None:
    for one in allowed:
        if value == one and isinstance(value, bool) == isinstance(one, bool):
            return None
        if facts.get("ignorecase") and isinstance(value, str) and isinstance(one, str) and value.lower() == one.lower():
            return None
    listed = tuple(str(one) for one in allowed)
    same = isinstance(value, str) and any(isinstance(one, str) for one in allowed)
    number = not isinstance(value, bool | str) and isinstance(value, int) and any(type(one) is int for one in allowed)
    return Problem("value" if same or number else "type", ", ".join(listed), value, listed)


def _scalar(value: Value, name: str, facts: Facts, layout: Layout, *, top: bool) -> Problem | None:
    values = () if "Literal[" in str(facts.get("type")) else facts.get("enum") or ()
    wrong = Problem("type", name, value)
    if name in ("str", "Path"):
        return _string(value, [one for one in values if isinstance(one, str)], facts, top=top)
    if name == "bool":
        if isinstance(value, bool):
            return None
        lax = value in (0, 1) or (isinstance(value, str) and value.lower() in _BOOLEAN)
        return None if layout.lax and lax else wrong
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    if isinstance(value, str) and layout.lax and not (top and facts.get("strict")):
        if not (_INTEGER if name == "int" else NUMBER).match(value):
            return wrong
        number: int | float = float(value)
    elif isinstance(value, bool):
        if not layout.lax or (top and facts.get("strict")):
            return wrong
        number = int(value)
    elif isinstance(value, int | float):
        if name == "int" and isinstance(value, float) and not value.is_integer():
            return wrong
        number = value
    else:
        return wrong
    if numbers and number not in numbers:
        listed = tuple(str(one) for one in numbers)
        return Problem("value", ", ".join(listed), value, listed)
    return _limits(number, value, facts) if top else None


def _limits(number: int | float, value: Value, facts: Facts) -> Problem | None:
    for limit, (holds, words) in _COMPARE.items():
        if limit in facts and not holds(number, facts[limit]):
            return Problem("range", f"{words} {facts[limit]}", value)
    return None


def _string(value: Value, values: list[str], facts: Facts, *, top: bool) -> Problem | None:
    if not isinstance(value, str):
        return Problem("type", "str", value)
    if top and len(value) < facts.get("min_length", 0):
        return Problem("range", "a text that is not empty", value)
    if not values:
        fits = not (top and "pattern" in facts) or re.search(facts["pattern"], value)
        return None if fits else Problem("value", f"a text like {facts['pattern']}", value)
    if facts.get("open"):
        return None
    if facts.get("indexed") and re.fullmatch(rf"({'|'.join(values)}):\d+", value):
        return None
    if "pattern" in facts and re.search(facts["pattern"], value):
        return None
    return _choice(value, tuple(values), facts)


_PLAIN = {
    "str": "text",
    "Path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "None": "null",
}


def _words(members: list[Member], facts: Facts) -> str:
    """The alternatives for a reader."""
    said: list[str] = []
    for one in members:
        if one.name == "Literal":
            said += [str(value) for value in one.args]
        elif one.name in _LISTS or one.name == "tuple":
            inner = f" of {_words(list(one.args[0]), {})}" if one.args and one.args[0] else ""
            said.append(f"a list{inner}")
        elif one.name in _MAPPINGS or one.name not in _PLAIN:
            said.append("a mapping")
        elif one.name == "str" and facts.get("enum") and not facts.get("open"):
            said += [str(value) for value in facts["enum"] if isinstance(value, str)][:12]
        else:
            said.append(_PLAIN[one.name])
    said = list(dict.fromkeys(said))
    return said[0] if len(said) == 1 else ", ".join(said[:-1]) + " or " + said[-1]
