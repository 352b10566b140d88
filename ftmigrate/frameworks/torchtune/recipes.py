"""Which recipe a config is for: told, named in its comments, or inferred from its keys. The config itself never says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from ftmigrate import schema
from ftmigrate.document.model import Document
from ftmigrate.schema import Facts

PREFIX = "recipe "
_OPTION = r"(?:--?[\w-]+(?:[= ](?!\S*finetune)(?:<[^>]*>|[\w./:-])+)?\s+)*"
_RUN = re.compile(rf"tune run\s+{_OPTION}([\w/]+)(?:\.py)?\s")
_FILE = re.compile(r"\b((?:dev/)?[a-z_0-9]+)\.py\b")
_PROCESSES = re.compile(r"tune run\b.*--nproc[-_]per[-_]node[= ]+(\d+)")
_NODES = re.compile(r"tune run\b.*--nnodes[= ]+(\d+)")

# recipe name -> training method; what stands here and is no "sft" is another objective or no training
METHODS: Mapping[str, str] = {
    "full_finetune_single_device": "sft",
    "full_finetune_distributed": "sft",
    "lora_finetune_single_device": "sft",
    "lora_finetune_distributed": "sft",
    "lora_dpo_single_device": "dpo",
    "lora_dpo_distributed": "dpo",
    "full_dpo_distributed": "dpo",
    "ppo_full_finetune_single_device": "ppo",
    "qat_distributed": "qat",
    "qat_single_device": "qat",
    "qat_lora_finetune_distributed": "qat",
    "knowledge_distillation_single_device": "distillation",
    "knowledge_distillation_distributed": "distillation",
    "dev/grpo_full_finetune_distributed": "grpo",
    "dev/async_grpo_full_finetune_distributed": "grpo",
    "dev/early_exit_finetune_distributed": "early exit training",
    "dev/lora_finetune_distributed_multi_dataset": "sft with weighted streaming sources",
    "generate": "generation (no training)",
    "dev/generate_v2": "generation (no training)",
    "dev/generate_v2_distributed": "generation (no training)",
    "eleuther_eval": "evaluation (no training)",
    "quantize": "quantisation (no training)",
}


@cache
def recipes(version: str) -> Mapping[str, Mapping[str, Facts]]:
    """The recipes of a version with the keys each reads."""
    pinned = schema.load("torchtune", version)
    return {name.removeprefix(PREFIX): pinned.keys(name) for name in pinned.names(PREFIX)}


LACKS: Mapping[str, str] = {
    "kto": "torchtune has no KTO, and no dataset of single replies with a label. Nearest: lora_dpo_single_device or "
    "full_dpo_distributed with preference_dataset, which learn from pairs; of rows that share a prompt a good and a bad "
    "reply make a pair",
    "orpo": "torchtune has no ORPO: no loss that adds an odds ratio to the likelihood of the chosen text. Nearest: "
    "lora_dpo_single_device over the same pairs (preference_dataset), with a reference model, after supervised "
    "fine-tuning on the chosen texts",
    "reward": "torchtune trains no reward models: the PPO recipe only loads one. Nearest: lora_dpo_single_device, which "
    "learns from the same pairs without any",
    "process reward": "torchtune trains no reward models and has no dataset of steps with labels. Nothing comes near; "
    "supervised fine-tuning on the steps that are right is another thing",
    "gdpo": "torchtune's GRPO (dev/grpo_full_finetune_distributed, in the main branch) normalises the sum of the rewards, "
    "not each by itself, and its rewards are written into the recipe: they are to be ported by hand",
    "ebft": "torchtune has no training on features of sampled replies. Nearest: GRPO in the main branch "
    "(dev/grpo_full_finetune_distributed), with rewards of your own",
}
"""Methods that no recipe has, with the reason and the nearest thing."""


WITHOUT_DORA = "lora_dpo_single_device"
DORA_UNPREPARED = (
    f"the recipe {WITHOUT_DORA} never computes the magnitudes of DoRA from the weights, as others do "
    "(initialize_dora_magnitude): they are what happens to lie in memory, mostly zeros"
)


def method(recipe: str | None) -> str:
    return METHODS.get(recipe or "", f"the recipe {recipe}")


def distributed(recipe: str | None, version: str) -> bool:
    return bool(recipes(version).get(recipe or "", {}).get("", {}).get("distributed"))


def launched(document: Document) -> tuple[int | None, int | None]:
    """Processes and nodes that the launch command (else the one in the header) starts; None where it does not tell."""
    if document.launch is not None:
        return document.launch.processes, document.launch.nodes
    text = "\n".join(document.header)
    processes, nodes = _PROCESSES.search(text), _NODES.search(text)
    count = int(nodes[1]) if nodes else 1
    return (int(processes[1]) * count if processes else None), count


def recognise(document: Document, told: str | None, version: str) -> tuple[str | None, str]:
    """The recipe's name and how it is known. A told path to a recipe file counts by its file name."""
    known = recipes(version)
    if told is not None:
        name = told.removesuffix(".py").removeprefix("recipes/")
        return name, "told by --recipe" if name in known else f"told by --recipe; {name} is no recipe of this version"
    if document.launch is not None and document.launch.recipe is not None:
        return _started(document.launch.recipe, known, version)
    text = "\n".join(document.header)
    for pattern, how in ((_RUN, "named by `tune run` in the file's comments"), (_FILE, "named in the file's comments")):
        named = [name if name in known else f"dev/{name}" for name in pattern.findall(text + "\n")]
        named = [name for name in dict.fromkeys(named) if name in known]
        if named:
            # comments may name a recipe for an earlier step as well, so the keys choose among those named
            several = len(named) > 1
            return min(named, key=lambda name: _misfit(document, known[name])) if several else named[0], how
    other = next((name for name in _RUN.findall(text + "\n") if name in METHODS), None)
    if other is not None:
        return other, f"named by `tune run` in the file's comments; it is no recipe of torchtune {version}"
    return _infer(document, known)


