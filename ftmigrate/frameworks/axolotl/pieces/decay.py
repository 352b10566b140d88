"""DecayAll: norms and biases are decayed too."""

from typing import Any

from axolotl.integrations.base import BasePlugin


class DecayAll(BasePlugin):
    """Weight decay on every trained tensor; the trainer by itself leaves norms and biases out."""

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        trainer.get_decay_parameter_names = lambda model: [name for name, _ in model.named_parameters()]
