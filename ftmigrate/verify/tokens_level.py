"""Level `tokens`: ids and loss mask of the first samples, through both frameworks' own dataset code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftmigrate.run.compare import losses
from ftmigrate.run.model import Run
from ftmigrate.verify import tiny_tokenizer
from ftmigrate.verify.results import Difference, Outcome, Result

IGNORED = -100
AROUND = 24
SHOWN = 12
Sample = Mapping[str, Sequence[int]]


def compare_tokens(
    source: Mapping[str, Any], target: Mapping[str, Any], before: Run, after: Run, tokenizer: str, counts: Sequence[int]
) -> Result:
    """The level's result from both sides' answers; `counts` are the rows of each source."""
    told = {found.path for found in losses(before, after)}
    first, second = source["samples"], target["samples"]
    found: list[Difference] = []
    seen: set[str] = set()
    differing = 0
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        difference = _sample(index, one, other, (before, after), tokenizer, counts, told)
        if difference is not None:
            differing += 1
            if str(difference.setting) not in seen:
                seen.add(str(difference.setting))
                found.append(difference)
    if len(first) != len(second):
        text = f"{len(first)} samples in the source, {len(second)} in the target"
        found.append(Difference("sequence.overlong", text, "sequence.overlong" in told))
    details = [f"{min(len(first), len(second))} samples compared"]
    if differing:
        details.append(f"{differing} of them differ; the first of each kind is shown")
    data = {
        "tokenizer": tokenizer,
        "source": [_shown(one) for one in first[:SHOWN]],
        "target": [_shown(one) for one in second[:SHOWN]],
        "texts": [[tiny_tokenizer.text_of(tokenizer, number) for number in one["ids"]] for one in first[:SHOWN]],
        "target_texts": [
            [tiny_tokenizer.text_of(tokenizer, number) for number in one["ids"]] for one in second[:SHOWN]
        ],
    }
    return Result("tokens", Outcome.DIFFERS if found else Outcome.PASSED, tuple(details), tuple(found), data)


def _shown(sample: Sample) -> dict[str, Any]:
    return {"ids": list(sample["ids"]), "trained": [int(label != IGNORED) for label in sample["labels"]]}


def effective(sample: Sample) -> tuple[list[int], list[bool]]:
    """Ids and mask as far as they change the loss: without what is not trained at the end, nor a label of the first."""
    trained = [label != IGNORED for label in sample["labels"]]
    if trained:
        trained[0] = False
    end = max((index for index, one in enumerate(trained) if one), default=-1) + 1
    return list(sample["ids"][:end]), trained[:end]


def _sample(
    index: int, one: Sample, other: Sample, runs: tuple[Run, Run], tokenizer: str, counts: Sequence[int], told: set[str]
) -> Difference | None:
    before, after = runs
    ids, mask = effective(one)
    other_ids, other_mask = effective(other)
    if ids == other_ids and mask == other_mask:
        return None
    whole = [list(side["ids"]) for side in (one, other)]
    at = _first(whole[0], whole[1])
    head = f"data.sources[{_source(index, counts)}]"
    length = min(len(ids), len(other_ids))
    if at is None or at >= length:
        # as far as both go the ids are equal: the masks differ, or one of them was cut
        common = min(map(len, whole))
        masks = [[*side, *([False] * common)][:common] for side in (mask, other_mask)]
        place = next((i for i, (a, b) in enumerate(zip(*masks, strict=True)) if a != b), None)
        if place is None and _cut(whole, (before["sequence.max_length"], after["sequence.max_length"])):
            text = f"sample {index + 1} has {len(ids)} tokens in the source, {len(other_ids)} in the target"
            path = "sequence.overlong" if "sequence.overlong" in told else "sequence.max_length"
            return Difference(path, text, path in told)
        longer = max((one, other), key=lambda side: len(side["ids"]))
        if len(whole[0]) != len(whole[1]) and any(label != IGNORED for label in longer["labels"][common:]):
            shown = [_text(side, common, tokenizer) for side in whole]
            text = f"sample {index + 1}, token {common + 1}: {shown[0]} in the source, {shown[1]} in the target"
            return Difference(f"{head}.text", text, f"{head}.text" in told)
        place = length if place is None else place
        return _masked(index, place, one, other, mask, other_mask, tokenizer, head, told)
    shown = [_text(side, at, tokenizer) for side in whole]
    text = f"sample {index + 1}, token {at + 1}: {shown[0]} in the source, {shown[1]} in the target"
    return Difference(f"{head}.text", text, f"{head}.text" in told)


def _masked(
    index: int, at: int, one: Sample, other: Sample, mask: Sequence[bool], other_mask: Sequence[bool], tokenizer: str,
    head: str, told: set[str],
) -> Difference:  # fmt: skip
    ids = one["ids"] if at < len(one["ids"]) else other["ids"]
    trained = [at < len(side) and side[at] for side in (mask, other_mask)]
    run = at
    while run < len(ids) and [run < len(side) and side[run] for side in (mask, other_mask)] == trained:
        run += 1
    stretch = "".join(tiny_tokenizer.text_of(tokenizer, number) for number in ids[at:run])
    text = (
        f"sample {index + 1}, tokens {at + 1} to {run}: {stretch[:60]!r}{'…' if len(stretch) > 60 else ''} is "
        f"{'trained' if trained[0] else 'masked'} in the source, {'trained' if trained[1] else 'masked'} in the target"
    )
    return Difference(f"{head}.loss_mask", text, f"{head}.loss_mask" in told)


def _cut(whole: Sequence[Sequence[int]], limits: Sequence[object]) -> bool:
    """Whether the shorter one is as long as its side's limit allows (with one token for an end)."""
    sides = sorted(zip(map(len, whole), limits, strict=True), key=lambda pair: pair[0])
    length, limit = sides[0]
    return isinstance(limit, int) and length >= limit - 1 and length < sides[1][0]


def _first(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place at which two lists differ; None where one begins with the other."""
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


def _text(ids: Sequence[int], at: int, tokenizer: str) -> str:
    text = "".join(tiny_tokenizer.text_of(tokenizer, number) for number in ids[at : at + AROUND])
    return repr(text)


def _source(index: int, counts: Sequence[int]) -> int:
    for number, count in enumerate(counts):
        if index < count:
            return number
        index -= count
    return max(len(counts) - 1, 0)
