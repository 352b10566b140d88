"""The ledger: one entry per leaf of the source, and one per default that was written out or lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ftmigrate import __version__
from ftmigrate.document.model import Document, Leaf, Unresolved, format_path
from ftmigrate.run import vocabulary
from ftmigrate.run.compare import Comparison, Verdict, compare
from ftmigrate.run.display import to_json, to_text
from ftmigrate.run.model import Claim, ClaimKind, Run


class Effect(Struct, frozen=True):
    """What became of one setting. A verdict other than exact has a note."""

    setting: str
    source: object
    target: object
    verdict: Verdict
    note: str = ""

    def __post_init__(self) -> None:
        if self.verdict is not Verdict.EXACT and not self.note:
            raise ValueError(f"{self.setting}: a verdict of {self.verdict.word} needs a note")

    def json(self) -> dict[str, Any]:
        return {
            "setting": self.setting,
            "source": to_json(self.source),
            "target": to_json(self.target),
            "verdict": self.verdict.word,
            "note": self.note,
        }


class Entry(Struct, frozen=True):
    """What became of one leaf of the source; source_path is None where no leaf said it.

    file is where line and column are, where that is not the source itself: an override's script.
    """

    source_path: str | None
    line: int | None
    column: int | None
    value: object
    verdict: Verdict
    target_paths: tuple[str, ...] = ()
    note: str = ""
    effects: tuple[Effect, ...] = ()
    file: str | None = None

    def __post_init__(self) -> None:
        if self.verdict is not Verdict.EXACT and not self.note:
            raise ValueError(f"{self.source_path}: a verdict of {self.verdict.word} needs a note")

    def json(self) -> dict[str, Any]:
        return {
            "source_path": self.source_path,
            "line": self.line,
            "column": self.column,
            **({"file": self.file} if self.file is not None else {}),
            "value": to_json(self.value),
            "verdict": self.verdict.word,
            "target_paths": list(self.target_paths),
            "note": self.note,
            "effects": [effect.json() for effect in self.effects],
        }


class Ledger(Struct, frozen=True):
    """The account of one conversion. `refused` says why nothing was written.

    edits: where the user's own text was edited, each change with its reason.
    """

    source: Mapping[str, object]
    target: Mapping[str, object]
    entries: tuple[Entry, ...]
    refused: str | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)
    edits: tuple[Mapping[str, Any], ...] | None = None

    def summary(self) -> dict[str, int]:
        counts = Counter(entry.verdict for entry in self.entries)
        return {verdict.word: counts[verdict] for verdict in Verdict}

    def json(self) -> dict[str, Any]:
        return {
            "ftmigrate": __version__,
            "source": dict(self.source),
            "target": dict(self.target),
            "summary": self.summary(),
            "refused": self.refused,
            "notes": list(self.notes),
            "entries": [entry.json() for entry in self.entries],
            **({"edits": [dict(edit) for edit in self.edits]} if self.edits is not None else {}),
        }


_UNFED = {
    ClaimKind.INERT: Verdict.INERT,
    ClaimKind.UNKNOWN: Verdict.INERT,
    ClaimKind.PRIVATE: Verdict.DROPPED,
    ClaimKind.PENDING: Verdict.DROPPED,
    ClaimKind.CUSTOM: Verdict.MANUAL,
}


class _Builder(Struct):
    document: Document
    source: Run
    target: Run
    written: Document
    reasons: Mapping[str, str]
    exactly: frozenset[str] = frozenset()
    effects: dict[str, Effect] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        for found in compare(self.source, self.target):
            self.effects[found.path] = self.effect(found)
        for path, leaf in self.document.leaves.items():
            yield self.entry(leaf, self.source.claims[path])
        yield from self.implicit()

    def effect(self, found: Comparison) -> Effect:
        target = found.target.value if found.target else None
        loss = found.loss
        if loss is not None:
            note = found.note()
            if found.path in self.reasons:
                note += f" ({self.reasons[found.path]})"
            if found.path in self.exactly:
                note += ". --exact keeps it"
            if loss is Verdict.INERT:
                note = f"reporting only, changes no weights: {note}"
            return Effect(found.path, found.source.value, target, loss, note)
        verdict, note = self.equal(found)
        return Effect(found.path, found.source.value, target, verdict, note)

    def equal(self, found: Comparison) -> tuple[Verdict, str]:
        """Exact when one leaf became one key with the same scalar, or the target needs no key; else adapted."""
        assert found.target is not None
        origins, keys = found.source.leaves, found.target.leaves
        if not keys:
            return Verdict.EXACT, ""
        if not origins:
            said = ", ".join(f"{format_path(key)}: {_short(self.written.leaves[key].value)}" for key in keys)
            return Verdict.MADE_EXPLICIT, f"{vocabulary.spec(found.path).meaning}: written out as {said}"
        if len(origins) == len(keys) == 1:
            before, after = self.document.leaves[origins[0]].value, self.written.leaves[keys[0]].value
            if before == after and type(before) is type(after):
                return Verdict.EXACT, ""
        said = ", ".join(f"{format_path(key)}: {_short(self.written.leaves[key].value)}" for key in keys)
        together = f" (from {', '.join(format_path(p) for p in origins)} together)" if len(origins) > 1 else ""
        why = f"; {found.source.why}" if found.source.why else ""
        return Verdict.ADAPTED, f"{vocabulary.spec(found.path).meaning}: said as {said}{together}{why}"

    def entry(self, leaf: Leaf, claim: Claim) -> Entry:
        line, column, file = _where(leaf)
        effects = tuple(self.said_alone(leaf, self.effects[path]) for path in claim.settings if path in self.effects)
        path = format_path(leaf.path)
        if not effects and self.kept(leaf):
            return Entry(path, line, column, leaf.value, Verdict.EXACT, (path,))
        if not effects:
            verdict = _UNFED.get(claim.kind, Verdict.INERT)
            note = claim.why or "feeds only settings that do not apply here"
            if claim.kind in (ClaimKind.PRIVATE, ClaimKind.CUSTOM):
                note += f" ({_short(leaf.value)})"
            if verdict is Verdict.INERT and isinstance(leaf.value, Unresolved) and claim.kind is not ClaimKind.INERT:
                verdict = Verdict.MANUAL
            return Entry(path, line, column, leaf.value, verdict, (), note, (), file)
        verdict = max(effect.verdict for effect in effects)
        if verdict is Verdict.MADE_EXPLICIT:
            verdict = Verdict.ADAPTED
        targets = tuple(dict.fromkeys(key for effect in effects for key in self.keys(effect.setting)))
        notes = [effect.note for effect in effects if effect.verdict is verdict and effect.note]
        if claim.kind is ClaimKind.VARIABLE:
            notes.insert(0, claim.why)
            verdict = max(verdict, Verdict.ADAPTED)
        note = "; ".join(dict.fromkeys(notes))
        if verdict is Verdict.MANUAL and not isinstance(leaf.value, Unresolved) and _short(leaf.value) not in note:
            note += f" (here: {_short(leaf.value)})"
        return Entry(path, line, column, leaf.value, verdict, targets, note, effects, file)

    def kept(self, leaf: Leaf) -> bool:
        """Whether a key that only this framework has stands in the target as it was."""
        same = self.written.leaves.get(leaf.path)
        return self.source.framework == self.target.framework and same is not None and same.value == leaf.value

    def said_alone(self, leaf: Leaf, effect: Effect) -> Effect:
        """Where several leaves make a setting, one whose very value became one key is carried over exactly."""
        if effect.verdict is not Verdict.ADAPTED or leaf.value in (None, "") or isinstance(leaf.value, list | dict):
            return effect
        found = self.target.settings.get(effect.setting)
        values = [self.written.leaves[key].value for key in (found.leaves if found else ())]
        same = [value for value in values if value == leaf.value and type(value) is type(leaf.value)]
        return replace(effect, verdict=Verdict.EXACT) if len(same) == 1 else effect

    def keys(self, setting: str) -> tuple[str, ...]:
        found = self.target.settings.get(setting)
        return tuple(format_path(path) for path in found.leaves) if found else ()

    def implicit(self) -> Iterator[Entry]:
        """What no leaf said: defaults written out, or lost. Settings that share keys share an entry."""
        grouped: dict[tuple[Verdict, tuple[str, ...]], list[Effect]] = {}
        for path, effect in self.effects.items():
            if self.source.settings[path].leaves or effect.verdict in (Verdict.EXACT, Verdict.INERT):
                continue
            keys = self.keys(path)
            mark = (effect.verdict, keys or (path,))
            grouped.setdefault(mark, []).append(effect)
        for (verdict, _), effects in grouped.items():
            targets = tuple(dict.fromkeys(key for effect in effects for key in self.keys(effect.setting)))
            note = "; ".join(dict.fromkeys(effect.note for effect in effects))
            yield Entry(None, None, None, None, verdict, targets, note, tuple(effects))


def _where(leaf: Leaf) -> tuple[int | None, int | None, str | None]:
    """Line, column and, for an override that stands in a script, that file."""
    if leaf.said is not None:
        return leaf.said.position.line, leaf.said.position.column, leaf.said.name
    where = leaf.span.start if leaf.span else leaf.key.start if leaf.key else None
    return (where.line, where.column, None) if where else (None, None, None)


def _short(value: object) -> str:
    text = to_text(value)
    return text if len(text) <= 60 else text[:57] + "..."


def build(
    document: Document,
    source: Run,
    target: Run,
    written: Document,
    reasons: Mapping[str, str],
    kept: frozenset[str] = frozenset(),
) -> tuple[Entry, ...]:
    """The entries of a conversion: source leaves in the order of the text, then what no leaf said.

    `kept`: the lost settings that the exact mode would keep."""
    return tuple(_Builder(document, source, target, written, reasons, kept).entries())


def refusal(document: Document, source: Run, reason: str) -> tuple[Entry, ...]:
    """The entries of a conversion that was refused: every leaf, with what it says in the source."""
    entries = []
    for path, leaf in document.leaves.items():
        claim = source.claims[path]
        line, column, file = _where(leaf)
        verdict = Verdict.DROPPED if claim.settings else _UNFED.get(claim.kind, Verdict.INERT)
        note = reason if claim.settings else claim.why
        entries.append(Entry(format_path(path), line, column, leaf.value, verdict, (), note, (), file))
    return tuple(entries)
