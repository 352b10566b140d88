"""Recipes: sections whose keys are paths (`training.optimizer`, `datasets[].weight`)."""

from __future__ import annotations

from collections.abc import Mapping

from ftmigrate.json_schema.components import Components, later
from ftmigrate.json_schema.sections import Sections
from ftmigrate.json_schema.types import Json, one_of
from ftmigrate.schema import SECTION, Facts


class Nested:
    """Object schemas of sections with dotted keys."""

    def __init__(self, sections: Sections, components: Components) -> None:
        self.sections, self.components = sections, components

    def recipe(self, name: str) -> Json:
        """The whole config of one recipe."""
        keys = self.sections.schema.keys(self.sections.layout.root + name)
        return self._mapping({key: facts for key, facts in keys.items() if key != SECTION}, "")

    def _mapping(self, keys: Mapping[str, Facts], parent: str) -> Json:
        own = {key: facts for key, facts in keys.items() if _parent(key) == parent}
        made: Json = {"type": "object", "properties": {_name(key): self._value(keys, key) for key in own}}
        required = [_name(key) for key, facts in own.items() if _is_required(facts)]
        return made | ({"required": sorted(required)} if required else {})

    def _value(self, keys: Mapping[str, Facts], key: str) -> Json:
        facts = keys[key]
        inner = any(_parent(other) == key for other in keys)
        if not inner and not facts.get("component"):
            return self.sections.key(facts)
        body = self._body(keys, key, inner=inner)
        ways = self.sections.types.alternatives(facts) or []
        listed = [way for way in ways if way.get("type") == "array"]
        mapped = [way for way in ways if way.get("type") == "object"]
        found = [body] if mapped or not listed else []
        if listed or facts.get("list"):
            found.append({"type": "array", "items": {"anyOf": [body, later()]}})
        found += [way for way in ways if way not in listed and way not in mapped]
        return self.sections.key(facts, one_of(found))

    def _body(self, keys: Mapping[str, Facts], key: str, *, inner: bool) -> Json:
        if not keys[key].get("component"):
            body = self._mapping(keys, key)
            return body | ({"additionalProperties": True} if keys[key].get("kwargs_of") else {})
        component = self.components.of(key)
        return {"allOf": [component, self._mapping(keys, key)]} if inner else component


def _is_required(facts: Facts) -> bool:
    return bool((facts.get("required") or facts.get("nonnull")) and not facts.get("conditional"))


def _parent(key: str) -> str:
    return key.rpartition(".")[0].removesuffix("[]")


def _name(key: str) -> str:
    return key.rpartition(".")[2]
