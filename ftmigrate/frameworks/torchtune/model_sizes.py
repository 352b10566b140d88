"""The sizes of the model that a config's builder makes: what the builder fixes, and what the config tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftmigrate import schema
from ftmigrate.document.model import Document, Value

_SIZES = {"num_layers": "layers", "num_heads": "heads", "num_kv_heads": "kv_heads", "embed_dim": "width",
          "intermediate_dim": "inner", "vocab_size": "vocabulary", "tie_word_embeddings": "tied"}  # fmt: skip


def sizes(document: Document, version: str) -> Mapping[str, Value] | None:
    """By the plain names of tiny_model.sizes; None where the builder is not torchtune's, or builds no such model."""
    section = document.tree.get("model")
    if not isinstance(section, Mapping):
        return None
    facts = schema.load("torchtune", version).keys(f"component {section.get('_component_')}")
    architecture: Mapping[str, Any] = facts.get("", {}).get("architecture", {})
    told = {key: value for key, value in section.items() if isinstance(value, bool | int)}
    numbers = {**architecture, **{key: value for key, value in told.items() if key in _SIZES or key == "head_dim"}}
    if not architecture or any(key not in numbers for key in _SIZES):
        return None
    found: dict[str, Value] = {own: numbers[key] for key, own in _SIZES.items()}
    found["head_width"] = numbers.get("head_dim") or numbers["embed_dim"] // numbers["num_heads"]
    found["family"] = architecture["family"]
    return found
