"""What is known of hub models by their names: positions they were trained with, the names of their layers."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head", "embed_tokens")
_FUSED = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head", "embed_tokens")
# layers of architectures whose names differ; with the two above all that is looked for where the model is not known
_OTHERS = (
    "query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "c_attn", "c_proj", "c_fc", "wte", "lm_head", "Wqkv",
    "out_proj", "fc1", "fc2", "in_proj", "x_proj", "dt_proj", "wqkv", "wo", "w1", "w2", "w3", "embed_out", "embed_in",
    "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "gate", "score", "output_proj", "router", "in_proj_qkv",
    "in_proj_z", "in_proj_a", "in_proj_b", "in_proj_ba", "in_proj_qkvz", "shared_head", "linear", "linear_1", "linear_2",
)  # fmt: skip


class Model(NamedTuple):
    """A family by the pattern of its hub names. positions: trained with so many, None where it varies."""

    pattern: str
    positions: int | None
    modules: tuple[str, ...] = _LLAMA


_MODELS: tuple[Model, ...] = (
    Model(r"llama-?2-\d+b|llama-2-\d+b|codellama.*python", 4096),
    Model(r"meta-llama-3-\d+b|llama-3-\d+b", 8192),
    Model(r"llama-3\.[123]-\d+b", 131072),
    Model(r"tinyllama", 2048),
    Model(r"smollm2-\d+", 8192),
    Model(r"mistral-7b-(?:instruct-)?v0\.[123]|mixtral-8x7b", 32768),
    Model(r"qwen1\.5-|qwen2-(?:0\.5b|1\.5b)|qwen2\.5-(?:0\.5b|1\.5b|3b|7b|14b|32b|72b)", 131072),
    Model(r"qwen3-(?:0\.6b|1\.7b|4b|8b|14b|32b)", 40960),
    Model(r"gemma-2?-?\d*b|gemma-2-\d+b", 8192),
    Model(r"phi-3-mini-4k|phi-3-medium-4k", 4096, _FUSED),
    Model(r"phi-3(?:\.5)?-mini-128k|phi-3\.5-mini", 131072, _FUSED),
    Model(r"pythia-", 2048, ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "embed_in", "embed_out")),
    Model(r"falcon-(?:7b|40b)", 2048, ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "lm_head")),
)
_BEGIN = re.compile(r"[a-z]+")


@cache
def find(model: str) -> Model | None:
    """The family of a hub model; None where its name does not tell."""
    name = model.rstrip("/").rpartition("/")[2].lower()
    for one in _MODELS:
        known = [found[0] for part in one.pattern.split("|") if (found := _BEGIN.match(part))]
        if any(begin in name for begin in known) and re.match(rf"[\w.]*?-?(?:{one.pattern})", name):
            return one
    return None


def positions(model: str) -> int | None:
    found = find(model)
    return found.positions if found is not None else None


def certain(model: str) -> bool:
    """Whether the model's own layers are known."""
    return find(model) is not None


def modules(model: str) -> frozenset[str]:
    """The names of a model's linear layers; where it is not known, those of all architectures."""
    found = find(model)
    return frozenset(found.modules) if found is not None else frozenset((*_LLAMA, *_FUSED, *_OTHERS))
