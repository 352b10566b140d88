"""Level `plan`: what the two frameworks resolve from the two configs, setting by setting and step by step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ftmigrate.run import vocabulary
from ftmigrate.run.compare import losses
from ftmigrate.run.display import to_text
from ftmigrate.run.model import NOT_APPLICABLE, External, Run, Share, Symbol
from ftmigrate.verify.results import Difference, Outcome, Result

_RATES = ("schedule.name", "schedule.warmup_steps", "schedule.cycles", "schedule.min_ratio", "optimizer.learning_rate")
_STEPS = ("duration.max_steps", "duration.epochs", "duration.epoch_steps", "batch.micro_size", "batch.accumulation",
          "duration.partial_batch", "duration.partial_step", "sequence.packing", "sequence.packing_algorithm",
          "sequence.overlong", "evaluation.data")  # fmt: skip
_PARAMETERS = ("adapter.target_modules", "adapter.rank", "adapter.use_dora", "adapter.method", "model.trainable",
               "adapter.modules_to_save", "adapter.bias")  # fmt: skip
TOLERANCE = 1e-9


def compare_plans(source: Mapping[str, Any], target: Mapping[str, Any], before: Run, after: Run) -> Result:
    """The level's result from both sides' answers."""
    told = {found.path for found in losses(before, after)}
    found = list(_settings(source["observed"], target["observed"], told))
    named = {one.setting for one in found}
    found += _parameters(source["parameters"], target["parameters"], before, after, told, named)
    found += _rates(source["rates"], target["rates"], before, after, told, named)
    same = len(source["observed"].keys() & target["observed"].keys())
    details = (
        f"{same} settings, {len(source['parameters'])} trainable parameters and the learning rates of "
        f"{source['total']} steps compared",
    )
    data = {side: {key: plan[key] for key in ("observed", "rates", "total", "optimizer", "groups", "parameters")}
            for side, plan in (("source", source), ("target", target))}  # fmt: skip
    return Result("plan", Outcome.DIFFERS if found else Outcome.PASSED, details, tuple(found), data)


def _settings(source: Mapping[str, Any], target: Mapping[str, Any], told: set[str]) -> Iterator[Difference]:
    for path in source:
        if path not in target or vocabulary.spec(path).effect != "training":
            continue
        wanted, got = value(source[path]), value(target[path])
        if vocabulary.difference(path, wanted, got, {}) is not None:
            yield Difference(path, f"{to_text(wanted)} in the source, {to_text(got)} in the target", path in told)


def value(seen: Any) -> Any:
    """A value from JSON as the vocabulary has it."""
    return tuple(seen) if isinstance(seen, list) else seen


def _parameters(
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    before: Run,
    after: Run,
    told: set[str],
    named: set[str | None],
) -> Iterator[Difference]:
    found = trained(source, target, before, after, told, named)
    if found is not None:
        yield found
    counts = [sum(bool(one["decay"]) for one in side.values()) for side in (source, target)]
    if counts[0] != counts[1] and (found is None or "trained only" not in found.text):
        path = "optimizer.weight_decay_scope" if all(counts) else "optimizer.weight_decay"
        if path not in named:
            yield Difference(
                path, f"{counts[0]} parameters are decayed in the source, {counts[1]} in the target", path in told
            )


def trained(
    source: Mapping[str, Any], target: Mapping[str, Any], before: Run, after: Run, told: set[str],
    named: Collection[str | None] = (),
) -> Difference | None:  # fmt: skip
    """How the trainable parameters of the two sides differ, by name and shape."""
    wanted, got = ({name: one["shape"] for name, one in side.items()} for side in (source, target))
    shapes = [_joined(wanted, got), _joined(got, wanted)]
    only = [sorted(shapes[a].keys() - shapes[b].keys()) for a, b in ((0, 1), (1, 0))]
    other = sorted(
        name for name in shapes[0].keys() & shapes[1].keys() if _size(shapes[0][name]) != _size(shapes[1][name])
    )
    if only[0] or only[1] or other:
        parts = [f"{len(names)} are trained only in the {side} ({', '.join(names[:2])}{', …' if len(names) > 2 else ''})"
                 for names, side in zip(only, ("source", "target"), strict=True) if names]  # fmt: skip
        parts += (
            [f"{len(other)} have another shape ({other[0]}: {shapes[0][other[0]]} and {shapes[1][other[0]]})"]
            if other
            else []
        )
        cause = _cause(_PARAMETERS, before, after) or next((one for one in _PARAMETERS if one in named), None)
        return Difference(cause, f"trainable parameters: {'; '.join(parts)}", cause in told)
    return None


# layers of which some models keep several in one matrix, below each other
_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def _joined(own: Mapping[str, list[int]], other: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Names and shapes with those weights as one that the other side has in one."""
    out = dict(own)
    for name in other.keys() - own.keys():
        for whole, parts in _FUSED.items():
            names = [name.replace(whole, part) for part in parts]
            if name.endswith(f".{whole}.weight") and all(one in out for one in names):
                shapes = [out.pop(one) for one in names]
                out[name] = [sum(shape[0] for shape in shapes), *shapes[0][1:]]
    return out


