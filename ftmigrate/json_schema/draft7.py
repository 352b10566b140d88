"""A 2020-12 document of ours as draft-07."""

from __future__ import annotations

from typing import Any

from ftmigrate.json_schema.types import Json

DIALECT = "http://json-schema.org/draft-07/schema#"
_MAPS = ("properties", "patternProperties", "$defs")  # from names to schemas
_ONE = ("items", "additionalProperties", "contains", "not", "if", "then", "else")
_SEVERAL = ("anyOf", "allOf", "oneOf", "prefixItems")


def to_draft7(document: Json) -> Json:
    """The same constraints in draft-07's words; what it has no word for and constrains nothing is left out."""
    made: Json = _schema(document)
    return made | {"$schema": DIALECT}


def _schema(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    made: Json = {}
    for word, value in schema.items():
        if word == "deprecated" or word.startswith("x-"):
            continue
        if word in _MAPS:
            value = {name: _schema(inner) for name, inner in value.items()}
        elif word in _ONE:
            value = _schema(value)
        elif word in _SEVERAL:
            value = [_schema(inner) for inner in value]
        if word == "$defs":
            word = "definitions"
        elif word == "prefixItems":
            word = "items"
        elif word == "$ref":
            value = value.replace("#/$defs/", "#/definitions/")
        made[word] = value
    if "$ref" in made and len(made) > 1:  # its siblings would be ignored
        made["allOf"] = [{"$ref": made.pop("$ref")}, *made.get("allOf", [])]
    return made
