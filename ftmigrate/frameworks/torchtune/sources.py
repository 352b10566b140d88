"""The `dataset` section (one component or a list of them) as data sources. What a builder means is in `datasets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftmigrate.document.model import Path, Unresolved, Value
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import ABSENT, Sources, SourceSetting, Wanted
from ftmigrate.frameworks.torchtune import datasets, older
from ftmigrate.frameworks.torchtune.chat_formats import default_template, tokenizer_format
from ftmigrate.run.model import NOT_APPLICABLE
from ftmigrate.run.rendering import Rendering
from ftmigrate.run.source import Decoded, with_columns

_TOKENIZER = ("tokenizer._component_", "tokenizer.prompt_template")


# families whose sentencepiece model leads each piece it is given with a space of its own
_LED = ("llama2", "mistral", "phi3")
_PIECES = "each message apart, without a second leading space"


def _family(tokenizer: str) -> str:
    return tokenizer.split(".")[-2] if "." in tokenizer else ""


def _is_plain(component: str) -> bool:
    builder = datasets.BUILDERS.get(component)
    return builder is not None and builder.kind is datasets.Kind.PLAIN


def _names_column(argument: str) -> bool:
    return argument in ("column", "conversation_column") or argument.split(".")[0] == "column_map"


def _entries(reader: Reader) -> list[tuple[Path, dict[str, Value]]]:
    section = reader.value("dataset")
    if isinstance(section, dict):
        return [(("dataset",), section)]
    if isinstance(section, list):
        return [(("dataset", index), entry) for index, entry in enumerate(section) if isinstance(entry, dict)]
    return []


def decode(reader: Reader) -> Sequence[Mapping[str, SourceSetting]]:
    """One mapping of settings per dataset component."""
    tokenizer = str(reader.value("tokenizer._component_"))
    template = reader.value("tokenizer.prompt_template")
    if template is ABSENT:
        template = default_template(tokenizer, reader.version)
    found = []
    for head, entry in _entries(reader):
        component = str(entry.get("_component_"))
        form = older.dataset(component, entry, reader.version)
        said = datasets.decode(form.component, form.args, tokenizer, template, reader.version, form.around)
        decoded = with_columns(form.told(said), _names_column)
        if isinstance(decoded["location"].value, Unresolved):
            # somebody's own component: what it loads, and how, is not known
            nothing = Decoded(NOT_APPLICABLE)
            decoded = {name: d if isinstance(d.value, Unresolved) else nothing for name, d in decoded.items()}
        pieces = _PIECES if _family(tokenizer) in _LED and not _is_plain(form.component) else NOT_APPLICABLE
        known = isinstance(decoded["text"].value, Rendering)
        decoded["pieces"] = Decoded(pieces if known else NOT_APPLICABLE)
        shape = tokenizer_format(tokenizer, reader.version)
        decoded["special_names"] = Decoded(shape.names if known and shape else NOT_APPLICABLE)
        found.append({name: _setting(reader, head, name, value) for name, value in decoded.items()})
    return found


def _setting(reader: Reader, head: Path, name: str, decoded: Decoded) -> SourceSetting:
    args: list[Path] = [(*head, *arg.split(".")) for arg in decoded.args]
    if name in ("text", "loss_mask", "rejected"):
        args.append((*head, "_component_"))
        if isinstance(decoded.value, Rendering | Unresolved):
            args += [tuple(key.split(".")) for key in _TOKENIZER]
    if name == "location" and not decoded.args:
        args.append((*head, "_component_"))
    return SourceSetting(decoded.value, reader.below(args), decoded.why)


def packing(reader: Reader) -> Mapping[str, Decoded]:
    """Whether rows are packed: the one dataset's own `packed`, or that of all in a list."""
    found: dict[str, Decoded] = {}
    for head, entry in _entries(reader):
        path = older.canonical(str(entry.get("_component_")), reader.version)
        decoded = datasets.packing(path, entry, reader.version)
        for name, (value, args, why) in decoded.items():
            keys = tuple(f"dataset[].{arg}" if len(head) > 1 else f"dataset.{arg}" for arg in args)
            before = found.get(name)
            if before is not None:
                value, keys = bool(value and before.value), (*before.args, *keys)
            found[name] = Decoded(value, keys, why)
    return found or {"packed": Decoded(False), "split_across_pack": Decoded(False)}


def row_limit(reader: Reader) -> tuple[Value, tuple[str, ...]]:
    """The datasets' own max_seq_len (up to 0.2), and the keys that say it."""
    found: list[Value] = []
    keys: list[str] = []
    for head, entry in _entries(reader):
        limit, said = older.row_limit(str(entry.get("_component_")), entry, reader.version)
        found.append(limit)
        keys += [".".join(str(part) for part in (*head, "max_seq_len"))] if said else []
    same = found[:1] == found or all(limit == found[0] for limit in found)
    limit = (found[0] if found else None) if same else Unresolved("max_seq_len, which differs from dataset to dataset")
    return limit, tuple(keys)


def plain_text(reader: Reader, which: Callable[[list[bool]], bool] = any) -> bool:
    """Whether a source (or all of them) is raw text, whose BOS has a label, and which no EOS ends where it is cut."""
    names = [older.canonical(str(entry.get("_component_")), reader.version) for _, entry in _entries(reader)]
    return bool(names) and which([_is_plain(name) for name in names])


def write(wanted: Sequence[Mapping[str, Any]], told: Wanted) -> Mapping[str, Value]:
    """Keys for the wanted sources."""
    from ftmigrate.frameworks.torchtune import candidates

    return candidates.write(wanted, told)


ENTRY = Sources(
    ("dataset",),
    _TOKENIZER,
    decode,
    write,
    after=("method.name", "model.base", "model.architecture", "tokenizer.source"),
)