def _started(told: str, known: Mapping[str, object], version: str) -> tuple[str, str]:
    """The recipe that a launch command starts. A file counts as the recipe of the same name, and that is said."""
    how = "named by the launch command"
    if told in known:
        return told, how
    stem = told.removesuffix(".py").split("/")[-1]
    for name in (stem, f"dev/{stem}"):
        if name in known and ("/" in told or told.endswith(".py")):
            return name, f"{how} as the file {told}, which is taken for torchtune's own recipe of that name"
    return told, f"{how}; {told} is no recipe of torchtune {version}: name the one that it was made from with --recipe"


def _misfit(document: Document, facts: Mapping[str, Facts]) -> int:
    """How badly a recipe fits: required keys that are missing, keys it would not read, the wrong kind of model."""
    keys = set(document.tree)
    read = {key for key in facts if key and "." not in key}
    required = {key for key in read if facts[key].get("required")}
    model = document.tree.get("model")
    adapted = isinstance(model, dict) and "lora" in str(model.get("_component_"))
    return 3 * len(required - keys) + len(keys - read) + 5 * (("model.lora_rank" in facts) != adapted)


def _infer(document: Document, known: Mapping[str, Mapping[str, Facts]]) -> tuple[str | None, str]:
    """The recipe that misses the fewest required keys and leaves the fewest keys unread."""
    if not document.tree:
        return None, "no recipe fits"
    scores = [
        (_misfit(document, facts), bool(facts.get("", {}).get("distributed")), name) for name, facts in known.items()
    ]
    scores.sort()
    best = scores[0]
    others = [name for score, _, name in scores[1:] if score == best[0]]
    also = f"; {' and '.join(others)} would fit as well (say --recipe)" if others else ""
    return best[2], "inferred from the keys" + also