def _size(shape: list[int]) -> list[int]:
    return [one for one in shape if one != 1]


def _rates(
    source: list[float], target: list[float], before: Run, after: Run, told: set[str], named: set[str | None]
) -> Iterator[Difference]:
    if len(source) != len(target):
        cause = _cause(_STEPS, before, after) or next((one for one in _STEPS if one in named), None)
        yield Difference(
            cause, f"{len(source)} optimizer steps in the source, {len(target)} in the target", cause in told
        )
        if cause is not None and any(one in named for one in _RATES):
            return
    peak = max(source + target, default=0.0) or 1.0
    for step, (wanted, got) in enumerate(zip(source, target, strict=False), 1):
        if abs(wanted - got) > TOLERANCE * peak:
            cause = _cause(_RATES, before, after) or next((one for one in _RATES if one in named), None)
            if cause is None and len(source) != len(target):
                return  # the schedule spans other numbers of steps: told above
            text = f"the learning rate differs from step {step} on: {wanted:.6g} in the source, {got:.6g} in the target"
            yield Difference(cause, text, cause in told)
            return


def _cause(paths: tuple[str, ...], before: Run, after: Run) -> str | None:
    """The first of these settings that differs by our reading."""
    for path in paths:
        wanted, got = before.settings[path].value, after.settings[path].value
        if NOT_APPLICABLE not in (wanted, got) and vocabulary.difference(path, wanted, got, before.tokens):
            return path
    return None


# --- the referee: a plan against our reading ------------------------------------------------------------------------


def referee(run: Run, plan: Mapping[str, Any]) -> dict[str, tuple[Any, Any, bool]]:
    """Each setting that the framework's own plan shows: our value, the observed one, and whether they agree.

    A setting of which our reading says that only the run knows it is left out.
    """
    found: dict[str, tuple[Any, Any, bool]] = {}
    for path, seen in plan["observed"].items():
        ours, theirs = run.settings[path].value, value(seen)
        if ours is NOT_APPLICABLE or isinstance(ours, External | Share | Symbol) or _open(ours):
            continue
        found[path] = (ours, theirs, vocabulary.difference(path, ours, theirs, {}) is None)
    total = run["duration.max_steps"]
    if isinstance(total, int):
        found["duration.max_steps"] = (total, plan["total"], total == plan["total"])
    expected = rates(run, plan["total"])
    if expected is not None:
        peak = max(expected, default=0.0) or 1.0
        same = all(abs(a - b) <= TOLERANCE * peak for a, b in zip(expected, plan["rates"], strict=True))
        for path in ("schedule.name", "schedule.warmup_steps"):
            found[path] = (run[path], "the learning rate of each step", same)
        if run["schedule.name"] == "cosine":
            for path in ("schedule.cycles", "schedule.min_ratio"):
                found[path] = (run[path], "the learning rate of each step", same)
    return found


def _open(ours: object) -> bool:
    return type(ours).__name__ == "Unresolved" or (isinstance(ours, str) and "×" in ours)


def rates(run: Run, total: int) -> list[float] | None:
    """The learning rate of each step as our reading of the schedule has it; None for a schedule not known here."""
    import math

    name, warm, peak = run["schedule.name"], run["schedule.warmup_steps"], run["optimizer.learning_rate"]
    if warm is NOT_APPLICABLE:
        warm = 0
    if isinstance(warm, Share):
        warm = warm.of(total)
        warm = 2 if warm == 1 else warm
    if not isinstance(warm, int) or not isinstance(peak, int | float):
        return None
    found = []
    for step in range(total):
        if step < warm:
            found.append(peak * step / max(1, warm))
            continue
        done = (step - warm) / max(1, total - warm)
        if name == "cosine":
            cycles, least = run["schedule.cycles"], run["schedule.min_ratio"]
            if not isinstance(cycles, int | float) or not isinstance(least, int | float):
                return None
            wave = max(0.0, 0.5 * (1 + math.cos(math.pi * cycles * 2 * done)))
            found.append(peak * (least + (1 - least) * wave))
        elif name == "linear":
            found.append(peak * max(0.0, 1 - done))
        elif name in ("constant", "none"):
            found.append(float(peak))
        else:
            return None
    return found
