"""Components: mappings that name a callable, whose other keys are its arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property, partial

from ftmigrate.json_schema.sections import Sections
from ftmigrate.json_schema.types import LATER, Json
from ftmigrate.schema import COMPONENT, SECTION, Facts

OTHER = "other"


class Components:
    """The schema of a key that holds a component: the arguments follow from the callable it names."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        self.selector = sections.layout.component or ""
        found = sections.schema.sections
        self.paths = {name.removeprefix(COMPONENT): found[name] for name in found if name.startswith(COMPONENT)}

    def of(self, key: str) -> Json:
        """A reference to the components that suit a key; a callable that is not among them is taken as it is."""
        kind, word = self._kind_of(key)
        own = self.sections.schema.supplied(self.sections.layout, key)
        made = partial(self._selected, self.suiting(key), own)
        return self.sections.definitions.add(f"any {key if own else kind or word}", made)

    def suiting(self, key: str) -> list[str]:
        """The components that suit a key.

        They are those of the kind that the key is named after (`dataset_val`, `metric_logger`), else those whose own
        name has the key's in it (`quantizer`).
        """
        kind, word = self._kind_of(key)
        return [
            path
            for path, keys in self.paths.items()
            if (_kind(keys) == kind if kind else word in path.rpartition(".")[2].lower())
        ]

    def _kind_of(self, key: str) -> tuple[str, str]:
        """The kind that a key is named after, empty where there is none, and the first word of its name."""
        full = key.rpartition(".")[2]
        name = full if full in self.kinds else full.removesuffix("s")
        kinds = [kind for kind in self.kinds if kind != OTHER and (name.endswith(kind) or name.startswith(f"{kind}_"))]
        return max(kinds, key=len, default=""), name.partition("_")[0]

    @cached_property
    def kinds(self) -> set[str]:
        return {_kind(keys) for keys in self.paths.values()}

    def _selected(self, paths: list[str], own: str | None = None) -> Json:
        """The arguments follow from the name; `own` is the component where none is named."""
        alike: dict[str, list[str]] = {}
        for path in paths:
            alike.setdefault(json.dumps(self.arguments(path), sort_keys=True), []).append(path)
        cases = [
            {
                "if": self._named({"enum": [*same, None]}, own) if own in same else self._named({"enum": same}, None),
                "then": self.sections.definitions.add(f"{COMPONENT}{same[0]}", partial(self.arguments, same[0])),
            }
            for same in alike.values()
        ]
        names: list[Json] = [*([{"enum": paths}] if paths else []), {"type": ["string", "null"] if own else "string"}]
        made: Json = {"type": "object", **self._named({"anyOf": names} if len(names) > 1 else names[0], own)}
        return made | ({"allOf": cases} if cases else {})

    def _named(self, names: Json, own: str | None) -> Json:
        """A mapping that names a component; it need not where there is an own one."""
        return {"properties": {self.selector: names}} | ({} if own else {"required": [self.selector]})

    def arguments(self, path: str) -> Json:
        """The mapping that gives a callable its arguments; those that only the program can give are not required."""
        keys = self.paths[path]
        about = keys.get(SECTION, {})
        properties = {key: _nullable(found) for key, found in self.sections.properties(keys)}
        made: Json = {"type": "object", "properties": {self.selector: {}, **properties}}
        if about.get("deprecated"):
            made["deprecated"] = True
        made["additionalProperties"] = bool(about.get("kwargs")) or about.get("parameters") == "unknown"
        if required := sorted(self._required(keys)):
            made["required"] = required
        return made

    def _required(self, keys: Mapping[str, Facts]) -> Iterator[str]:
        for key in self.sections.required(keys):
            if key not in self.injected and self.sections.types.of(keys[key]):
                yield key

    @cached_property
    def injected(self) -> set[str]:
        """Arguments that some program gives by name."""
        root = self.sections.layout.root
        return {
            str(name)
            for section, keys in self.sections.schema.sections.items()
            if section.startswith(root)
            for key, facts in keys.items()
            if key and "injects" in facts
            for name in facts["injects"]["keywords"]
        }


def _nullable(found: Json) -> Json:
    """An argument's schema with null: a callable's annotations are not enforced, and null often means absence."""
    kinds = found.get("type")
    if kinds is not None and set(found) <= {"type", "default", "deprecated", "description", "x-type"}:
        listed = kinds if isinstance(kinds, list) else [kinds]
        return found if "null" in listed else {**found, "type": [*listed, "null"]}
    if "anyOf" in found:
        return {**found, "anyOf": [*found["anyOf"], *([] if _takes_null(found) else [{"type": "null"}])]}
    if "enum" in found:
        return {**found, "enum": [*found["enum"], *([] if None in found["enum"] else [None])]}
    return found


def _takes_null(found: Json) -> bool:
    kinds = [way.get("type", ()) for way in found["anyOf"]]
    return any(kind == "null" or (isinstance(kind, list) and "null" in kind) for kind in kinds)


def _kind(keys: Mapping[str, Facts]) -> str:
    return str(keys.get(SECTION, {}).get("kind", OTHER))


def later() -> Json:
    """A value that is only known at run time."""
    return {"type": "string", "pattern": LATER}
