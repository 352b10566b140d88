"""Access to an entry of `datasets` and to the global keys that concern it, noting what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.axolotl.strategies import Undecodable


class Entry:
    """An entry with the global keys, noting which of them were read."""

    def __init__(self, entry: Mapping[str, Value], config: Mapping[str, Value]) -> None:
        self.entry, self.config = entry, config
        self.used: dict[str, None] = {}

    def own(self, *path: str) -> Value:
        return self._take(self.entry, path, "")

    def shared(self, *path: str) -> Value:
        return self._take(self.config, path, "/")

    def _take(self, tree: Mapping[str, Value], path: Sequence[str], lead: str) -> Value:
        found: Value = dict(tree)
        for key in path:
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        self.used[lead + ".".join(path)] = None
        if isinstance(found, Unresolved):
            raise Undecodable(str(found))
        return found

    def text(self, *path: str) -> str | None:
        """A value of the entry that must be a string; null counts as absent."""
        value = self.own(*path)
        if value is None or isinstance(value, str):
            return value
        raise Undecodable(f"{'.'.join(path)} is no text")

    def special(self, name: str) -> str | None:
        """A token that `special_tokens` names: `bos` or `eos`."""
        value = self.shared("special_tokens", f"{name}_token")
        return value if isinstance(value, str) else None

    def tokens(self, own: Mapping[str, str]) -> dict[str, str]:
        """The texts of `bos` and `eos` where they are known; `own`: the tokenizer's."""
        named = {name: text for name in ("bos", "eos") if (text := self.special(name)) is not None}
        return {**own, **named}

    @property
    def trains_inputs(self) -> bool:
        return bool(self.shared("train_on_inputs"))
