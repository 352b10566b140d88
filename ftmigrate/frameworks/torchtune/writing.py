"""The recipe and the comment lines of a config that is written for a run of another framework."""

from __future__ import annotations

from collections.abc import Mapping

from ftmigrate.frameworks.table import CannotSay
from ftmigrate.frameworks.torchtune import models, recipes
from ftmigrate.run.model import Run, Symbol

WRITTEN = ("sft", "dpo", "qat")

NEAREST: Mapping[str, str] = {
    "pretrain": "torchtune has no recipe that streams plain text until a number of steps is reached. Nearest: "
    "supervised training on torchtune.datasets.text_completion_dataset, which is held in memory and counted in epochs",
    "ipo": "torchtune 0.6.1 has no IPO loss any more (0.2 to 0.4 had one). Nearest: direct preference "
    "optimisation with the sigmoid loss",
    "simpo": "torchtune 0.6.1 has no SimPO loss any more (0.2 to 0.4 had one) and no recipe without a reference model. "
    "Nearest: direct preference optimisation",
    "grpo": "torchtune 0.6.1 has a GRPO recipe for development only (dev/grpo_full_finetune_distributed), which ships no "
    "config, with rewards written into its code. Nearest: port the reward functions into a copy of that recipe by hand",
    "ppo": "only torchtune's own PPO recipe trains a value model beside the policy, and no other framework's settings "
    "say one",
    "distillation": "torchtune distils from a teacher model in the same process over the whole vocabulary "
    "(knowledge_distillation_single_device, knowledge_distillation_distributed), not from a few stored or served "
    "probabilities: name the teacher's weights in such a config by hand",
}
"""Of methods that are not written though some release of torchtune has them: the reason and the nearest thing."""


def header(run: Run, version: str) -> tuple[str, ...]:
    """The download and the launch command. Raises CannotSay where no recipe trains so."""
    base, near = run["model.base"], run.name
    lines = [launch(recipe(run, version), run["parallel.world_size"], run["launch.nodes"], "CONFIG", version)]
    if isinstance(base, str) and models.is_hub_id(base, near):
        lines.insert(0, download(base, near))
    return tuple(lines)


def recipe(run: Run, version: str) -> str:
    """The recipe of the run's method whose other ways fit best: with or without adapters, on one device or several."""
    method, world = run["method.name"], run["parallel.world_size"]
    if method not in WRITTEN:
        raise CannotSay(NEAREST.get(str(method), f"torchtune has no recipe for it that ftmigrate writes; what it writes: "
                                                 f"{', '.join(WRITTEN)}"))  # fmt: skip
    if not run.sources:
        raise CannotSay("the source names no rows that torchtune could be told to train on")
    if method == "qat" and run["qat.weight_dtype"] != "int4":
        raise CannotSay(f"torchtune rounds weights to int4 in training, not to {run['qat.weight_dtype']}")
    adapted = run["adapter.method"] != "none"
    if run["adapter.method"] not in ("none", "lora"):
        raise CannotSay(f"torchtune has no adapters of the kind {run['adapter.method']}. Nearest: lora")
    several = run["parallel.strategy"] in ("fsdp2", "ddp", "deepspeed") or (isinstance(world, int) and world > 1)
    fitting = [
        name
        for name, facts in recipes.recipes(version).items()
        if recipes.METHODS.get(name) == method and ("model.lora_rank" in facts) == adapted
    ]
    fitting.sort(key=lambda name: recipes.distributed(name, version) != several)
    if not fitting:
        kind = "with adapters" if adapted else "of all weights"
        raise CannotSay(f"torchtune {version} has no recipe for {method} {kind}")
    return fitting[0]


def download(base: str, near: str) -> str:
    return f"tune download {base} --output-dir {models.directory(base, near)} --ignore-patterns original/consolidated*"


def launch(recipe_: str | None, world: object, nodes: object, path: str, version: str) -> str:
    """The launch command; a number that is not known stands there as its symbol."""
    spread = ""
    if recipes.distributed(recipe_, version):
        count = f"<number of GPUs: {world}>" if isinstance(world, Symbol) else world
        spread = f"--nproc_per_node {count} "
    if spread and isinstance(nodes, int) and nodes > 1:
        each = world // nodes if isinstance(world, int) else f"<{world} / {nodes}>"
        meeting = "--rdzv_id 101 --rdzv_backend c10d --rdzv_endpoint <first machine>:29500"
        spread = f"--nnodes {nodes} --nproc_per_node {each} {meeting} "
    return f"tune run {spread}{recipe_} --config {path}"


def likeness(base: str, near: str) -> str:
    """A remark on a model whose layers are known by its name only."""
    like = models.identify(base, near).like
    return (
        f" (by its name it is taken for a copy of {like}; its config.json and file names must be the same)"
        if like
        else ""
    )
