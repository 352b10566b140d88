"""PureBf16: all weights in bf16, and no autocast."""

import os
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin


class PureBf16(BasePlugin):
    """With `bf16: true` every weight is bf16, norms and embeddings too, and operations are not cast besides."""

    def post_model_load(self, cfg: Any, model: Any) -> None:
        if cfg.bf16:
            model.to(torch.bfloat16)

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        if not cfg.bf16:
            return {}
        os.environ["ACCELERATE_MIXED_PRECISION"] = "no"  # Axolotl has set it to bf16 by now
        return {"bf16": False}
