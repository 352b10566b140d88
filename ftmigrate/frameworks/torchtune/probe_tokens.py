"""What torchtune's datasets and its data loader hand to the training loop. Loaded by probe_trial.py.

samples: ids and labels of single rows, before packing; the two replies of a pair one after the other. batches: what the
loader hands out, each a list of sequences, each a list of the rows that lie in it.
"""

from typing import Any

IGNORED = -100


def answer(loader: Any, samples: int, batches: int, pad: int, inside: Any) -> dict[str, Any]:
    dataset = loader.dataset
    found: list[Any] = []
    for _, batch in zip(range(batches), loader, strict=False):
        found.append(_batch(batch, pad, inside))
    rows = _rows(dataset, samples)
    return {
        "samples": [one for row in rows for one in _sample(row, inside)],
        "pairs": bool(rows) and "chosen_input_ids" in rows[0],
        "batches": found,
        "packed": any(type(one).__name__ == "PackedDataset" for one in getattr(dataset, "_datasets", [dataset])),
    }


def in_place(ids: list[int], labels: list[int]) -> list[int]:
    """Labels where their tokens are: those of later torchtunes lie one place before, for the loss not to shift them."""
    pairs = list(zip(ids, labels, strict=True))
    early = zip(ids[1:], labels, strict=False)
    if all(label in (IGNORED, one) for one, label in pairs) or not all(label in (IGNORED, one) for one, label in early):
        return labels
    return [IGNORED, *labels[:-1]]


def _rows(dataset: Any, count: int) -> list[dict[str, Any]]:
    """Single rows; of packed ones those that were packed, in their order."""
    found: list[dict[str, Any]] = []
    for one in _parts(dataset):
        found += [one[index] for index in range(min(len(one), count - len(found)))]
    return found


def _parts(dataset: Any) -> list[Any]:
    kind = type(dataset).__name__
    if kind == "PackedDataset":
        return _parts(dataset.ds)
    if kind == "ConcatDataset":
        return [part for one in dataset._datasets for part in _parts(one)]
    return [dataset]


def _sample(row: dict[str, Any], inside: Any) -> list[dict[str, Any]]:
    if "tokens" in row:
        return [inside.trimmed(list(row["tokens"]), in_place(list(row["tokens"]), list(row["labels"])))]
    return [
        inside.trimmed(list(row[f"{reply}_input_ids"]), list(row[f"{reply}_labels"]))
        for reply in ("chosen", "rejected")
    ]


def _batch(batch: Any, pad: int, inside: Any) -> list[Any]:
    if not isinstance(batch, dict):  # of pairs: all chosen replies, then all rejected ones
        return [[_unpadded(a, b, pad, inside)] for a, b in zip(batch[0].tolist(), batch[1].tolist(), strict=True)]
    ids = batch["tokens"].tolist()
    labels = [in_place(a, b) for a, b in zip(ids, batch["labels"].tolist(), strict=True)]
    if "input_pos" not in batch:
        return [[_unpadded(a, b, pad, inside)] for a, b in zip(ids, labels, strict=True)]
    found = []
    for a, b, positions, mask in zip(ids, labels, batch["input_pos"].tolist(), batch["mask"], strict=True):
        begins = [0] + [at for at in range(1, len(a)) if not bool(mask[at, at - 1])]
        rows = inside.pack(a, b, positions, begins)
        if len(set(rows[-1]["ids"])) == 1 and all(one == IGNORED for one in rows[-1]["labels"]):
            rows.pop()  # what fills the sequence up
        found.append(rows)
    return found


def _unpadded(ids: list[int], labels: list[int], pad: int, inside: Any) -> dict[str, Any]:
    end = len(ids)
    while end and ids[end - 1] == pad and labels[end - 1] == IGNORED:
        end -= 1
    found: dict[str, Any] = inside.segment(ids[:end], labels[:end])
    return found
