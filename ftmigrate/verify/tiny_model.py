"""A tiny checkpoint of a family's architecture: config.json, weights drawn from a fixed seed, and tokenizer files.

Standard library only, so that both sides of a comparison get the same bytes whatever is installed.
"""

from __future__ import annotations

import json
import math
import random
import re
import struct
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from ftmigrate.verify import tiny_tokenizer

SEED = 1
SPREAD = 0.06
"""Standard deviation of the weights: wide, so that a wrong setting tells within a few steps."""


class Family(Struct, frozen=True):
    """What of an architecture is not a size. `config` are further keys of its config.json."""

    architecture: str
    model_type: str
    tokenizer: str
    rope: float
    epsilon: float
    tied: bool = False
    kv_heads: int = 2
    biases: bool = False
    fused: bool = False
    around_one: bool = True
    head_norms: bool = False
    extra_norms: bool = False
    head_width: int = 16
    config: Mapping[str, Any] = field(default_factory=dict)


def _scaled(factor: float) -> Mapping[str, Any]:
    scaling = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192}  # fmt: skip
    return {"rope_scaling": scaling}


_GEMMA = {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}
_GEMMA2 = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 16,
           "sliding_window": 4096}  # fmt: skip

FAMILIES: Mapping[str, Family] = {
    "llama2": Family("LlamaForCausalLM", "llama", "llama2", 10000.0, 1e-5),
    "code_llama2": Family("LlamaForCausalLM", "llama", "llama2", 1000000.0, 1e-5),
    "llama3": Family("LlamaForCausalLM", "llama", "llama3", 500000.0, 1e-5),
    "llama3_1": Family("LlamaForCausalLM", "llama", "llama3", 500000.0, 1e-5, config=_scaled(8.0)),
    "llama3_2": Family("LlamaForCausalLM", "llama", "llama3", 500000.0, 1e-5, tied=True, config=_scaled(32.0)),
    "llama3_3": Family("LlamaForCausalLM", "llama", "llama3", 500000.0, 1e-5, config=_scaled(8.0)),
    "mistral": Family("MistralForCausalLM", "mistral", "llama2", 10000.0, 1e-5, config={"sliding_window": None}),
    "qwen2": Family("Qwen2ForCausalLM", "qwen2", "qwen2", 1000000.0, 1e-6, biases=True),
    "qwen2_5": Family("Qwen2ForCausalLM", "qwen2", "qwen2", 1000000.0, 1e-6, biases=True),
    "qwen3": Family("Qwen3ForCausalLM", "qwen3", "qwen2", 1000000.0, 1e-6, head_norms=True),
    "gemma": Family("GemmaForCausalLM", "gemma", "gemma", 10000.0, 1e-6, tied=True, around_one=False, config=_GEMMA),
    "gemma2": Family("Gemma2ForCausalLM", "gemma2", "gemma", 10000.0, 1e-6, tied=True, around_one=False,
                     extra_norms=True, config={**_GEMMA, **_GEMMA2}),
    "phi3": Family("Phi3ForCausalLM", "phi3", "phi3", 10000.0, 1e-5, kv_heads=4, fused=True),
    "phi4": Family("Phi3ForCausalLM", "phi3", "phi4", 250000.0, 1e-5, kv_heads=4, fused=True),
}  # fmt: skip

# a hub id or directory -> family, first match; an id says less than a config.json and is asked last
_NAMES = (
    (r"code-?llama", "code_llama2"),
    (r"llama-?3[._]3", "llama3_3"),
    (r"llama-?3[._]2", "llama3_2"),
    (r"llama-?3[._]1", "llama3_1"),
    (r"llama-?3", "llama3"),
    (r"llama", "llama2"),
    (r"mistral|zephyr", "mistral"),
    (r"qwen-?3", "qwen3"),
    (r"qwen-?2[._]5", "qwen2_5"),
    (r"qwen", "qwen2"),
    (r"gemma-?2", "gemma2"),
    (r"gemma", "gemma"),
    (r"phi-?3", "phi3"),
    (r"phi-?4", "phi4"),
)


def family_of(base: str) -> str | None:
    """The family that a model's name speaks of, or its config.json where it lies on this machine."""
    path = Path(base) / "config.json"
    if path.is_file():
        return family_of_config(json.loads(path.read_text(encoding="utf-8")))
    return next((name for pattern, name in _NAMES if re.search(pattern, base.lower())), None)


