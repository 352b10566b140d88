"""Sections of a range table as object schemas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from ftmigrate.json_schema.types import Json, Types
from ftmigrate.schema import SECTION, Facts, Layout, Schema

PLUGIN = "plugin "


class Definitions:
    """The document's `$defs`, each made when it is first asked for."""

    def __init__(self) -> None:
        self.found: dict[str, Json] = {}

    def add(self, name: str, make: Callable[[], Json]) -> Json:
        """The reference to a definition of that name."""
        key = re.sub(r"[^\w.-]+", "_", name)
        if key not in self.found:
            self.found[key] = {}  # it may refer to itself
            self.found[key] = make()
        return {"$ref": f"#/$defs/{key}"}


class Sections:
    """Object schemas of one version's sections."""

    def __init__(self, schema: Schema, layout: Layout, definitions: Definitions, *, annotated: bool = False) -> None:
        self.schema, self.layout, self.definitions, self.annotated = schema, layout, definitions, annotated
        self.types = Types(layout, {name for name in schema.sections if name.isidentifier()}, self.models)

    def root(self) -> Json:
        """The single root, with the keys of active and possible plugins."""
        found = self.object((self.layout.root,))
        if self.layout.plugins is None:
            return found
        conditions = []
        for name, keys in self.schema.sections.items():
            about = keys.get(SECTION, {})
            if not name.startswith(PLUGIN) or set(keys) == {SECTION}:
                continue
            if about.get("builtin"):
                found["properties"] |= {key: self.key(facts) for key, facts in keys.items() if key}
                continue
            for key in keys:
                if key and key not in found["properties"]:
                    found["properties"][key] = self._of_plugin(str(about["plugin"]))
            paths = [about["plugin"], *about.get("also", [])]
            listed = {"type": "array", "contains": {"enum": paths}}
            condition: Json = {
                "if": {"properties": {self.layout.plugins: listed}, "required": [self.layout.plugins]},
                "then": self.definitions.add(name, partial(self.object, (name,))),
            }
            if taken := {key: found["properties"][key] for key in about.get("takes", ())}:
                # with this plugin these keys may have further values: their own constraints hold without it
                condition["else"] = {"properties": taken}
                for key, more in about["takes"].items():
                    found["properties"][key] = {"anyOf": [taken[key], self.types.of(more)]}
            conditions.append(condition)
        found["properties"] = dict(sorted(found["properties"].items()))
        return found | {"allOf": conditions}

    def _of_plugin(self, path: str) -> Json:
        found: Json = {"description": f"Read with the plugin {path} only."}
        return found | ({"x-plugin": path} if self.annotated else {})

    def models(self, names: tuple[str, ...]) -> Json:
        """The reference to a model; several are one object: a key must suit one of the models that have it."""
        return self.definitions.add("-".join(names), partial(self.object, names))

    def object(self, names: tuple[str, ...]) -> Json:
        """The mapping that one of the sections describes."""
        ways: dict[str, list[Json]] = {}
        for name in names:
            for key, found in self.properties(self.schema.keys(name)):
                if found not in ways.setdefault(key, []):
                    ways[key].append(found)
        needed = [set(self.required(self.schema.keys(name))) for name in names]
        extra = {self.schema.keys(name).get(SECTION, {}).get("extra") for name in names}
        made: Json = {
            "type": "object",
            "properties": {key: found[0] if len(found) == 1 else {"anyOf": found} for key, found in ways.items()},
        }
        if required := sorted(set.intersection(*needed)):
            made["required"] = required
        if extra <= {"forbid", "allow"}:
            made["additionalProperties"] = extra != {"forbid"}
        return made

    def properties(self, keys: Mapping[str, Facts]) -> Iterator[tuple[str, Json]]:
        prefix = keys.get(SECTION, {}).get("prefix")
        for key, facts in keys.items():
            if key == SECTION or facts.get("supplied"):
                continue
            yield key, self.key(facts)
            if prefix and not key.startswith(prefix) and prefix + key not in keys:
                yield prefix + key, self.key(facts)

    def required(self, keys: Mapping[str, Facts]) -> Iterator[str]:
        other = {facts["alias_of"] for key, facts in keys.items() if key and "alias_of" in facts}
        for key, facts in keys.items():
            if key and facts.get("required") and not facts.get("conditional") and key not in other:
                yield key

    def key(self, facts: Facts, found: Json | None = None) -> Json:
        """A key's value schema with what is known beside: default, deprecation."""
        made = dict(self.types.of(facts) if found is None else found)
        if "default" in facts:
            made["default"] = facts["default"]
        for fact, text in (("removed", "No longer supported"), ("deprecated", "Deprecated")):
            if other := facts.get(fact):
                made["deprecated"] = True
                made["description"] = f"{text}; use `{other}`." if isinstance(other, str) else f"{text}."
                break
        if self.annotated:
            made["x-type"] = facts.get("type", "any")
        return made
