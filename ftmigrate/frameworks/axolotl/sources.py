"""The `datasets` list as data sources. What one entry means is in `datasets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftmigrate.document.model import Path as KeyPath
from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.axolotl import companion, dataset_types, exact_rows, older
from ftmigrate.frameworks.axolotl.companion import ROWS_KEY, is_rows_type
from ftmigrate.frameworks.axolotl.entries import GLOBAL_KEYS
from ftmigrate.frameworks.axolotl.entries import decode as decode_entry
from ftmigrate.frameworks.axolotl.places import entry_of
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import Sources, SourceSetting, Wanted
from ftmigrate.run.rendering import Conversation, Rendering
from ftmigrate.run.source import Decoded, with_columns

if TYPE_CHECKING:
    from ftmigrate.frameworks.axolotl.proposals import Choice

_TEXTS = ("text", "loss_mask", "rejected")


def decode(reader: Reader) -> Sequence[Mapping[str, SourceSetting]]:
    """One mapping of settings per entry of `datasets`."""
    listed = reader.value("datasets")
    if not isinstance(listed, list):
        return []
    config = {key: reader.or_default(key) for key in GLOBAL_KEYS}
    config = {key: value for key, value in config.items() if value is not None}
    found = []
    for index, entry in enumerate(listed):
        if not isinstance(entry, dict):
            continue
        said = decode_entry(entry, {**config, **_form(listed, index, config.get(ROWS_KEY), reader.value("plugins"))})
        refused = dataset_types.refused(entry, reader.version)
        if refused is not None:
            said = {name: Decoded(Unresolved(refused), d.args) if name in _TEXTS else d for name, d in said.items()}
        decoded = with_columns(_of_the_time(said, entry, config, reader.version), _names_column)
        found.append(
            {
                name: SourceSetting(value, _leaves(reader, index, args), why)
                for name, (value, args, why) in decoded.items()
            }
        )
    return found


def _form(listed: Sequence[Value], index: int, forms: Value, plugins: Any) -> dict[str, Value]:
    """What a dataset of the companion's type becomes: one form for each of them in their order, or one for all."""
    alike = [number for number, one in enumerate(listed) if isinstance(one, dict) and is_rows_type(one.get("type"))]
    if not isinstance(forms, list) or not forms or index not in alike or "Rows" not in companion.loaded(plugins):
        return {ROWS_KEY: None}
    at = alike.index(index) if len(forms) > 1 else 0
    return {ROWS_KEY: forms[at] if at < len(forms) else None, "plugins": plugins}


def _of_the_time(
    decoded: dict[str, Decoded], entry: Mapping[str, Value], config: Mapping[str, Value], version: str
) -> dict[str, Decoded]:
    """A named template that had another text in this version is not described, nor what was trained of some."""
    name = entry.get("chat_template")
    if name is None or str(name).startswith("tokenizer_default"):
        name = config.get("chat_template")
    since = older.TEMPLATES_SINCE.get(str(name))
    if entry.get("type") != "chat_template":
        return decoded
    if since is not None and not older.at_least(version, since):
        unknown = Unresolved(f"the chat template {name} as Axolotl had it before {since}, which had another text")
        return {key: found._replace(value=unknown) if key in _TEXTS else found for key, found in decoded.items()}
    if not older.at_least(version, older.TURNS_IN_WHOLE) and any(map(_hangs_on_others, _talks(decoded["text"].value))):
        why = Unresolved(f"before {older.TURNS_IN_WHOLE} turns were looked for in a text that ended with them, and this "
                         "format writes a turn otherwise when others follow or come before")  # fmt: skip
        return {**decoded, "loss_mask": decoded["loss_mask"]._replace(value=why)}
    return decoded


def _talks(text: object) -> list[Conversation]:
    return [part for part in text.segments if isinstance(part, Conversation)] if isinstance(text, Rendering) else []


def _hangs_on_others(talk: Conversation) -> bool:
    """Whether what a turn looks like depends on the turns around it, or a trained system message on the next."""
    shape = talk.format
    return bool(shape.last) or (shape.system_in_user is not None and "system" in talk.loss.roles)


def _names_column(argument: str) -> bool:
    name = argument.removeprefix("type.")
    return name == "field" or name.startswith(("field_", "message_field_", "message_property_mappings"))


def _leaves(reader: Reader, index: int, args: Sequence[str]) -> tuple[KeyPath, ...]:
    """Arguments as leaves: `field` is the entry's own, `/train_on_inputs` a global key."""
    wanted: list[KeyPath] = []
    for arg in args:
        head: KeyPath = () if arg.startswith("/") else ("datasets", index)
        wanted.append((*head, *arg.lstrip("/").split(".")))
    return reader.below(wanted)


def write(wanted: Sequence[Mapping[str, Any]], told: Wanted) -> Mapping[str, Value]:
    """Keys for the wanted sources. A global key that the sources do not agree on is said by the first only."""
    from ftmigrate.frameworks.axolotl import datasets

    keys: dict[str, Value] = {}
    entries: list[Value] = []
    forms: list[Value] = []
    stem = told.reader.context.stem
    for source in wanted:
        choice = datasets.best_source(source, told.tokens, keys, told.exact)
        form = _own_form(source, choice, told) if told.exact else None
        if form is not None:
            entries.append({**entry_of(source), "type": companion.rows_type(stem)})
            forms.append(form)
            continue
        entries.append(choice.entry)
        for key, value in choice.config.items():
            keys.setdefault(key, value)
    if forms:
        keys |= {"plugins": companion.with_plugin(told.reader.value("plugins"), stem, "Rows"),
                 ROWS_KEY: forms if any(form != forms[0] for form in forms) else forms[:1]}  # fmt: skip
    return {**keys, "datasets": entries}


def _own_form(source: Mapping[str, Any], choice: Choice, told: Wanted) -> exact_rows.Form | None:
    """The form under `exact_rows`, where only it says all: what rows become, and what becomes of the longer ones."""
    from ftmigrate.run.likeness import compare

    text = source.get("text")
    splits = choice.entry.get("type") == "completion" and told.run["sequence.overlong"] == "truncate"
    able = older.at_least(told.reader.version, companion.SINCE)
    if not able or not isinstance(text, Rendering) or source.get("rejected") is not None:
        return None
    form = exact_rows.form(text, told.tokens)
    if form is None or compare(text, exact_rows.rendering(form), told.tokens):
        return None
    named = source.get("special_names") == "text"
    return form if named or choice.differences or splits or "special_tokens" in choice.config else None


ENTRY = Sources(("datasets",), GLOBAL_KEYS, decode, write)
