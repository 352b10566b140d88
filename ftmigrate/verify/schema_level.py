"""Level `schema`: a tree against the exported JSON Schema of a framework's version, by an independent validator.

Beside what the validator says, keys that the framework would pass over are found: it says nothing of them itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Struct

from ftmigrate import json_schema, schema
from ftmigrate.document.model import Path, Unresolved, format_path
from ftmigrate.frameworks import registry
from ftmigrate.json_schema import Json

_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "minItems", "maxItems")
Kind = Literal["value", "missing", "unknown"]


class ValidatorMissing(Exception):
    """The validator is an optional dependency."""

    def __init__(self) -> None:
        super().__init__("level schema needs the package jsonschema: pip install 'ftmigrate[verify]'")


class SchemaFinding(NamedTuple):
    """Something in the tree that the schema does not allow or does not know.

    `kind`: "value" (not what the framework takes), "missing" (a required key), "unknown" (a key it passes over).
    """

    path: str
    message: str
    kind: Kind = "value"


class _Error(Protocol):
    """What is used of jsonschema's errors."""

    validator: str
    validator_value: Any
    instance: Any
    schema: Any
    message: str
    context: Sequence[_Error]

    @property
    def absolute_path(self) -> Sequence[str | int]: ...

    @property
    def relative_schema_path(self) -> Sequence[str | int]: ...


def check_schema(
    tree: Mapping[str, Any], framework: str, version: str | None = None, recipe: str | None = None
) -> list[SchemaFinding]:
    """What is wrong with a config. A value that only the run knows (Unresolved) is right wherever it stands.

    Where the framework has recipes and none is told, the one that fits best counts. Raises
    registry.UnknownFramework, schema.UnknownVersion, json_schema.UnknownRecipe, ValidatorMissing.
    """
    found = registry.get(framework)
    version = version or found.newest
    if recipe is None and (names := json_schema.recipes(schema.load(framework, version), found.layout)):
        return min((_checker(framework, version, name).check(tree) for name in names), key=_weight)
    listed = tree.get(found.layout.plugins or "")
    plugins = [str(one) for one in listed] if isinstance(listed, list) else []
    brought = {key for end, key, _ in found.layout.beside if any(one.endswith(end) for one in plugins)}
    return [one for one in _checker(framework, version, recipe).check(tree) if one.path not in brought]


def _weight(findings: Sequence[SchemaFinding]) -> tuple[int, int]:
    return sum(one.kind != "unknown" for one in findings), len(findings)


@cache
def _checker(framework: str, version: str, recipe: str | None) -> _Checker:
    layout = registry.get(framework).layout
    return _Checker(json_schema.export(schema.load(framework, version), layout, recipe=recipe, annotated=True))


class _Keys(Struct, frozen=True):
    """What is known of a mapping's keys: their schemas, and whether others are taken too, or refused."""

    known: dict[str, list[Json]]
    open: bool
    refused: bool


class _Checker:
    def __init__(self, document: Json) -> None:
        try:
            from jsonschema import Draft202012Validator
        except ImportError:
            raise ValidatorMissing from None
        self.document = document
        self.validator: Any = Draft202012Validator(document)

    def check(self, tree: Mapping[str, Any]) -> list[SchemaFinding]:
        unresolved: set[Path] = set()
        plain = _plain(tree, (), unresolved)
        found: list[SchemaFinding] = []
        for error in self.validator.iter_errors(plain):
            for one in _leaves(error):
                if tuple(one.absolute_path) not in unresolved:
                    found += _finding(one)
        found += self._unknown(plain, [self.document], ())
        return sorted(dict.fromkeys(found))

    def _unknown(self, node: Any, schemas: list[Json], path: Path) -> Iterator[SchemaFinding]:
        """Keys that no schema of `node` has, at any depth."""
        applying = [one for given in schemas for one in self._applying(given, node)]
        if isinstance(node, list):
            items = [one["items"] for one in applying if isinstance(one.get("items"), dict)]
            for index, item in enumerate(node):
                yield from self._unknown(item, items, (*path, index))
        elif isinstance(node, dict):
            keys = _keys(applying)
            for key, value in node.items():
                if key in keys.known:
                    named = keys.known[key]
                    plugins = [one["x-plugin"] for one in named if "x-plugin" in one]
                    if plugins and len(plugins) == len(named):
                        message = f"is read with the plugin {plugins[0]} only, which is not listed"
                        yield SchemaFinding(format_path((*path, key)), message, "unknown")
                    yield from self._unknown(value, named, (*path, key))
                elif not keys.open:
                    close = get_close_matches(key, keys.known, 1)
                    message = "is no key here" + (f"; did you mean {close[0]}?" if close else "")
                    yield SchemaFinding(format_path((*path, key)), message, "value" if keys.refused else "unknown")

    def _applying(self, given: Json, node: Any) -> Iterator[Json]:
        """The parts of a schema that speak of this value: references followed, conditions decided."""
        if "$ref" in given:
            yield from self._applying(self.document["$defs"][given["$ref"].rpartition("/")[2]], node)
        yield given
        for part in given.get("allOf", ()):
            yield from self._applying(part, node)
        for part in given.get("anyOf", ()):
            yield from self._applying(part, node)
        if "if" in given and self.validator.evolve(schema=given["if"]).is_valid(node):
            yield from self._applying(given["then"], node)
        elif "else" in given:
            yield from self._applying(given["else"], node)


