"""What each of several devices holds: what a trace of one device counted, divided among those that share it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ftmigrate.run.model import Run

STATES = ("optimizer", "step", "paged")
# strategy, or DeepSpeed's stage -> the parts that are divided
SHARED: Mapping[str | int, tuple[str, ...]] = {
    "single": (),
    "ddp": (),
    "fsdp1": ("weights", "gradients", *STATES),
    "fsdp2": ("weights", "gradients", *STATES),
    0: (),
    1: STATES,
    2: ("gradients", *STATES),
    3: ("weights", "gradients", *STATES),
}
# what cpu_offload says -> the parts that wait in the host's memory
OFFLOADED: Mapping[object, tuple[str, ...]] = {
    True: ("weights", "gradients", *STATES),
    "weights": ("weights",),
    "optimizer state": STATES,
}
GATHERED = 2
"""Layers whose weights are whole at a time: the one that computes, and the next, fetched early."""
FULL = 4
"""Bytes of a number in fp32."""


class NotDivided(Exception):
    """How the parts are spread over the devices is not known; the text says what is missing."""


class Division(Struct, frozen=True):
    """strategy and stage: how parts are shared; devices: among how many."""

    strategy: str
    devices: int
    shared: tuple[str, ...]
    offloaded: tuple[str, ...]
    resharded: bool
    notes: tuple[str, ...]

    def apply(
        self,
        split: Mapping[str, float],
        sizes: Mapping[str, float],
        layer: float,
        layers: int,
        trace: Mapping[str, Any],
    ) -> dict[str, float]:
        """The parts of one device. sizes: of all weights, the trained ones and the states; layer: one layer's weights."""
        found = dict(split)
        added = 0.0
        if self.devices > 1 and self.strategy == "ddp":
            added = sizes["trained_bytes"]
        if self.devices > 1 and "weights" in self.shared:
            share = sizes["trained_bytes"] / sizes["weights"] if sizes["weights"] else 0.0
            outside = sizes["weights"] - layer * layers
            whole = outside + layer * (GATHERED if self.resharded else layers)
            added = (whole + layer * share) * (1 - 1 / self.devices)
        raised = self._raised(sizes, trace)
        for part in found:
            if part in raised:
                found[part] = found[part] * raised[part][0] + raised[part][1]
            if part in self.shared:
                found[part] /= self.devices
        for part in self.offloaded:
            if part in found:
                found[part] = 0.0
        return {**found, "communication": added} if added else found

    def _raised(self, sizes: Mapping[str, float], trace: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        """Factor and addend of the parts that are kept in fp32 besides, or instead, once they are spread."""
        trained = sizes["trained"]
        if not trained or sizes["trained_bytes"] >= FULL * trained:
            return {}
        factor = FULL * trained / sizes["trained_bytes"]
        like = abs(sizes["states"] - 2 * sizes["trained_bytes"]) < 0.01 * sizes["trained_bytes"]
        states = (factor if like else 1.0, 0.0)
        if self.strategy == "deepspeed":
            return {"optimizer": (states[0], FULL * trained)}
        if trace.get("upcast") and self.strategy in ("fsdp1", "fsdp2"):
            more = (factor - 1) * sizes["trained_bytes"]
            return {"weights": (1.0, more), "gradients": (factor, 0.0), "optimizer": states}
        return {}


def division(run: Run) -> Division:
    """Raises NotDivided."""
    strategy, devices = str(run["parallel.strategy"]), run["parallel.world_size"]
    for path in ("parallel.tensor", "parallel.context"):
        size = run[path]
        if isinstance(size, int) and size > 1:
            raise NotDivided(f"{path} {size}: how activations are spread is not reckoned")
    if strategy == "single":
        return Division("single", 1, (), (), True, ())
    if not isinstance(devices, int):
        raise NotDivided("the number of devices is not known: tell it with --world-size N")
    stage = run["parallel.zero_stage"]
    kind: object = stage if strategy == "deepspeed" else strategy
    if not isinstance(kind, int | str) or kind not in SHARED:
        raise NotDivided(f"how {strategy} spreads memory is not known here")
    shared = SHARED[kind]
    replicas = run["parallel.replicate"]
    among = devices // replicas if isinstance(replicas, int) and replicas > 1 else devices
    offloaded = OFFLOADED.get(run["parallel.cpu_offload"], ()) if shared else ()
    name = f"DeepSpeed stage {stage}" if strategy == "deepspeed" else strategy.upper()
    notes = [_told(name, among, shared)]
    if offloaded:
        notes.append("offloaded to the host's memory, and not counted: " + ", ".join(_parts(offloaded)))
    return Division(
        strategy, among, shared, offloaded, run["parallel.reshard_after_forward"] is not False, tuple(notes)
    )


def _told(name: str, among: int, shared: tuple[str, ...]) -> str:
    if not shared:
        extra = ", with buffers as large as the gradients" if name == "DDP" else ""
        return f"{name} on {among} devices: each holds everything{extra}"
    gathered = ""
    if "weights" in shared:
        gathered = (
            f"; besides {GATHERED} layers and what is outside of layers are counted whole, with one layer's gradients"
        )
    return f"{name} on {among} devices: {', '.join(_parts(shared))} divided by {among}{gathered}"


def _parts(parts: tuple[str, ...]) -> list[str]:
    names = {"optimizer": "optimizer states"}
    return [names.get(part, part) for part in parts if part not in ("step", "paged")]
