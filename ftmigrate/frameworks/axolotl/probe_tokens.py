"""What Axolotl's datasets and its data loader hand to the training loop. Loaded by probe_trial.py.

samples: ids and labels of single rows, before packing; the two replies of a pair one after the other. batches: what the
loader hands out, each a list of sequences, each a list of the rows that lie in it.
"""

from typing import Any

IGNORED = -100


def answer(trainer: Any, packed: bool, samples: int, batches: int, inside: Any) -> dict[str, Any]:
    dataset = trainer.train_dataset
    count = min(samples, len(dataset))
    pairs = "labels" not in dataset.column_names
    if pairs:  # each pair as the collator, which cuts it, makes it
        rows = [one for index in range(count) for one in _batch(trainer.data_collator([dataset[index]]), False, inside)]
        found = [{key: one[0][key] for key in ("ids", "labels")} for one in rows]
    else:
        found = [inside.trimmed(dataset[index]["input_ids"], dataset[index]["labels"]) for index in range(count)]
    handed = zip(range(batches), trainer.get_train_dataloader(), strict=False)
    return {
        "samples": found,
        "pairs": pairs,
        "batches": [_batch(batch, packed, inside) for _, batch in handed],
        "packed": packed,
    }


def _batch(batch: Any, packed: bool, inside: Any) -> list[Any]:
    ids = batch["input_ids"].tolist()
    if "labels" in batch:
        labels = batch["labels"].tolist()
    else:
        masks = batch["completion_mask"].tolist()
        labels = [
            [one if on else IGNORED for one, on in zip(a, m, strict=True)] for a, m in zip(ids, masks, strict=True)
        ]
    if not packed:
        kept = batch["attention_mask"].tolist()
        return [[_kept(a, b, mask, inside)] for a, b, mask in zip(ids, labels, kept, strict=True)]
    found = []
    for a, b, positions in zip(ids, labels, batch["position_ids"].tolist(), strict=True):
        begins = [at for at, one in enumerate(positions) if one == 0]
        rows = inside.pack(a, b, positions, begins)
        if len(rows) > 1 and len(set(rows[-1]["ids"])) == 1 and all(one == IGNORED for one in rows[-1]["labels"]):
            rows.pop()  # what fills the sequence up
        found.append(rows)
    return found


def _kept(ids: list[int], labels: list[int], mask: list[int], inside: Any) -> dict[str, Any]:
    places = [index for index, one in enumerate(mask) if one]
    found: dict[str, Any] = inside.segment([ids[i] for i in places], [labels[i] for i in places])
    return found
