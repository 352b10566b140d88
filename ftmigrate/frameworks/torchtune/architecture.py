"""The config.json of a model that torchtune builds: the sizes of its builder in transformers' words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftmigrate import schema
from ftmigrate.frameworks.table import CannotSay
from ftmigrate.frameworks.torchtune import models


def architecture(base: str, near: str) -> Mapping[str, Any] | None:
    """What is known of a base model by its name; None where no builder is known for it."""
    from ftmigrate.verify.tiny_model import FAMILIES

    try:
        known = models.identify(base, near)
    except CannotSay:
        return None
    package = known.builder.partition(".")[0]
    pinned = schema.load("torchtune", models.VERSION)
    facts = pinned.keys(f"component {models.MODELS}{known.builder}").get("", {}).get("architecture", {})
    sizes = {**facts, **known.sizes}
    if package not in FAMILIES or "num_layers" not in sizes:
        return None
    family = FAMILIES[package]
    found: dict[str, Any] = {name: sizes[own] for name, own in models.SIZES.items() if sizes.get(own) is not None}
    found.setdefault("num_key_value_heads", found["num_attention_heads"])
    found.setdefault("head_dim", found["hidden_size"] // found["num_attention_heads"])
    return {
        **family.config,
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "tie_word_embeddings": family.tied,
        **found,
        "dtype": "bfloat16",
    }
