"""Level `memory`: the peak of each device, traced in the framework's environment on tensors without values.

The probe traces training steps of the real config with few layers; what more layers need follows linearly, and what
several devices share is divided. No weights and no GPU are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from ftmigrate.frameworks.registry import Framework
from ftmigrate.run.compare import Comparison, losses
from ftmigrate.run.model import Run
from ftmigrate.verify import architectures, environments
from ftmigrate.verify.memory_devices import Division, NotDivided, division
from ftmigrate.verify.memory_words import METHOD, NOT_COVERED, PHASES, WORDS, gib, line
from ftmigrate.verify.probe import Probe, ProbeError
from ftmigrate.verify.results import Difference, Outcome, Result

SECONDS = 900.0
LAYERS = (2, 3, 4)
"""What is traced: the first and the last give the line, the middle one shows that it is one."""
STRAIGHT = 1e-3
TOLERANCE = 0.1
"""Two peaks that are less apart than this share of the larger one pass."""
SHARE = 0.01
"""A part of the split is told as a difference where it makes up more than this share of the larger peak."""
LONGEST, ASSUMED = 8192, 2048
ELSEWHERE = "paged"

# part of the split -> settings that decide its size, in the order in which they are named
_SIZE = ("batch.micro_size", "sequence.max_length", "sequence.packing")
_ADAPTER = ("adapter.method", "adapter.rank", "adapter.target_modules", "adapter.modules_to_save", "adapter.dtype")
_SPREAD = ("parallel.strategy", "parallel.world_size", "parallel.zero_stage", "parallel.cpu_offload")
CAUSES: Mapping[str, tuple[str, ...]] = {
    "weights": ("model.base", "model.quantization", "precision.weights", *_ADAPTER, *_SPREAD),
    "gradients": ("optimizer.in_backward", "model.trainable", "precision.weights", *_ADAPTER, *_SPREAD),
    "optimizer": ("optimizer.name", "model.trainable", "precision.weights", *_ADAPTER, *_SPREAD),
    "paged": ("optimizer.name", *_ADAPTER),
    "step": ("optimizer.name", "optimizer.fused", "optimizer.in_backward", "gradient.max_norm"),
    "logits": ("memory.chunked_loss", *_SIZE, "precision.autocast"),
    "activations": ("memory.activation_checkpointing", "memory.activation_offloading", *_SIZE, "model.attention",
                    "precision.autocast", "precision.weights", "model.quantization", "memory.chunked_loss",
                    "adapter.dropout", *_ADAPTER),
    "communication": (*_SPREAD, "parallel.reshard_after_forward"),
}  # fmt: skip


class NotTraced(Exception):
    """No figure can be given; the text says why and what would help."""


class Config(Struct, frozen=True):
    """One side: the tree as the probe gets it, and our reading of it. beside: the files that it names."""

    tree: Mapping[str, Any]
    run: Run
    framework: Framework
    version: str
    near: str = ""
    beside: Mapping[str, str] = {}


class Options(Struct, frozen=True):
    """row_length: tokens of a row that is not packed. all_layers: trace them all beside the extrapolation."""

    row_length: int | None = None
    all_layers: bool = False
    say: Callable[[str], None] = lambda _: None


class Estimate(Struct, frozen=True):
    """The peak of one device: bytes by part, in the phase where the sum is largest."""

    split: Mapping[str, float]
    phase: str
    phases: Mapping[str, Mapping[str, float]]
    layers: int
    traced: tuple[int, ...]
    whole: float | None
    rows: int
    length: int
    notes: tuple[str, ...]

    @property
    def total(self) -> float:
        return total(self.split)

    def json(self) -> dict[str, Any]:
        return {
            "bytes": round(self.total),
            "split": {part: round(size) for part, size in self.split.items()},
            "phase": self.phase,
            "phases": {name: round(total(split)) for name, split in self.phases.items()},
            "layers": self.layers,
            "traced_layers": list(self.traced),
            "all_layers_bytes": None if self.whole is None else round(self.whole),
            "rows": self.rows,
            "tokens": self.length,
            "notes": list(self.notes),
        }


def total(split: Mapping[str, float]) -> float:
    return sum(size for part, size in split.items() if part != ELSEWHERE)


# --- one side -----------------------------------------------------------------------------------------------------


def estimate(config: Config, probe: Probe, options: Options) -> Estimate:
    """The peak of one config. Raises NotTraced, ProbeError."""
    run = config.run
    try:
        divided = division(run)
    except NotDivided as error:
        raise NotTraced(str(error)) from error
    rows, length, notes = shape(run, options.row_length)
    wanted = [*LAYERS, *([None] if options.all_layers else [])]
    answer = _ask(config, probe, wanted, rows, length)
    traces = answer["traces"]
    few, whole = traces[: len(LAYERS)], traces[len(LAYERS) :]
    if not whole and not straight(few):
        notes.append("the peak does not grow in a straight line with the layers: all of them were traced")
        whole = _ask(config, probe, [None], rows, length)["traces"]
    count = int(few[0]["all"])
    phases = {name: extrapolated(few, name, count) for name in PHASES}
    measured = {name: dict(whole[0]["peaks"][name]) for name in PHASES} if whole else None
    used = phases if straight(few) or measured is None else measured
    return _divided(used, divided, few, count, Shape(rows, length, tuple(notes)), measured)


class Shape(Struct, frozen=True):
    rows: int
    length: int
    notes: tuple[str, ...]


def _divided(
    phases: Mapping[str, Mapping[str, float]], divided: Division, few: Sequence[Mapping[str, Any]], count: int,
    given: Shape, measured: Mapping[str, Mapping[str, float]] | None,
) -> Estimate:  # fmt: skip
    sizes = {key: linear([(trace["layers"], trace[key]) for trace in few], count)
             for key in ("weights", "trained_bytes", "trained", "states")}  # fmt: skip
    layer = (few[-1]["weights"] - few[0]["weights"]) / (few[-1]["layers"] - few[0]["layers"])
    each = {name: divided.apply(split, sizes, layer, count, few[0]) for name, split in phases.items()}
    phase = max(each, key=lambda name: total(each[name]))
    whole = None
    if measured is not None:
        whole = max(total(divided.apply(split, sizes, layer, count, few[0])) for split in measured.values())
    notes = (*given.notes, *divided.notes, *dict.fromkeys(note for trace in few for note in trace.get("notes", ())))
    traced = tuple(trace["layers"] for trace in few) + ((count,) if measured is not None else ())
    return Estimate(each[phase], phase, each, count, traced, whole, given.rows, given.length, notes)


def _ask(config: Config, probe: Probe, layers: Sequence[int | None], rows: int, length: int) -> dict[str, Any]:
    answer = probe.request(
        "memory",
        timeout=SECONDS,
        config=config.tree,
        recipe=config.run.recipe,
        architecture=architectures.find(str(config.run["model.base"]), config.near),
        layers=list(layers),
        rows=rows,
        length=length,
        packed=config.run["sequence.packing"] is True,
        beside=dict(config.beside),
    )
    if not answer["ok"]:
        raise NotTraced(f"{config.framework.title}: {answer['error']['message']}")
    return answer


def shape(run: Run, told: int | None) -> tuple[int, int, list[str]]:
    """Rows and tokens of a micro batch, and what had to be assumed."""
    rows, limit = run["batch.micro_size"], run["sequence.max_length"]
    if not isinstance(rows, int):
        raise NotTraced(f"the micro batch size is not known ({rows})")
    limit = limit if isinstance(limit, int) else None
    if run["sequence.packing"] is True:
        if limit is None:
            raise NotTraced("rows are packed, and how long a pack is, is not known")
        return rows, limit, []
    if told is not None:
        return rows, min(told, limit or told), []
    if limit is not None and limit <= LONGEST:
        return rows, limit, [f"each row is taken to be as long as the longest that is allowed ({limit} tokens); "
                             "--row-length N tells how long yours are"]  # fmt: skip
    return rows, ASSUMED, [f"rows are not packed and not limited to fewer than {limit or 'any number of'} tokens: "
                           f"taken to have {ASSUMED}; --row-length N tells how long yours are"]  # fmt: skip


def linear(points: Sequence[tuple[int, float]], at: int) -> float:
    """The line through the first and the last point."""
    (low, first), (high, last) = points[0], points[-1]
    return first + (last - first) / (high - low) * (at - low)


def extrapolated(traces: Sequence[Mapping[str, Any]], phase: str, count: int) -> dict[str, float]:
    parts = traces[0]["peaks"][phase]
    return {part: linear([(trace["layers"], trace["peaks"][phase][part]) for trace in traces], count) for part in parts}


def straight(traces: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the middle trace lies on the line through the others, in each phase."""
    for phase in PHASES:
        points = [(trace["layers"], total(trace["peaks"][phase])) for trace in traces]
        for layers, found in points[1:-1]:
            if abs(linear(points, layers) - found) > STRAIGHT * found:
                return False
    return True


