"""The methods of training (and what is no training), by name: tables speak of them by these names only."""

from __future__ import annotations

from collections.abc import Mapping

METHODS: Mapping[str, str] = {
    "sft": "supervised fine-tuning",
    "pretrain": "training on plain text from a stream",
    "dpo": "direct preference optimisation on pairs of a chosen and a rejected reply",
    "ipo": "identity preference optimisation on such pairs",
    "kto": "preference optimisation on single replies marked as good or bad",
    "orpo": "supervised fine-tuning with an odds-ratio term on such pairs",
    "simpo": "preference optimisation on such pairs without a reference model",
    "reward": "a model that scores texts learns from such pairs",
    "process reward": "a model that judges single steps of an answer learns from their labels",
    "qat": "fine-tuning with weights rounded as they will be when quantised",
    "distillation": "learning the token probabilities of a teacher model",
    "ppo": "reinforcement learning from a reward model with a value model",
    "grpo": "reinforcement learning from rewards of groups of sampled replies",
    "gdpo": "as grpo, with each reward normalised by itself",
    "ebft": "reinforcement learning from how near the features of sampled replies are to those of the data's",
    "early exit training": "layers are skipped at random, and early layers' outputs are trained as well",
    "sft with weighted streaming sources": "supervised fine-tuning on streams that are mixed by weight",
    "generation (no training)": "text is generated",
    "evaluation (no training)": "a model is evaluated on benchmarks",
    "quantisation (no training)": "a model's weights are quantised",
}
"""A framework may have further methods of its own; these are the ones that more than one table names."""

SUPERVISED = ("sft", "pretrain", "qat")
PREFERENCE = ("dpo", "ipo", "simpo")
"""Methods that learn from pairs of a chosen and a rejected reply, and from nothing else."""
PAIRED = (*PREFERENCE, "orpo", "reward")
"""Methods whose rows hold a chosen and a rejected text."""
REFERRED = ("dpo", "ipo", "kto")
"""Methods that compare with a frozen reference model in every step."""
POLICY = ("grpo", "gdpo")
"""Methods that learn from groups of sampled replies."""
WEIGHTED = (*PREFERENCE, "orpo", "kto", *POLICY)
"""Methods whose loss has a strength."""
