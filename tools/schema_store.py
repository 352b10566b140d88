"""Range tables: build, read and write `schemas/<framework>.json` (the format is documented in ftmigrate/schema.py).

A version is plain data, `{section: {key: facts}}`. Versions are independent: `merge` replaces or adds the given ones
and leaves what the table says of the others as it was.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Facts: TypeAlias = dict[str, Any]
Sections: TypeAlias = dict[str, dict[str, Facts]]
Table: TypeAlias = dict[str, Any]

_BUILTIN = {"List": "list", "Dict": "dict", "Tuple": "tuple", "Set": "set", "FrozenSet": "frozenset", "Type": "type"}
_DROPPED_PREFIXES = ("typing.", "typing_extensions.", "collections.abc.", "builtins.", "t.")
_ANNOTATED = ("Annotated", "Final", "ClassVar", "Required", "NotRequired")


def build(
    framework: str, by_version: Mapping[str, Sections], versions: Sequence[str], extra: Mapping[str, Any] | None = None
) -> Table:
    """The smallest range table that says what `by_version` says, for the versions in that order, oldest first."""
    if set(versions) != set(by_version):
        raise ValueError(f"the declared versions {list(versions)} are not those given: {list(by_version)}")
    places = sorted({(section, key) for data in by_version.values() for section in data for key in data[section]})
    sections: dict[str, dict[str, list[list[Any]]]] = {}
    for section, key in places:
        seen = [by_version[version].get(section, {}).get(key) for version in versions]
        sections.setdefault(section, {})[key] = _ranges(seen, versions)
    return {"framework": framework, "versions": list(versions), **(extra or {}), "sections": sections}


def _ranges(seen: Sequence[Facts | None], versions: Sequence[str]) -> list[list[Any]]:
    ranges: list[list[Any]] = []
    open_facts: Facts | None = None
    for version, facts in zip(versions, seen, strict=True):
        if same(facts, open_facts):
            continue
        if open_facts is not None:
            ranges[-1][1] = version
        if facts is not None:
            ranges.append([version, None, facts])
        open_facts = facts
    return ranges


def same(a: object, b: object) -> bool:
    """Equality of JSON data in which true is not 1 and 1 is not 1.0."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def expand(table: Table) -> dict[str, Sections]:
    """What `build` was given: every version of the table on its own."""
    versions: list[str] = table["versions"]
    order = {version: index for index, version in enumerate(versions)}
    by_version: dict[str, Sections] = {version: {} for version in versions}
    for section, keys in table["sections"].items():
        for key, ranges in keys.items():
            for since, until, facts in ranges:
                for version in versions[order[since] : len(versions) if until is None else order[until]]:
                    by_version[version].setdefault(section, {})[key] = facts
    return by_version


def merge(
    table: Table | None,
    framework: str,
    by_version: Mapping[str, Sections],
    versions: Sequence[str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Table:
    """The table with the given versions replaced or added.

    `versions` is the order of all of them, without it that of their numbers. Versions not in it are left out.
    """
    known = expand(table) if table else {}
    if versions is None:
        versions = sorted({*known, *by_version}, key=place)
    merged = {version: by_version.get(version, known.get(version, {})) for version in versions}
    kept = {name: value for name, value in (table or {}).items() if name not in ("framework", "versions", "sections")}
    return build(framework, merged, versions, {**kept, **(extra or {})})


def place(version: str) -> tuple[float, ...]:
    """Where a version stands in the order of releases; a branch such as `main` stands after them all."""
    if not version[:1].isdigit():
        return (math.inf,)
    return tuple(float(number) for number in re.findall(r"\d+", version))


def read(path: Path) -> Table | None:
    """The stored table; None where there is none yet."""
    if not path.exists():
        return None
    table: Table = json.loads(path.read_text(encoding="utf-8"))
    return table


def write(path: Path, table: Table) -> None:
    """Store the table, a line a key."""
    path.write_text(dumps(table), encoding="utf-8")


def dumps(table: Table) -> str:
    """The table as text: sections and keys sorted, a line a key, so that a release touches the lines it changes."""
    lines = ["{"]
    lines += [f"{_json(name)}: {_json(value)}," for name, value in table.items() if name != "sections"]
    lines.append('"sections": {')
    sections = table["sections"]
    for i, section in enumerate(sorted(sections)):
        keys = sections[section]
        lines.append(f"{_json(section)}: {{")
        lines += [
            f"{_json(key)}: {_json(keys[key])}{',' if j < len(keys) - 1 else ''}" for j, key in enumerate(sorted(keys))
        ]
        lines.append("}," if i < len(sections) - 1 else "}")
    lines += ["}", "}", ""]
    return "\n".join(lines)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def normalise_type(annotation: str | None) -> str:
    """An annotation in one spelling: `Optional[List[str]]` is `list[str] | None`; `any` where there is none.

    Takes source text or the `str()` of a runtime annotation. None comes last in a union, doubles are dropped.
    """
    if annotation is None or not annotation.strip():
        return "any"
    text = annotation.strip()
    if text.startswith("<class '") and text.endswith("'>"):
        text = text[len("<class '") : -len("'>")]
    try:
        return _type(ast.parse(text, mode="eval").body)
    except SyntaxError:
        return text


def _type(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        if node.value is Ellipsis:
            return "..."
        return normalise_type(node.value) if isinstance(node.value, str) else repr(node.value)
    if isinstance(node, ast.Name | ast.Attribute):
        return _name(ast.unparse(node))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([_type(node.left), _type(node.right)])
    if isinstance(node, ast.List | ast.Tuple):
        return "[" + ", ".join(_type(item) for item in node.elts) + "]"
    if isinstance(node, ast.Subscript):
        head = _name(ast.unparse(node.value))
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if head == "Literal":
            return "Literal[" + ", ".join(ast.unparse(item) for item in items) + "]"
        if head in _ANNOTATED:
            return _type(items[0])
        if head == "Optional":
            return _union([_type(items[0]), "None"])
        if head == "Union":
            return _union([_type(item) for item in items])
        return f"{head}[{', '.join(_type(item) for item in items)}]"
    return ast.unparse(node)


def _name(name: str) -> str:
    for prefix in _DROPPED_PREFIXES:
        name = name.removeprefix(prefix)
    if name == "Any":
        return "any"
    return "None" if name == "NoneType" else _BUILTIN.get(name, name)


def _union(members: Sequence[str]) -> str:
    flat: list[str] = []
    for member in members:
        flat += _split_union(member)
    ordered = [member for member in dict.fromkeys(flat) if member != "None"]
    if "any" in ordered:
        return "any"
    return " | ".join([*ordered, "None"] if "None" in flat else ordered)


def _split_union(text: str) -> list[str]:
    """The members of a union already in our spelling; a bar within brackets or quotes is no separator."""
    parts, depth, quote, current = [], 0, "", ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "[(":
            depth += 1
        elif char in "])":
            depth -= 1
        elif char == "|" and depth == 0:
            parts.append(current.strip())
            current = ""
            continue
        current += char
    return [*parts, current.strip()]
