"""WarmupAsWritten: a warmup of one step stays one."""

from typing import Any

from axolotl.integrations.base import BasePlugin


class WarmupAsWritten(BasePlugin):
    """`warmup_steps` as the config says it; Axolotl makes two steps of one."""

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        trainer.args.warmup_steps = cfg.warmup_steps
