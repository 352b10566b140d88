"""Comparing two complete runs, setting by setting. The ledger's verdicts and `diff` both come from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum

from msgspec import Struct

from ftmigrate.document.model import PLACEHOLDER, Unresolved
from ftmigrate.run import likeness, vocabulary
from ftmigrate.run.columns import columns, outside
from ftmigrate.run.display import to_text
from ftmigrate.run.model import NOT_APPLICABLE, ClaimKind, Run, Setting
from ftmigrate.run.rendering import Rendering


class Verdict(IntEnum):
    """What became of a setting, from best to worst; an entry takes its worst effect's."""

    INERT = 0
    EXACT = 1
    MADE_EXPLICIT = 2
    ADAPTED = 3
    APPROXIMATE = 4
    DROPPED = 5
    MANUAL = 6

    @property
    def word(self) -> str:
        return self.name.lower()


_START = "2.4e-5 in the loss and 1.5e-3 in the gradient norm of a measured run"
LOSSES = (Verdict.APPROXIMATE, Verdict.DROPPED, Verdict.MANUAL)


class Comparison(Struct, frozen=True):
    """One setting in two runs. `difference` is None where both mean the same."""

    path: str
    source: Setting
    target: Setting | None
    difference: str | None

    @property
    def loss(self) -> Verdict | None:
        """The verdict of a difference; None where there is none."""
        if self.difference is None:
            return None
        if unknown(self.source.value) is not None or _open(self.target) is not None:
            return Verdict.MANUAL
        if vocabulary.spec(self.path).effect == "reporting":
            return Verdict.INERT
        got = self.target.value if self.target else None
        if _off(got) and not _off(self.source.value) and not vocabulary.spec(self.path).same_result:
            return Verdict.DROPPED
        return Verdict.APPROXIMATE

    def note(self) -> str:
        """The difference in words: both values, and what it means to the user."""
        spec = vocabulary.spec(self.path)
        missing = unknown(self.source.value) or _open(self.target)
        if missing is not None:
            return f"{spec.meaning}: {missing}; complete it by hand"
        got = self.target.value if self.target else None
        values = f"{spec.meaning}: {to_text(self.source.value)} in the source, {to_text(got)} in the target"
        alike = to_text(self.source.value) == to_text(got)
        if (spec.differs is not None or alike) and self.difference and " against " not in self.difference:
            values = f"{spec.meaning}: {self.difference}"
        why = f" ({self.target.why})" if self.target and self.target.leaves and self.target.why else ""
        return f"{values}{why}. {spec.loss[:1].upper()}{spec.loss[1:]}" if spec.loss else values + why


def unknown(value: object) -> str | None:
    """What of a value the file itself does not say, in words; None where it says all."""
    if isinstance(value, Unresolved):
        return value.expression
    return outside(value) if isinstance(value, Rendering) else None


def _open(found: Setting | None) -> str | None:
    """The placeholder that the target was written with for what stands in a row, if there is one."""
    value = found.value if found is not None else None
    names = columns(value.segments) if isinstance(value, Rendering) else value if isinstance(value, tuple) else ()
    left = (str(name) for name in names if str(name).startswith(PLACEHOLDER))
    return next((name.removeprefix(PLACEHOLDER) for name in left), None)


def _off(value: object) -> bool:
    return value is None or value is False or value is NOT_APPLICABLE or value in ("none", "no", ())


def compare(source: Run, target: Run) -> Iterator[Comparison]:
    """Every setting that applies in the source, against the target's."""
    tokens = {**target.tokens, **source.tokens}
    packing = all("sequence.packing" in run.settings and run["sequence.packing"] is True for run in (source, target))
    for path, wanted in source.settings.items():
        if wanted.value is NOT_APPLICABLE:
            continue
        got = target.settings.get(path)
        if got is None:
            yield Comparison(path, wanted, None, f"{to_text(wanted.value)} is not in the target")
            continue
        difference = vocabulary.difference(path, wanted.value, got.value, tokens)
        if difference is None and packing:
            difference = _in_packs(path, source, target, tokens)
        yield Comparison(path, wanted, got, difference)


def _in_packs(path: str, source: Run, target: Run, tokens: Mapping[str, str]) -> str | None:
    """What of the renderings counts only where rows share a sequence: the mask of a row's start, the room it takes."""
    if path == "sequence.packing_algorithm":
        texts = [f"data.sources[{index}].text" for index in range(source.sources)]
    elif path.endswith(".loss_mask"):
        texts = [path]
    else:
        return None
    for text in texts:
        wanted, got = (run.settings[text].value if text in run.settings else None for run in (source, target))
        if isinstance(wanted, Rendering) and isinstance(got, Rendering):
            found = likeness.packed(wanted, got, tokens)
            words = found.get("mask" if path.endswith(".loss_mask") else "text")
            if words:
                return f"{words} ({_START})" if path.endswith(".loss_mask") else words
    return None


def losses(source: Run, target: Run) -> list[Comparison]:
    """The settings that the target does not reproduce, reporting aside."""
    return [found for found in compare(source, target) if found.loss in LOSSES]


def private(run: Run) -> list[tuple[str, str]]:
    """Keys with an effect that only this framework has: (path, effect)."""
    from ftmigrate.document.model import format_path

    kinds = (ClaimKind.PRIVATE, ClaimKind.PENDING, ClaimKind.CUSTOM)
    return [(format_path(path), claim.why) for path, claim in run.claims.items() if claim.kind in kinds]