# --- the level ----------------------------------------------------------------------------------------------------


def check(configs: Sequence[Config], options: Options, probes: Mapping[str, Probe] | None = None) -> Result:
    """The level for one config, or for a source and its target."""
    found: list[Estimate] = []
    try:
        for config in configs:
            with ExitStack() as stack:
                options.say(f"level memory: tracing {config.framework.title} {config.version}")
                found.append(estimate(config, _probe(config, probes or {}, stack), options))
    except (NotTraced, ProbeError, environments.EnvironmentProblem) as error:
        return Result("memory", Outcome.NOT_RUN, (str(error),))
    names = ("source", "target")[: len(configs)] if len(configs) > 1 else ("",)
    details = [detail for name, config, one in zip(names, configs, found, strict=True)
               for detail in _details(name, config, one)]  # fmt: skip
    details += [METHOD, NOT_COVERED]
    data = {name or "source": one.json() for name, one in zip(names, found, strict=True)}
    if len(found) == 1:
        return Result("memory", Outcome.PASSED, tuple(details), (), data)
    differences = compared(found[0], found[1], losses(configs[0].run, configs[1].run))
    apart = abs(found[0].total - found[1].total) / max(found[0].total, found[1].total)
    details.insert(0, f"the peaks are {100 * apart:.1f} % apart; up to {100 * TOLERANCE:.0f} % count as the same")
    if apart <= TOLERANCE:
        return Result("memory", Outcome.PASSED, tuple(details), (), data)
    return Result("memory", Outcome.DIFFERS, tuple(details), tuple(differences), data)


