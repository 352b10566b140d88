"""Both sides run as configured on a device: losses of the tiny model; memory and speed of the real model's shape.

On a GPU this is `verify --device cuda`. The same code runs on the CPU, where only the device's name differs.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from ftmigrate.run.model import Run
from ftmigrate.verify import real_model, rows, tiny_model, trial
from ftmigrate.verify.probe import Probe
from ftmigrate.verify.results import Difference, Outcome, Result
from ftmigrate.verify.train_level import relative

TOLERANCE = 1e-2
"""Relative difference of losses that counts as equal in a precision of 16 bits."""
SECONDS = 1800.0
WARM = 2
"""Steps that are not counted in times: kernels are chosen and compiled in them."""
_MOST_ROWS = 4096
_SPREAD = 0.02


class Device(Struct, frozen=True):
    name: str = "cuda"
    steps: int = 20


def losses(sides: Sequence[trial.Side], place: trial.Workplace, device: Device, adapted: bool) -> Result:
    """Level train in the configured precision: rows in their order, without dropout, from the same weights."""
    start = place.folder / "start-configured.safetensors"
    found = []
    for side in sides:
        more = {"start" if start.exists() else "keep": str(start)} if adapted else {}
        found.append(_run(side, place, device, pinned=True, **more))
    return compare_losses(found[0], found[1], device)


def compare_losses(source: Mapping[str, Any], target: Mapping[str, Any], device: Device) -> Result:
    """The level's result from both sides' answers."""
    pairs = list(zip(source["losses"], target["losses"], strict=False))
    counts = [len(side["losses"]) for side in (source, target)]
    apart = [_apart(one, other) for one, other in pairs]
    beyond = next((index for index, one in enumerate(apart, 1) if one > TOLERANCE), None)
    details = [
        f"{len(pairs)} steps on {source['device']}, as configured; largest relative difference of the logged losses "
        f"{max(apart, default=0.0):.1e} (equal up to {TOLERANCE:.0e})"
    ]
    found = []
    if beyond is not None:
        one, other = pairs[beyond - 1]
        text = f"loss at step {beyond}: {_loss(one)} in the source, {_loss(other)} in the target"
        found.append(Difference(None, text))
    if counts[0] != counts[1]:
        found.append(Difference(None, f"{counts[0]} steps in the source, {counts[1]} in the target"))
    if not pairs:
        return Result("train", Outcome.NOT_RUN, ("no loss was logged",))
    data = {
        name: [{"loss": loss, "norm": None} for loss in side["losses"]]
        for name, side in (("source", source), ("target", target))
    }
    outcome = Outcome.DIFFERS if found else Outcome.PASSED
    return Result("train", outcome, tuple(details), tuple(found), {**data, "device": source["device"]})


def _apart(one: float | None, other: float | None) -> float:
    """The relative difference; what is no number on one side only is as far apart as can be."""
    if one is None or other is None:
        return 0.0 if one is other else 1.0
    return relative(one, other)


def _loss(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.5f}"


def speed(sides: Sequence[trial.Side], folder: Path, device: Device, real: real_model.Real) -> Result:
    """Memory and speed of each side, on the real shape with random weights and rows of the greatest length."""
    runs = [side.run for side in sides]
    data = long_rows(runs, device.steps)
    place = real_model.workplace(folder, real, data)
    _weights(sides[0], place, real, device)
    found = [measured(_run(side, place, device, pinned=False)) for side in sides]
    return report(found, real)


def report(found: Sequence[Mapping[str, Any]], real: real_model.Real) -> Result:
    names = ("source", "target")
    details = [f"{name}: {_line(one)}" for name, one in zip(names, found, strict=True)]
    details.append(f"the real shape ({real.origin}), random weights, rows as long as the config allows")
    if any(one["device"] == "cpu" for one in found):
        details.append("on a CPU: memory is that of the whole process, and neither figure says anything of a GPU")
    whole = all(one["step_seconds"] is not None for one in found)
    if not whole:
        details.append(f"fewer than {WARM + 2} steps: no time of a step")
    data = dict(zip(names, found, strict=True))
    return Result("speed", Outcome.PASSED if whole else Outcome.NOT_RUN, tuple(details), (), data)


def measured(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one side: peak memory in bytes, the median time of a step, tokens in a second."""
    seconds, tokens = answer["seconds"][WARM:], answer["tokens"]
    step = statistics.median(seconds) if seconds else None
    # the time between two steps' hooks holds the passes of the second one
    seen = tokens[WARM + 1 : WARM + 1 + len(seconds)]
    rate = sum(seen) / sum(seconds) if seen and sum(seen) else None
    return {
        "device": answer["device"],
        "memory": answer["memory"],
        "step_seconds": step,
        "tokens_per_second": rate,
        "tokens_per_step": statistics.median(seen) if seen else None,
        "losses": answer["losses"],
    }