def family_of_config(config: Mapping[str, Any]) -> str | None:
    kind = config.get("model_type")
    if kind == "llama":
        rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
        factor = rope.get("factor")
        if factor in (8.0, 32.0):
            return "llama3_1" if factor == 8.0 else "llama3_2"
        return "llama3" if config.get("rope_theta", rope.get("rope_theta")) == 500000.0 else "llama2"
    return kind if kind in FAMILIES else None


def sizes(family: str) -> dict[str, Any]:
    """The sizes of the tiny model, by plain names."""
    one = FAMILIES[family]
    return {"layers": 2, "heads": 4, "kv_heads": one.kv_heads, "width": 64, "inner": 256, "head_width": one.head_width,
            "score_scale": one.head_width, "vocabulary": tiny_tokenizer.vocabulary(one.tokenizer), "tied": one.tied}  # fmt: skip


def make(family: str, folder: Path) -> dict[str, Any]:
    """Write the checkpoint into `folder`; the sizes it has."""
    one, size = FAMILIES[family], sizes(family)
    folder.mkdir(parents=True)
    tokenizer = tiny_tokenizer.make(one.tokenizer, folder)
    config = config_json(family, size) | tokenizer
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", _weights(family, size))
    return size


def config_json(family: str, size: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json of a model of a family, with these sizes."""
    one = FAMILIES[family]
    return {
        "architectures": [one.architecture],
        "model_type": one.model_type,
        "hidden_size": size["width"],
        "intermediate_size": size["inner"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["heads"],
        "num_key_value_heads": size["kv_heads"],
        "head_dim": size["head_width"],
        "vocab_size": size["vocabulary"],
        "max_position_embeddings": 8192,
        "rms_norm_eps": one.epsilon,
        "rope_theta": one.rope,
        "tie_word_embeddings": size["tied"],
        "hidden_act": "silu",
        "torch_dtype": "float32",
        **one.config,
    }


def tensors(family: str, size: Mapping[str, Any], spread: float) -> Iterator[tuple[str, tuple[int, ...], float, float]]:
    """A checkpoint's tensors: name, shape, and the centre and spread of its random numbers."""
    one = FAMILIES[family]
    for name, shape in _shapes(one, size):
        yield name, shape, *((1.0 if one.around_one else 0.0, 0.1) if "norm" in name else (0.0, spread))


def _weights(family: str, size: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...], array[float]]]:
    draw = random.Random(SEED)
    for name, shape, centre, spread in tensors(family, size, SPREAD):
        count = math.prod(shape)
        yield name, shape, array("f", (draw.gauss(centre, spread) for _ in range(count)))


def _shapes(one: Family, size: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, inner, vocabulary = size["width"], size["inner"], size["vocabulary"]
    queries, keys = size["heads"] * size["head_width"], size["kv_heads"] * size["head_width"]
    yield "model.embed_tokens.weight", (vocabulary, width)
    for index in range(size["layers"]):
        at = f"model.layers.{index}"
        yield f"{at}.input_layernorm.weight", (width,)
        if one.fused:
            yield f"{at}.self_attn.qkv_proj.weight", (queries + 2 * keys, width)
            yield f"{at}.mlp.gate_up_proj.weight", (2 * inner, width)
        else:
            for letter, wide in (("q", queries), ("k", keys), ("v", keys)):
                yield f"{at}.self_attn.{letter}_proj.weight", (wide, width)
                if one.biases:
                    yield f"{at}.self_attn.{letter}_proj.bias", (wide,)
            yield f"{at}.mlp.gate_proj.weight", (inner, width)
            yield f"{at}.mlp.up_proj.weight", (inner, width)
        if one.head_norms:
            yield f"{at}.self_attn.q_norm.weight", (size["head_width"],)
            yield f"{at}.self_attn.k_norm.weight", (size["head_width"],)
        yield f"{at}.self_attn.o_proj.weight", (width, queries)
        yield f"{at}.mlp.down_proj.weight", (width, inner)
        yield f"{at}.post_attention_layernorm.weight", (width,)
        if one.extra_norms:
            yield f"{at}.pre_feedforward_layernorm.weight", (width,)
            yield f"{at}.post_feedforward_layernorm.weight", (width,)
    yield "model.norm.weight", (width,)
    if not size["tied"]:
        yield "lm_head.weight", (vocabulary, width)


def write_safetensors(path: Path, tensors: Iterator[tuple[str, tuple[int, ...], array[float]]]) -> None:
    """The format: the header's length, the header in JSON, the raw little-endian numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, shape, values in tensors:
        start = len(data)
        data += struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
