"""CountFirstTokens: micro batches of one step are weighted with the first tokens of their rows too."""

from typing import Any

from axolotl.integrations.base import BasePlugin

NOT_TRAINED = -100


class CountFirstTokens(BasePlugin):
    """A step's loss is the mean of its micro batches' mean losses, weighted with all labels, a row's first one too.

    The trainer by itself weights with the labels that a token is predicted for, which the first is not.
    """

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        compute = trainer.compute_loss

        def labelled(batch: Any) -> Any:
            return (batch["labels"] != NOT_TRAINED).sum()

        def count(batches: Any, device: Any) -> Any:
            return sum(map(labelled, batches)).to(device) if batches else None

        def loss(model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            weight = 1.0 if num_items_in_batch is None else labelled(inputs) / num_items_in_batch
            found = compute(model, inputs, return_outputs=return_outputs)
            return (found[0] * weight, found[1]) if return_outputs else found * weight

        trainer._get_num_items_in_batch = count
        trainer.compute_loss = loss
