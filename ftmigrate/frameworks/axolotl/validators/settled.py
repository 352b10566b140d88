"""A config as Axolotl's later validators see it: values read as their types, defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ftmigrate.document.model import Unresolved
from ftmigrate.frameworks.checks import MAPPINGS, Undecided
from ftmigrate.schema import Facts, load

_TRUE = ("true", "t", "yes", "y", "on", "1")
_FALSE = ("false", "f", "no", "n", "off", "0")


class Settled:
    """Reads what `data` holds now, so that rewrites of it are seen. `made_up` are keys of ours in it."""

    def __init__(
        self, data: Mapping[str, Any], version: str, plugins: Sequence[str], made_up: Sequence[str] = ()
    ) -> None:
        self.data, self.version, self.made_up = data, version, made_up
        self.top = ("config", *plugins)

    def get(self, key: str) -> Any:
        head, *rest = key.split(".")
        facts = _facts(self.version, self.top, head)
        if facts is None and head in self.data and head not in self.made_up:
            return None  # Axolotl drops keys that it does not know
        value = self._value(self.data, head, facts)
        for part in rest:
            if facts is None or not ("ref" in facts or "refs" in facts):
                facts = None
                value = self._plain(value, part)
                continue
            sections = [*([facts["ref"]] if "ref" in facts else ()), *facts.get("refs", ())]
            facts = _facts(self.version, tuple(sections), part)
            value = self._value(value, part, facts) if isinstance(value, Mapping) else None
        return value

    def _value(self, data: Mapping[str, Any], key: str, facts: Facts | None) -> Any:
        if facts is None:
            return self._plain(data, key)
        if key not in data:
            return facts.get("default")
        return _read(self._plain(data, key), str(facts.get("type", "any")))

    def _plain(self, data: Any, key: str) -> Any:
        value = data.get(key) if isinstance(data, MAPPINGS) else None
        if isinstance(value, Unresolved):
            raise Undecided
        return value


@lru_cache(maxsize=4096)
def _facts(version: str, sections: tuple[str, ...], key: str) -> Facts | None:
    for section in sections:
        found = load("axolotl", version).keys(section).get(key)
        if found is not None and "removed" not in found:
            return found
    return None


def _read(value: Any, kind: str) -> Any:
    """A text that stands for a boolean or a number, as pydantic reads it."""
    if not isinstance(value, str) or kind == "any":
        return value
    parts = kind.split(" | ")
    if "str" in parts:
        return value
    if "bool" in parts and value.lower() in (*_TRUE, *_FALSE):
        return value.lower() in _TRUE
    if "int" in parts or "float" in parts:
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if "float" not in parts and number.is_integer() else number
    return value