def _keys(applying: list[Json]) -> _Keys:
    """A mapping of which nothing is said is open; so is one where any part takes other keys expressly."""
    known: dict[str, list[Json]] = {}
    for one in applying:
        for key, value in one.get("properties", {}).items():
            known.setdefault(key, []).append(value)
    expressly = [one["additionalProperties"] for one in applying if "additionalProperties" in one]
    bare = any(one.get("type") == "object" and "properties" not in one for one in applying)
    taken = bare or not known or any(value is not False for value in expressly)
    return _Keys(known, taken, not taken and False in expressly)


def _plain(value: Any, path: Path, unresolved: set[Path]) -> Any:
    """The tree in JSON's types; keys as text. Dates and the like stay what they are: no type of JSON's."""
    if isinstance(value, Unresolved):
        unresolved.add(path)
        return value.expression
    if isinstance(value, Mapping):
        return {str(key): _plain(item, (*path, str(key)), unresolved) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index), unresolved) for index, item in enumerate(value)]
    return value


def _leaves(error: _Error) -> Iterator[_Error]:
    """The errors that tell: of alternatives, those of the one that the value comes nearest to."""
    branches: dict[int, list[_Error]] = {}
    for one in error.context if error.validator == "anyOf" else ():
        branches.setdefault(int(one.relative_schema_path[0]), []).append(one)
    of_type = [errors for errors in branches.values() if not any(_of_wrong_type(one, error) for one in errors)]
    if not isinstance(error.instance, dict | list):  # of a text that is no number the pattern tells nothing
        of_type = [errors for errors in of_type if all(one.validator in _LIMITS for one in errors)]
    if not of_type:
        yield error
        return
    for one in min(of_type, key=len):
        yield from _leaves(one)


def _of_wrong_type(error: _Error, whole: _Error) -> bool:
    return error.validator == "type" and len(error.absolute_path) == len(whole.absolute_path)


def _finding(error: _Error) -> Iterator[SchemaFinding]:
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties" and error.validator_value is False:
        return  # told by _unknown, key by key
    if error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                yield SchemaFinding(format_path((*path, key)), "is required", "missing")
        return
    if error.validator == "not":
        text = str(error.schema.get("description", "No longer supported."))
        yield SchemaFinding(format_path(path), f"is {text[0].lower()}{text[1:].rstrip('.')}")
        return
    yield SchemaFinding(format_path(path), _message(error))


def _message(error: _Error) -> str:
    wanted = error.schema if isinstance(error.schema, dict) else {}
    shown = repr(error.instance) if len(repr(error.instance)) <= 80 else f"a {type(error.instance).__name__}"
    if "No longer supported" in str(wanted.get("description")):
        return f"{shown}: {str(wanted['description']).rstrip('.').lower()}"
    values = list(_values(wanted))
    close = get_close_matches(error.instance, values, 1) if isinstance(error.instance, str) else []
    hint = f"; did you mean {close[0]}?" if close else ""
    types = " | ".join(dict.fromkeys(_types(wanted)))
    if error.validator in ("anyOf", "type", "enum"):
        if values and isinstance(error.instance, str) and "Literal[" not in types:
            return f"{shown} is none of {', '.join(values[:20])}{', …' if len(values) > 20 else ''}{hint}"
        if types:
            return f"{shown} is not {types}{hint}"
    return error.message if len(error.message) <= 200 else f"{shown} is not valid"


def _values(wanted: Json) -> Iterator[str]:
    for way in (wanted, *wanted.get("anyOf", ())):
        yield from (value for value in way.get("enum", ()) if isinstance(value, str) and not value.isdigit())


def _types(wanted: Json) -> Iterator[str]:
    for way in (wanted, *wanted.get("anyOf", ())):
        if "x-type" in way:
            yield way["x-type"]
