"""What level `memory` says: names of the parts, and what its figures are worth."""

from __future__ import annotations

from collections.abc import Mapping

GIB = 2**30
WORDS: Mapping[str, str] = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer states",
    "step": "the optimizer's step",
    "logits": "logits and loss",
    "activations": "other activations",
    "communication": "gathered weights and buffers",
    "paged": "paged optimizer states",
}
PHASES: Mapping[str, str] = {
    "forward": "in the forward pass",
    "backward": "in the backward pass",
    "optimizer": "in the optimizer's step",
}
METHOD = (
    "method: training steps traced on tensors without values (2, 3 and 4 layers, extrapolated); against real tensors of small "
    "models the same figure, against a GPU not measured: expect 10 % either way"
)
NOT_COVERED = (
    "not covered: the CUDA context (0.3 to 0.5 GiB), the allocator's rounding and fragmentation, workspaces of kernels, "
    "buffers for communication beyond those named, evaluation and saving; kernels are traced as plain operations"
)


def gib(size: float) -> str:
    return f"{size / GIB:.2f}"


def line(split: Mapping[str, float]) -> str:
    """The split in one line; what waits in the host's memory apart."""
    parts = [f"{WORDS[part]} {gib(size)}" for part, size in split.items() if part != "paged" and size >= GIB / 200]
    text = "of it " + ", ".join(parts)
    paged = split.get("paged", 0.0)
    return text + (
        f"; besides {gib(paged)} in paged optimizer states, which the host's memory may hold" if paged else ""
    )