def _probe(config: Config, probes: Mapping[str, Probe], stack: ExitStack) -> Probe:
    name = config.framework.name
    if name in probes:
        return probes[name]
    environment = environments.find(name, config.version)
    if environment is None:
        hint = f"make one: ftmigrate env create {name}@{config.version}"
        raise NotTraced(f"no environment with {name} {config.version}; {hint}")
    return stack.enter_context(Probe(environment.python, name))


def _details(name: str, config: Config, one: Estimate) -> list[str]:
    head = f"{name}: " if name else ""
    title = f"{head}{config.framework.title} {config.version}"
    found = [f"{title}: {gib(one.total)} GiB on each device at its peak ({PHASES[one.phase]}), {one.rows} rows of "
             f"{one.length} tokens", f"{head}{line(one.split)}"]  # fmt: skip
    if one.whole is not None:
        found.append(f"{head}all {one.layers} layers traced: {gib(one.whole)} GiB")
    return found + [f"{head}{note}" for note in one.notes]


def compared(source: Estimate, target: Estimate, told: Sequence[Comparison]) -> list[Difference]:
    """Where the two differ in the phase of the larger peak, with a setting that explains it, largest first."""
    larger = max(source, target, key=lambda one: one.total)
    least = SHARE * larger.total
    first, second = source.phases[larger.phase], target.phases[larger.phase]
    apart = {part: second.get(part, 0.0) - first.get(part, 0.0) for part in WORDS}
    known = {one.path for one in told}
    found = []
    for part, size in sorted(apart.items(), key=lambda pair: -abs(pair[1])):
        if abs(size) <= least:
            continue
        cause = next((path for path in CAUSES[part] if path in known), None)
        text = (
            f"{WORDS[part]} {PHASES[larger.phase]}: {gib(first.get(part, 0.0))} GiB in the source, "
            f"{gib(second.get(part, 0.0))} GiB in the target"
        )
        if cause is None:
            text += "; no setting says so: the two programs compute the same in another way"
        found.append(Difference(cause, text, told=cause is not None))
    return found
