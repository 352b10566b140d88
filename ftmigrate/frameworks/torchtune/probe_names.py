"""Layers that are one in transformers' models and several in torchtune's. Loaded by probe_trial.py."""

from typing import Any

FUSED = {"q_proj": "qkv_proj.q", "k_proj": "qkv_proj.k", "v_proj": "qkv_proj.v", "gate_proj": "gate_up_proj.gate",
          "up_proj": "gate_up_proj.up"}  # fmt: skip
PARTS = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def fused(parameters: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """With the weights that are one in the checkpoint as one; adapters, which each part has of its own, stay."""
    found = dict(parameters)
    for whole, parts in PARTS.items():
        for name in [one for one in parameters if one.endswith(f"{parts[0]}.weight")]:
            names = [name.replace(parts[0], part) for part in parts]
            if all(one in found for one in names):
                several = [found.pop(one) for one in names]
                shape = [sum(one["shape"][0] for one in several), *several[0]["shape"][1:]]
                found[name.replace(parts[0], whole)] = {**several[0], "shape": shape}
    return found
