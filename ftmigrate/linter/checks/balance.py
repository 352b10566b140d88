"""Rules on the run: adapters, keys without effect, keys that contradict each other, data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from ftmigrate.document.model import Leaf, Path, Source, Unresolved, format_path
from ftmigrate.linter import hub
from ftmigrate.linter.rules import ERROR, Checks, Finding
from ftmigrate.linter.subject import Subject, table

if TYPE_CHECKING:
    from ftmigrate.frameworks.table import SourceSetting, Table

CHECKS = Checks()
_ADAPTER = "adapter."


@CHECKS("FT107", "FT125")
def scale(subject: Subject) -> Iterator[Finding]:
    alpha, rank = subject.number("adapter.alpha"), subject.number("adapter.rank")
    at = subject.said("adapter.alpha")
    if alpha is None or at is None:
        return
    if alpha == 0:
        message = "alpha is 0: the adapter's update is multiplied by alpha / rank, so it changes nothing."
        yield subject.finding("FT107", at, message)
    elif alpha < 0:
        yield subject.finding("FT125", at, f"alpha is {alpha:g}: the update is turned around.", severity=ERROR)
    elif rank and rank > 0 and not 1 / 32 <= alpha / rank <= 32:
        message = f"The update is scaled by alpha / rank = {alpha / rank:g}; 0.5 to 2 is usual."
        yield subject.finding("FT125", at, message)


@CHECKS("FT108")
def rank(subject: Subject) -> Iterator[Finding]:
    number = subject.number("adapter.rank")
    if number is not None and number <= 0:
        yield subject.finding(
            "FT108", subject.said("adapter.rank"), f"An adapter of rank {number} has no weights; 8 to 64 is usual."
        )
    elif number is not None and number > 4096:
        message = (
            f"An adapter of rank {number} has more weights than the layer that it stands beside; 8 to 64 is usual."
        )
        yield subject.finding("FT108", subject.said("adapter.rank"), message)


@CHECKS("FT116")
def dropout(subject: Subject) -> Iterator[Finding]:
    number = subject.number("adapter.dropout")
    if number is not None and not 0 <= number < 1:
        message = f"A dropout of {number:g} is no share; it lies between 0 and 1, 1 excluded."
        yield subject.finding("FT116", subject.said("adapter.dropout"), message)


@CHECKS("FT109")
def targets(subject: Subject) -> Iterator[Finding]:
    named = subject.get("adapter.target_modules")
    leaf = subject.said("adapter.target_modules")
    if leaf is None or not isinstance(named, tuple):
        return
    model = str(subject.get("model.base"))
    known = hub.modules(model)
    names = [str(one) for one in named]
    for name in names:
        parts = name.split(".")
        if known.intersection(parts) or not name.replace("_", "").isalnum():
            continue
        from difflib import get_close_matches

        close = get_close_matches(name, [one for one in known if one not in names], 1, 0.75)
        if not close and not hub.certain(model):
            continue
        whose = f"a layer of {model}" if hub.certain(model) else "a layer that a language model is known to have"
        hint = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(sorted(known))}."
        message = f"`{name}` is not {whose}, so nothing is adapted there; {hint}"
        fix = subject.replace_item(leaf.path, name, close[0]) if close else None
        yield subject.finding("FT109", subject.item_span(leaf.path, name) or leaf, message, fix=fix)


@CHECKS("FT110")
def leak(subject: Subject) -> Iterator[Finding]:
    if subject.get("sequence.packing") is True and subject.get("model.attention") == "eager":
        message = (
            "Rows share a sequence, but eager attention does not keep them apart: each row sees the rows before it. "
            "Use an attention with variable lengths (flash_attention_2, flex_attention), or do not pack."
        )
        yield subject.finding("FT110", subject.said("sequence.packing"), message)


@CHECKS("FT112")
def positions(subject: Subject) -> Iterator[Finding]:
    longest = subject.number("sequence.max_length")
    at = subject.said("sequence.max_length")
    if longest is None or at is None or subject.get("model.config_overrides"):
        return
    model = str(subject.get("model.base"))
    known = hub.positions(model)
    if known is not None and longest > known:
        message = (
            f"Sequences of {longest:g} tokens, but {model} was trained with {known} positions: what lies beyond is "
            "noise to it. Shorten them, or scale its rotary positions."
        )
        yield subject.finding("FT112", at, message)


@CHECKS("FT129")
def quantised(subject: Subject) -> Iterator[Finding]:
    at = subject.said("model.quantization")
    if at is None or subject.get("model.quantization") in ("none", None) or subject.get("adapter.method") != "none":
        return
    message = (
        f"The weights are stored as {subject.get('model.quantization')}, which cannot be trained, and there is no adapter "
        "that could. Add an adapter, or load the weights whole."
    )
    yield subject.finding("FT129", at, message)


@CHECKS("FT122")
def overwrites(subject: Subject) -> Iterator[Finding]:
    source, out = subject.get("model.base"), subject.get("saving.output_dir")
    at = subject.said("saving.output_dir")
    if isinstance(source, str) and isinstance(out, str) and at is not None and _same(source, out):
        message = f"Checkpoints go to {out}, where the model itself lies: its weights would be overwritten."
        yield subject.finding("FT122", at, message)


def _same(source: str, out: str) -> bool:
    return "/" in source and normpath(source) == normpath(out) and source.startswith((".", "/", "~"))


# --- keys -------------------------------------------------------------------------------------------------------


# the parts of the vocabulary whose conditions hold for every framework alike, and those conditions in words
_CONDITIONAL = ("adapter.", "qat.", "sequence.", "parallel.")
_WORDS = {
    "adapter.method is not none": "the run has an adapter, and this one trains the model itself",
    "sequence.packing is True": "rows are packed",
    "method.name is qat": "training is quantisation-aware",
    "parallel.strategy is fsdp2": "the weights are sharded over several GPUs (FSDP)",
}


@cache
def _conditional(framework: str, version: str) -> dict[str, list[tuple[Any, bool]]]:
    """The entries of a table by their keys, each with whether all its settings are conditional."""
    from ftmigrate.frameworks.table import Field, Group

    found: dict[str, list[tuple[Any, bool]]] = {}
    for entry in table(framework, version).entries:
        settings = entry.settings if isinstance(entry, Field | Group) else ()
        whole = bool(settings) and all(path.startswith(_CONDITIONAL) for path in settings)
        for key in getattr(entry, "keys", ()):
            found.setdefault(key, []).append((entry, whole))
    return found


@lru_cache(maxsize=4096)
def _only_conditional(framework: str, version: str, path: Path) -> tuple[Any, ...]:
    """The entries that read a leaf, where all their settings are conditional; else none."""
    known = _conditional(framework, version)
    entries: list[tuple[Any, bool]] = []
    name = ""
    for part in path:
        name = f"{name}.{part}" if name else str(part)
        entries += known.get(name, ())
    return tuple(entry for entry, _ in entries) if all(whole for _, whole in entries) else ()


@CHECKS("FT106")
def without_effect(subject: Subject) -> Iterator[Finding]:
    """Keys that say nothing but settings which do not apply to this run; one finding for all of one condition."""
    from ftmigrate.run import vocabulary

    name, version = subject.framework.name, subject.version
    found: dict[str, list[Leaf]] = {}
    for leaf in subject.document.leaves.values():
        entries = _only_conditional(name, version, leaf.path)
        if not entries or leaf.source is not Source.FILE or not leaf.value:
            continue
        if subject.reader.table.unknown(leaf.path, subject.reader) is not None:
            continue
        words = ""
        for entry in entries:
            conditions = [vocabulary.spec(path).when for path in entry.settings]
            failing = [one for one in conditions if one is not None and not one.holds(subject.reader)]
            if len(failing) < len(conditions):
                break
            words = words or failing[0].words
        else:
            found.setdefault(words, []).append(leaf)
    for words, leaves in found.items():
        yield _inert(subject, leaves, words)


def _inert(subject: Subject, leaves: list[Leaf], words: str) -> Finding:
    name = format_path(leaves[0].path)
    more = ", ".join(format_path(leaf.path) for leaf in leaves[1:6])
    also = f" So have {more}{', …' if len(leaves) > 6 else ''}." if more else ""
    message = f"`{name}` has no effect here: it counts only when {_WORDS.get(words, words)}.{also}"
    return subject.finding("FT106", leaves[0], message, key=True)


@CHECKS("FT115")
def contradictions(subject: Subject) -> Iterator[Finding]:
    """Two keys for one setting, with different values."""
    from ftmigrate.run.vocabulary import difference

    for setting, entries in _fields(subject.reader.table).items():
        said = []
        for entry in entries:
            path = tuple(entry.key.split("."))
            leaf = subject.document.leaves.get(path)
            if leaf is None or leaf.value is None or isinstance(leaf.value, Unresolved):
                continue
            if entry.when is None or entry.when.holds(subject.reader):
                said.append((leaf, entry.codec.decode(leaf.value, subject.reader)))
        if len(said) < 2 or difference(setting, said[0][1], said[1][1], {}) is None:
            continue
        first, second = said[0][0], said[1][0]
        line = first.span.start.line if first.span is not None else 1
        message = (
            f"`{format_path(second.path)}` says {second.raw}, but `{format_path(first.path)}` (line {line}) says "
            f"{first.raw} about the same, and goes first. Keep one of them."
        )
        yield subject.finding("FT115", second, message)


@cache
def _of_table(framework: str, version: str) -> dict[str, list[Any]]:
    from ftmigrate.frameworks.table import Field

    found: dict[str, list[Any]] = {}
    for entry in table(framework, version).entries:
        if isinstance(entry, Field) and "[" not in entry.key:
            found.setdefault(entry.setting, []).append(entry)
    return {setting: entries for setting, entries in found.items() if len({entry.key for entry in entries}) > 1}


def _fields(found: Table) -> dict[str, list[Any]]:
    return _of_table(found.framework, found.version)


# --- data -------------------------------------------------------------------------------------------------------


_OF_SOURCES = ("sequence.packing", "sequence.split_across_packs", "sequence.max_length")
"""Settings of the run that data sources may say."""


@cache
def _read_elsewhere(framework: str, version: str) -> tuple[str, ...]:
    """The keys that other entries read than the one of the data sources."""
    from ftmigrate.frameworks.table import Sources

    entries = table(framework, version).entries
    return tuple(key for entry in entries if not isinstance(entry, Sources) for key in getattr(entry, "keys", ()))


def _unread(subject: Subject, source: Mapping[str, SourceSetting]) -> Iterator[Finding]:
    """Options of a data source that what is known of its rows does not come from."""
    from ftmigrate.frameworks.table import matches
    from ftmigrate.run.rendering import Rendering

    text, location = source.get("text"), source.get("location")
    if text is None or location is None or not isinstance(text.value, Rendering) or not location.leaves:
        return
    head = location.leaves[0][:-1]
    fed = {path for setting in source.values() for path in setting.leaves}
    fed.update(path for name in _OF_SOURCES for path in subject.setting(name).leaves)
    for leaf in subject.document.below(head):
        path = leaf.path
        if path in fed or not leaf.value or leaf.value in (path[-1], [path[-1]]):  # what says its own name is no option
            continue
        others = _read_elsewhere(subject.framework.name, subject.version)
        if any(matches(key, path) for key in others) or subject.reader.table.unknown(path, subject.reader) is not None:
            continue
        what = text.value.note or "rows of this kind"
        message = f"`{format_path(path[len(head) :])}` is not read here ({what}), and has no effect."
        yield subject.finding("FT136", leaf, message, key=True)


_SAME = ("location", "subset", "split", "text")


@CHECKS("FT114", "FT124", "FT136")
def sources(subject: Subject) -> Iterator[Finding]:
    from ftmigrate.run.rendering import Conversation, Rendering

    seen: dict[tuple[object, ...], int] = {}
    told = False
    found = subject.sources
    alone = len(found) == 1
    for index, source in enumerate(found):
        mask = source.get("loss_mask")
        location = source.get("location")
        if location is not None and not isinstance(location.value, Unresolved) and location.leaves:
            same = () if alone else tuple(repr(source[name].value) if name in source else "" for name in _SAME)
            if same in seen and not any("dedup" in key for key in subject.document.tree):
                message = f"Source {index + 1} is source {seen[same]} again: its rows count twice. Remove one, or give weights."
                yield subject.finding("FT124", subject.document.leaves.get(location.leaves[0]), message)
            seen.setdefault(same, index + 1)
        yield from _unread(subject, source)
        if mask is None or told or not isinstance(mask.value, Rendering):
            continue
        talks = [one for one in mask.value.segments if isinstance(one, Conversation)]
        said = any(isinstance(subject.document.leaves[path].value, bool) for path in mask.leaves)
        if talks and "user" in talks[0].loss.roles and not said:
            told = True
            at = subject.document.leaves.get((location or mask).leaves[0]) if (location or mask).leaves else None
            message = "The prompt is trained as well as the reply: that is the default here. Say so, or switch it off, if it is not meant."
            yield subject.finding("FT114", at or subject.said("data.shuffle"), message)
