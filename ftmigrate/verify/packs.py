"""The first batches of both sides: which rows lie together in a sequence, where their positions begin, what is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftmigrate.verify.results import Difference

IGNORED = -100
Row = Mapping[str, Any]
Pack = Sequence[Row]
_CAUSES = ("sequence.packing", "sequence.max_length", "sequence.packing_algorithm", "sequence.split_across_packs")
_SHOWN = 6


def effective(sample: Mapping[str, Sequence[int]], follows: bool = False) -> tuple[list[int], list[bool]]:
    """Ids and mask as far as they change the loss: without what is not trained at the end, nor a label of the first
    (nothing predicts it, but where the row `follows` another one in a pack).
    """
    trained = [label != IGNORED for label in sample["labels"]]
    if trained and not follows:
        trained[0] = False
    end = max((index for index, one in enumerate(trained) if one), default=-1) + 1
    return list(sample["ids"][:end]), trained[:end]


def compare_batches(source: Mapping[str, Any], target: Mapping[str, Any], told: set[str]) -> Iterator[Difference]:
    """The first difference of each kind; none where the rows of both lie alike. Behind other rows nothing is compared."""
    packed = [bool(side.get("packed")) for side in (source, target)]
    if packed[0] != packed[1]:
        kinds = ["several rows share a sequence" if one else "each row is a sequence of its own" for one in packed]
        yield Difference(_CAUSES[0], f"{kinds[0]} in the source, {kinds[1]} in the target", _CAUSES[0] in told)
        return
    seen: set[str] = set()
    for number, (one, other) in enumerate(zip(source["batches"], target["batches"], strict=False), 1):
        if len(one) != len(other):
            text = f"batch {number} has {len(one)} sequences in the source, {len(other)} in the target"
            path = next((path for path in ("batch.micro_size", *_CAUSES) if path in told), "batch.micro_size")
            yield Difference(path, text, path in told)
            return
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True), 1):
            for causes, words in _apart(mine, theirs):
                path = next((path for path in _found(causes, told)), causes[-1])
                if path not in seen:
                    yield Difference(path, f"batch {number}, sequence {index}: {words}", path in told)
                seen.add(path)
                if causes[0] in _CAUSES:
                    return


def _found(causes: Sequence[str], told: set[str]) -> Iterator[str]:
    """Those of the settings that differ by our reading; a name that ends with a dot stands for that of any source."""
    for cause in causes:
        yield from sorted(path for path in told if path == cause or (cause[0] == "." and path.endswith(cause)))


def _apart(mine: Pack, theirs: Pack) -> Iterator[tuple[Sequence[str], str]]:
    """How two sequences differ, in words, with the settings that may be the cause; the last is named where none is told."""
    sides = [[row for row in side if any(label != IGNORED for label in row["labels"])] for side in (mine, theirs)]
    rows = [[effective(row) for row in side] for side in sides]
    whole = [[effective(row, index > 0) for index, row in enumerate(side)] for side in sides]
    if rows[0] != rows[1]:
        lengths = [_listed([len(ids) for ids, _ in side]) for side in rows]
        if lengths[0] == lengths[1]:
            yield (*_CAUSES, "data.order"), f"other rows, though of the same lengths ({lengths[0]} tokens)"
        else:
            words = f"rows of {lengths[0]} tokens in the source, of {lengths[1]} in the target"
            yield (*_CAUSES, ".text", "sequence.packing_algorithm"), words
    elif whole[0] != whole[1]:
        at = next(index for index, (a, b) in enumerate(zip(*whole, strict=True)) if a != b)
        does = ["learns" if side[at][1][0] else "does not learn" for side in whole]
        words = f"the end of row {at} {does[0]} to be followed by the start of the next in the source, {does[1]} it in the target"
        yield (".loss_mask", "data.sources[0].loss_mask"), words
    begins = [[row["starts_at"] for row in side] for side in sides]
    if begins[0] != begins[1]:
        words = (
            f"positions of its rows begin at {_listed(begins[0])} in the source, at {_listed(begins[1])} in the target"
        )
        yield ("sequence.packing_algorithm",), words


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return f"{shown} and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else shown or "none"


# --- pairs --------------------------------------------------------------------------------------------------------


def counted(samples: Sequence[Row]) -> list[Row]:
    """The replies of pairs, one after the other, with what both begin with masked: in the difference of the two
    replies' likelihoods, which is all that the loss sees, it cancels.
    """
    found: list[Row] = []
    for chosen, rejected in zip(samples[::2], samples[1::2], strict=True):
        shared = next(
            (at for at, (a, b) in enumerate(zip(chosen["ids"], rejected["ids"], strict=False)) if a != b),
            min(len(chosen["ids"]), len(rejected["ids"])),
        )
        found += [{**row, "labels": [IGNORED] * shared + list(row["labels"][shared:])} for row in (chosen, rejected)]
    return found


def counted_batches(batches: Sequence[Sequence[Pack]]) -> list[list[Pack]]:
    """Batches of pairs, in which all chosen replies come before all rejected ones, as `counted`."""
    found: list[list[Pack]] = []
    for batch in batches:
        half = len(batch) // 2
        rows = [row for a, b in zip(batch[:half], batch[half:], strict=True) for row in (a[0], b[0])]
        masked = counted(rows)
        found.append([[row] for row in (*masked[::2], *masked[1::2])])
    return found