def _line(one: Mapping[str, Any]) -> str:
    memory = "not known" if one["memory"] is None else f"{one['memory'] / 2**30:.2f} GiB"
    rate = "not counted" if one["tokens_per_second"] is None else f"{one['tokens_per_second']:,.0f}"
    step = "not known" if one["step_seconds"] is None else f"{one['step_seconds']:.3f} s"
    return f"peak memory {memory}, {rate} tokens a second, {step} a step ({one['device']})"


def long_rows(runs: Sequence[Run], steps: int) -> list[list[dict[str, Any]]]:
    """Rows for so many steps, whose text is repeated until it is as long as the longest sequence."""
    limits = [run["sequence.max_length"] for run in runs]
    length = max((one for one in limits if isinstance(one, int)), default=0)
    per_step = max(_number(run["batch.micro_size"]) * _number(run["batch.accumulation"]) for run in runs)
    found = rows.sources(runs, min(per_step * (steps + 1), _MOST_ROWS))
    return [[lengthened(row, length) for row in source] for source in found]


def _number(value: object) -> int:
    return value if isinstance(value, int) else 1


def lengthened(row: Mapping[str, Any], length: int) -> dict[str, Any]:
    """The row with its longest text repeated until that has `length` letters."""
    longest = max((len(text) for text in _texts(row)), default=0)
    times = max(-(-length // (longest + 1)), 1)

    def grown(node: Any) -> Any:
        if isinstance(node, str):
            return " ".join([node] * times) if longest and len(node) == longest else node
        if isinstance(node, Mapping):
            return {key: grown(value) for key, value in node.items()}
        return [grown(value) for value in node] if isinstance(node, list) else node

    return {key: grown(value) for key, value in row.items()}


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)


def _weights(side: trial.Side, place: trial.Workplace, real: real_model.Real, device: Device) -> None:
    """A checkpoint of the real shape, that both sides load."""
    path = place.folder / "model" / "model.safetensors"
    if real.sizes is None:
        raise trial.TrialFailed(
            f"no weights can be made for {real.origin}: they are made for {', '.join(tiny_model.FAMILIES)}"
        )
    tensors = list(tiny_model.tensors(real.family, real.sizes, _SPREAD))
    with _fresh(side, device) as probe:
        answer = probe.request("weights", timeout=SECONDS, dtype="bfloat16", device=device.name, path=str(path),
                               tensors=tensors)  # fmt: skip
    if not answer["ok"]:
        raise trial.TrialFailed(f"the weights cannot be made: {answer['error']['message']}")


def _run(side: trial.Side, place: trial.Workplace, device: Device, *, pinned: bool, **more: Any) -> dict[str, Any]:
    """One side's run, in a process of its own. Raises TrialFailed, ProbeError."""
    more |= {"device": device.name, "steps": device.steps, "pinned": pinned}
    with _fresh(side, device) as probe:
        return side.ask("measure", place, "configured" if pinned else "measured", SECONDS, probe, **more)


@contextlib.contextmanager
def _fresh(side: trial.Side, device: Device) -> Iterator[Probe]:
    """A process of its own for each run: its peak is that run's, and a GPU cannot be shared by forking."""
    with Probe(side.probe.python, side.probe.framework, device=device.name) as probe:
        yield probe
