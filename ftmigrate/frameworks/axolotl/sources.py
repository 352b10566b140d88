"""The `datasets` list as data sources. What one entry means is in `datasets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftmigrate.document.model import Path, Unresolved, Value
from ftmigrate.frameworks.axolotl import datasets, older
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import Sources, SourceSetting, Wanted
from ftmigrate.run.source import Decoded, with_columns

_TEXTS = ("text", "loss_mask", "rejected")


def decode(reader: Reader) -> Sequence[Mapping[str, SourceSetting]]:
    """One mapping of settings per entry of `datasets`."""
    listed = reader.value("datasets")
    if not isinstance(listed, list):
        return []
    config = {key: reader.or_default(key) for key in datasets.GLOBAL_KEYS}
    config = {key: value for key, value in config.items() if value is not None}
    found = []
    for index, entry in enumerate(listed):
        if not isinstance(entry, dict):
            continue
        said = datasets.decode(entry, config)
        refused = older.refused(entry, reader.version)
        if refused is not None:
            said = {name: Decoded(Unresolved(refused), d.args) if name in _TEXTS else d for name, d in said.items()}
        decoded = with_columns(said, _names_column)
        found.append(
            {
                name: SourceSetting(value, _leaves(reader, index, args), why)
                for name, (value, args, why) in decoded.items()
            }
        )
    return found


def _names_column(argument: str) -> bool:
    name = argument.removeprefix("type.")
    return name == "field" or name.startswith(("field_", "message_field_", "message_property_mappings"))


def _leaves(reader: Reader, index: int, args: Sequence[str]) -> tuple[Path, ...]:
    """Arguments as leaves: `field` is the entry's own, `/train_on_inputs` a global key."""
    wanted: list[Path] = []
    for arg in args:
        head: Path = () if arg.startswith("/") else ("datasets", index)
        wanted.append((*head, *arg.lstrip("/").split(".")))
    return tuple(path for path in reader.document.leaves if any(path[: len(head)] == head for head in wanted))


def write(wanted: Sequence[Mapping[str, Any]], told: Wanted) -> Mapping[str, Value]:
    """Keys for the wanted sources. A global key that the sources do not agree on is said by the first only."""
    keys: dict[str, Value] = {}
    entries: list[Value] = []
    for source in wanted:
        choice = datasets.best_source(source, told.tokens, keys, told.exact)
        entries.append(choice.entry)
        for key, value in choice.config.items():
            keys.setdefault(key, value)
    return {**keys, "datasets": entries}


ENTRY = Sources(("datasets",), datasets.GLOBAL_KEYS, decode, write)
