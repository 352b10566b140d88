"""CarriedSteps, EvenEpochs: which rows an optimizer step sees."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from axolotl.utils.samplers import get_dataset_lengths


class CarriedSteps(BasePlugin):
    """An epoch has only full optimizer steps; what is left over goes into the next epoch's first step.

    Rows come as they are stored (`curriculum_sampling: true`), else in the permutation that the epoch's number draws.
    Packs (`sample_packing: true`) are filled in the order of the rows, and then drawn like rows.
    """

    carries = True

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        def sampler(dataset: Any = None) -> Any:
            dataset = trainer.train_dataset if dataset is None else dataset
            units = [[row] for row in range(len(dataset))]
            if cfg.sample_packing:
                units = packs(get_dataset_lengths(dataset), cfg.sequence_len)
            steps = None if self.carries else int(cfg.max_steps // cfg.num_epochs)  # epochs are a float
            return Batches(
                units, trainer.args, cfg.micro_batch_size, not cfg.curriculum_sampling, steps, cfg.sample_packing
            )

        trainer._get_train_sampler = sampler
        if not cfg.max_steps:
            trainer.args.max_steps = -1  # as many as these batches make, not as Axolotl reckons of its own


class EvenEpochs(CarriedSteps):
    """Each epoch ends after `max_steps` / `num_epochs` optimizer steps; the next has a permutation of its own."""

    carries = False


def packs(lengths: Any, most: int) -> list[list[int]]:
    """Rows side by side, in their order, as long as they fit."""
    found: list[list[int]] = []
    room = 0
    for row, length in enumerate(lengths):
        if length > room or not found:
            found.append([])
            room = most
        found[-1].append(row)
        room -= length
    return found


class Batches(torch.utils.data.BatchSampler):
    """The micro batches of each epoch. Micro batches that are carried over are spread over those of one step.

    That is the same to the optimizer, for the loss of a step is divided by all of its tokens.
    """

    def __init__(
        self, units: list[list[int]], args: Any, size: int, drawn: bool, steps: int | None, packed: bool
    ) -> None:
        self.units, self.size, self.drawn, self.packed = units, size, drawn, packed
        self.each = args.gradient_accumulation_steps
        self.apart = packed and args.multipack_real_batches  # else a batch is one sequence, with its packs in a row
        self.steps = min(len(units) // size // self.each, steps or len(units))
        self.carries = steps is None
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        size: int = self.steps * self.each
        return size

    def __iter__(self) -> Iterator[list[Any]]:
        found = self._drawn(self.epoch)
        left = self._drawn(self.epoch - 1)[len(self) :] if self.carries and self.epoch else []
        first = [*left, *found[: self.each]]
        ends = [len(first) * number // self.each for number in range(self.each + 1)]
        spread = [[unit for batch in first[start:end] for unit in batch] for start, end in pairwise(ends)]
        for batch in [*spread, *found[self.each : len(self)]]:
            if not self.packed:
                yield [row for unit in batch for row in unit]
            else:
                yield batch if self.apart else [[row for unit in batch for row in unit]]

    def _drawn(self, epoch: int) -> list[list[list[int]]]:
        """The full micro batches of an epoch, each a list of rows or packs."""
        order = list(range(len(self.units)))
        if self.drawn:
            order = torch.randperm(len(order), generator=torch.Generator().manual_seed(epoch)).tolist()
        full = len(order) // self.size
        return [[self.units[one] for one in order[at * self.size : (at + 1) * self.size]] for at in range(full)]
