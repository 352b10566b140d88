"""What base.axolotl.yaml needs that Axolotl has no key for. Made by ftmigrate 0.1.0.

Axolotl imports it: the folder that holds it must be on PYTHONPATH, as in the command in base.axolotl.yaml.

Rows: a dataset type of its own, for which what rows become stands in the config, under `exact_rows`.
CarriedSteps, EvenEpochs: which rows an optimizer step sees.
"""

import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from axolotl.prompt_tokenizers import PromptTokenizingStrategy
from axolotl.utils.samplers import get_dataset_lengths
from pydantic import BaseModel

PLACE = ("path", "data_files", "name", "split", "revision", "data_dir")
sys.modules[f"{__name__}.rows"] = sys.modules[__name__]  # so Axolotl finds `load` under the dataset type's name


class Rows(BasePlugin):
    """Makes `exact_rows` known: one entry for each dataset of this type, or one for all."""

    def get_input_args(self) -> str:
        return f"{__name__}.RowsArgs"


class RowsArgs(BaseModel):
    exact_rows: list[dict[str, Any]] | None = None


def load(tokenizer: Any, cfg: Any, ds_cfg: Any) -> "RowStrategy":
    """The strategy of one dataset, called by Axolotl."""
    alike = [one for one in cfg.datasets if one.type == ds_cfg.type]
    at = next((n for n, one in enumerate(alike) if all(one.get(key) == ds_cfg.get(key) for key in PLACE)), 0)
    return RowStrategy(tokenizer, cfg.exact_rows[at if len(cfg.exact_rows) > 1 else 0], bool(cfg.sample_packing))


class RowStrategy(PromptTokenizingStrategy):
    """What stands around a content is special tokens and text, the content itself never a special token.

    A turn is trained as a whole, its header included, or not at all.
    """

    def __init__(self, tokenizer: Any, form: dict[str, Any], packed: bool) -> None:
        super().__init__(None, tokenizer)
        self.form, self.packed = form, packed

    def tokenize_prompt(self, row: dict[str, Any]) -> dict[str, list[int]]:
        ids: list[int] = []
        labels: list[int] = []
        for text, special, trained in pieces(self.form, row, self.packed):
            found = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not special)
            ids += found
            labels += found if trained else [-100] * len(found)
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def pieces(form: dict[str, Any], row: dict[str, Any], packed: bool = False) -> Iterator[tuple[str, bool, bool]]:
    """Each stretch of text with whether its special tokens count as such, and whether it is trained."""
    start, end = form.get("start") or "", form.get("end") or ""
    if form.get("text"):
        text = joined(form["text"], row)
        there = bool(text)  # an empty one keeps its place in a batch, untrained, for Axolotl drops rows without tokens
        yield from ((start, True, there), (text, False, there), (end, True, there)) if there or not packed else ()
        return
    yield start, True, False
    trained = False
    found = messages(form, row)
    for number, (role, content) in enumerate(found, 1):
        last = form.get("last") if number == len(found) else None
        turn, trained = (last or {}).get(role) or form["turns"][role], role in form["train"]
        strip = turn.get("strip")
        yield turn.get("before") or "", True, trained
        yield content.strip() if strip is True else content.rstrip(strip) if strip else content, False, trained
        yield turn.get("after") or "", True, trained
    yield end, True, trained if form.get("train_end") == "as the turn before it" else bool(form.get("train_end"))


def messages(form: dict[str, Any], row: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and content of each message: built from columns, or those of a column."""
    given = form["messages"]
    if isinstance(given, list):
        found = [(role, joined(parts, row)) for one in given for role, parts in one.items()]
    else:
        names = given.get("names") or {}
        found = [
            (names.get(one[given["role"]], one[given["role"]]), str(one[given["content"]]))
            for one in row[given["column"]]
        ]
    has_system = bool(found) and found[0][0] == "system"
    if form.get("drop_system"):
        found, has_system = [one for one in found if one[0] != "system"], False
    if form.get("system") is not None and not has_system:
        found.insert(0, ("system", form["system"]))
    return found


def joined(parts: list[Any], row: dict[str, Any]) -> str:
    """Text as it stands, `{column: NAME}`, and `{when: NAME, then: [...], else: [...]}`: whether NAME is not empty."""
    out = ""
    for part in parts:
        if isinstance(part, str):
            out += part
        elif part.get("column"):
            text = "" if row[part["column"]] is None else str(row[part["column"]])
            out += text.strip() if part.get("strip") else text
        else:
            out += joined((part.get("then") if row.get(part["when"]) else part.get("else")) or [], row)
    return out


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
