"""Level `train`: loss and gradient norm of each optimizer step, from the same weights and rows on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ftmigrate.verify.results import Difference, Outcome, Result

LOSS = 1e-5
NORM = 1e-3
"""Relative differences that count as equal: rounding. Measured where all settings agree: 1e-7 (loss), 2e-7 (norm)."""
LOSS_OF_PAIRS = 5e-5
"""The same for a loss that grows with a difference of sums over all tokens of two replies. Measured: 7e-6 to 1.3e-5."""


class Gap(NamedTuple):
    """How far two runs are apart: the largest relative differences, and the first step beyond rounding."""

    loss: float
    norm: float
    step: int | None
    counts: tuple[int, int]

    @property
    def equal(self) -> bool:
        return self.step is None and self.counts[0] == self.counts[1]


def gap(source: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]]) -> Gap:
    loss = norm = 0.0
    step = None
    for index, (one, other) in enumerate(zip(source, target, strict=False), 1):
        here = 0.0
        if one["loss"] is not None and other["loss"] is not None:
            here = relative(one["loss"], other["loss"])
        there = relative(one["norm"], other["norm"])
        loss, norm = max(loss, here), max(norm, there)
        if step is None and (here > (LOSS_OF_PAIRS if one.get("pairs") else LOSS) or there > NORM):
            step = index
    return Gap(loss, norm, step, (len(source), len(target)))


def relative(one: float, other: float) -> float:
    size = max(abs(one), abs(other))
    return abs(one - other) / size if size else 0.0


def compare_training(
    source: Mapping[str, Any], target: Mapping[str, Any], differences: Sequence[Difference] = ()
) -> Result:
    """The level's result from both sides' answers, with the settings that were found to explain a difference."""
    found = gap(source["steps"], target["steps"])
    details = [
        f"{min(found.counts)} steps compared; largest relative difference: loss {found.loss:.1e}, "
        f"gradient norm {found.norm:.1e}"
    ]
    if found.counts[0] != found.counts[1]:
        details.append(f"{found.counts[0]} steps in the source, {found.counts[1]} in the target")
    if found.step is not None:
        a, b = source["steps"][found.step - 1], target["steps"][found.step - 1]
        details.append(
            f"first beyond rounding at step {found.step}: loss {_number(a['loss'])} and {_number(b['loss'])}, "
            f"gradient norm {a['norm']:.6f} and {b['norm']:.6f}"
        )
    data = {"source": list(source["steps"]), "target": list(target["steps"])}
    outcome = Outcome.PASSED if found.equal else Outcome.DIFFERS
    return Result("train", outcome, tuple(details), tuple(differences) if not found.equal else (), data)


def _number(loss: float | None) -> str:
    return "not observed" if loss is None else f"{loss:.7f}"
