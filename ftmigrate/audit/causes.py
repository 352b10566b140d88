"""Why a file does not convert whole: causes that files share, so that each can be counted and solved once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, field

from ftmigrate.conversion import Conversion
from ftmigrate.conversion.ledger import Effect, Entry
from ftmigrate.document.model import Document, Unresolved
from ftmigrate.run import vocabulary
from ftmigrate.run.compare import Verdict
from ftmigrate.run.display import to_text

BLOCKERS = ("refused", "unreadable", "fault", "manual", "dropped")
_EXAMPLES = 3


class Cause(Struct, frozen=True):
    """One reason of one file. kind is refused, unreadable, fault, manual, dropped or approximate; `name` is the same
    in every file that has it; `meaning` says it in words; `example` is what this file has there."""

    kind: str
    name: str
    meaning: str = ""
    example: str = ""


def causes(made: Conversion, document: Document, component: str | None) -> tuple[Cause, ...]:
    """The causes of one conversion, each once. `component` is the key that names a callable, where there is one."""
    if made.refused:
        reason = re.sub(r"^line \d+: ", "", made.refused)
        return (Cause("refused", reason, example=made.source.recipe or ""),)
    names = {
        str(leaf.value) for path, leaf in document.leaves.items() if path[-1] == component and "." in str(leaf.value)
    }
    found: dict[tuple[str, str], Cause] = {}
    for entry in made.ledger.entries:
        for cause in _of_entry(entry, names):
            found.setdefault((cause.kind, cause.name), cause)
    return tuple(found.values())


def _of_entry(entry: Entry, components: Iterable[str]) -> Iterator[Cause]:
    if entry.verdict < Verdict.APPROXIMATE:
        return
    if not entry.effects:
        name = _alike(entry.source_path or "")
        foreign = _named(entry.note, components) if entry.verdict is Verdict.MANUAL else None
        if foreign:
            yield Cause("manual", foreign, "a component without a counterpart", entry.source_path or "")
        else:
            value = to_text(entry.value)
            yield Cause(entry.verdict.word, name, entry.note.removesuffix(f" ({value})"), value)
    for effect in entry.effects:
        if effect.verdict >= Verdict.APPROXIMATE:
            yield _of_effect(effect, components)


def _of_effect(effect: Effect, components: Iterable[str]) -> Cause:
    if effect.verdict is Verdict.MANUAL:
        foreign = _named(effect.note, components)
        if foreign:
            return Cause("manual", foreign, "a component without a counterpart", _alike(effect.setting))
    meaning = vocabulary.spec(effect.setting).meaning
    value = effect.source.expression if isinstance(effect.source, Unresolved) else to_text(effect.source)
    return Cause(effect.verdict.word, _alike(effect.setting), meaning, value)


def _named(note: str, components: Iterable[str]) -> str | None:
    said = [name for name in components if name in note]
    return max(said, key=len) if said else None


def _alike(path: str) -> str:
    """`a[3].b` and `a[0].b` are one place."""
    return re.sub(r"\[\d+\]", "[]", path)


class Group(Struct):
    """A cause with the files that have it.

    `frees` counts those that nothing else blocks; `freed` those that nothing is left to block once this and all causes
    that stand before it are solved.
    """

    kind: str
    name: str
    meaning: str
    files: list[str] = field(default_factory=list)
    frees: int = 0
    freed: int = 0
    examples: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "meaning": self.meaning or None,
            "examples": self.examples,
            "count": len(self.files),
            "frees": self.frees,
            "freed": self.freed,
            "files": self.files,
        }


class Groups:
    """Causes grouped over files, as these come in."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Group] = {}
        self._blocked: Counter[frozenset[tuple[str, str]]] = Counter()

    def add(self, path: str, found: Iterable[Cause]) -> None:
        found = tuple(found)
        blocking = [cause for cause in found if cause.kind in BLOCKERS]
        if blocking:
            self._blocked[frozenset((cause.kind, cause.name) for cause in blocking)] += 1
        for cause in found:
            group = self._found.setdefault((cause.kind, cause.name), Group(cause.kind, cause.name, cause.meaning))
            group.files.append(path)
            group.frees += blocking == [cause]
            if cause.example and cause.example not in group.examples and len(group.examples) < _EXAMPLES:
                group.examples.append(cause.example)

    def blockers(self) -> list[Group]:
        """Those whose solving frees the most files first."""
        found = [group for group in self._found.values() if group.kind in BLOCKERS]
        found.sort(key=lambda group: (-group.frees, -len(group.files), group.kind, group.name))
        solved: set[tuple[str, str]] = set()
        for group in found:
            solved.add((group.kind, group.name))
            group.freed = sum(count for causes, count in self._blocked.items() if causes <= solved)
        return found

    def approximations(self) -> list[Group]:
        """Those that most files have first."""
        found = [group for group in self._found.values() if group.kind not in BLOCKERS]
        return sorted(found, key=lambda group: (-len(group.files), group.name))
