"""Level `tokens`: ids and loss mask of the first samples and batches, through both frameworks' own dataset code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from ftmigrate.run.compare import losses
from ftmigrate.run.model import Run
from ftmigrate.verify import tiny_tokenizer
from ftmigrate.verify.packs import IGNORED, compare_batches, counted, counted_batches, effective
from ftmigrate.verify.results import Difference, Outcome, Result

_LENGTHS = ("sequence.max_length", "sequence.overlong")
AROUND = 24
SHOWN = 12
Sample = Mapping[str, Sequence[int]]


def compare_tokens(
    source: Mapping[str, Any], target: Mapping[str, Any], before: Run, after: Run, tokenizer: str, counts: Sequence[int]
) -> Result:
    """The level's result from both sides' answers; `counts` are the rows of each source."""
    told = {found.path for found in losses(before, after)}
    pairs = bool(source.get("pairs")) and bool(target.get("pairs"))
    if pairs and before["method.name"] == after["method.name"] == "dpo":
        source, target = (
            {**side, "samples": counted(side["samples"]), "batches": counted_batches(side.get("batches", ()))}
            for side in (source, target)
        )
    first, second = source["samples"], target["samples"]
    found: list[Difference] = []
    seen: set[str] = set()
    differing = 0
    shifted = False  # a row that is cut into several on one side only moves all behind it
    limits = [run["sequence.max_length"] for run in (before, after)]
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        difference = _sample(_Place(index, pairs, counts), one, other, (before, after), tokenizer, told)
        if difference is not None and shifted:
            difference = replace(difference, setting="sequence.overlong", told=True)
        if "sequence.overlong" in told:
            shifted = shifted or any(map(_full, (one, other), limits))
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
    if "batches" in source and "batches" in target:
        if found:
            details.append("batches not compared, for their samples differ")
        else:
            found += compare_batches(source, target, told)
            details.append(f"{min(len(source['batches']), len(target['batches']))} batches compared")
    data = {
        "tokenizer": tokenizer,
        "source": [_shown(one) for one in first[:SHOWN]],
        "target": [_shown(one) for one in second[:SHOWN]],
        "texts": [_texts(one["ids"], tokenizer) for one in first[:SHOWN]],
        "target_texts": [_texts(one["ids"], tokenizer) for one in second[:SHOWN]],
    }
    return Result("tokens", Outcome.DIFFERS if found else Outcome.PASSED, tuple(details), tuple(found), data)


def _shown(sample: Sample) -> dict[str, Any]:
    return {"ids": list(sample["ids"]), "trained": [int(label != IGNORED) for label in sample["labels"]]}


class _Place(NamedTuple):
    """A sample's number and what it is of which source."""

    number: int
    pairs: bool
    counts: Sequence[int]

    @property
    def name(self) -> str:
        if self.pairs:
            return f"pair {self.number // 2 + 1}, {'rejected' if self.number % 2 else 'chosen'}"
        return f"sample {self.number + 1}"

    def setting(self, name: str) -> str:
        """The setting that a difference of this sample is one of: of a rejected reply there is but one."""
        row = self.number // 2 if self.pairs else self.number
        number = max(len(self.counts) - 1, 0)
        for source, count in enumerate(self.counts):
            if row < count:
                number = source
                break
            row -= count
        return f"data.sources[{number}].{'rejected' if self.pairs and self.number % 2 and name in ('text', 'loss_mask') else name}"


def _sample(
    place: _Place, one: Sample, other: Sample, runs: tuple[Run, Run], tokenizer: str, told: set[str]
) -> Difference | None:
    before, after = runs
    ids, mask = effective(one)
    other_ids, other_mask = effective(other)
    if ids == other_ids and mask == other_mask:
        return None
    whole = [list(side["ids"]) for side in (one, other)]
    at = _first(whole[0], whole[1])
    length = min(len(ids), len(other_ids))
    if at is None or at >= length:
        # as far as both go the ids are equal: the masks differ, or one of them was cut
        common = min(map(len, whole))
        masks = [[*side, *([False] * common)][:common] for side in (mask, other_mask)]
        apart = next((i for i, (a, b) in enumerate(zip(*masks, strict=True)) if a != b), None)
        if apart is None and _cut(whole, (before["sequence.max_length"], after["sequence.max_length"])):
            text = f"{place.name} has {len(ids)} tokens in the source, {len(other_ids)} in the target"
            path = next((path for path in _LENGTHS if path in told), _LENGTHS[0])
            return Difference(path, text, path in told)
        longer = max((one, other), key=lambda side: len(side["ids"]))
        if len(whole[0]) != len(whole[1]) and any(label != IGNORED for label in longer["labels"][common:]):
            shown = [_text(side, common, tokenizer) for side in whole]
            text = f"{place.name}, token {common + 1}: {shown[0]} in the source, {shown[1]} in the target"
            return Difference(place.setting("text"), text, place.setting("text") in told)
        return _masked(place, length if apart is None else apart, one, other, mask, other_mask, tokenizer, told)
    shown = [_text(side, at, tokenizer) for side in whole]
    text = f"{place.name}, token {at + 1}: {shown[0]} in the source, {shown[1]} in the target"
    path = place.setting(_cut_otherwise(at, ids, other_ids, tokenizer) or "text")
    path = path if path in told else place.setting("text")
    return Difference(path, text, path in told)


def _cut_otherwise(at: int, one: Sequence[int], other: Sequence[int], tokenizer: str) -> str | None:
    """The setting that explains other ids from `at` on for the same words; None where the words differ."""
    if _words(one, tokenizer) != _words(other, tokenizer):
        return None
    for ids, others in ((one, other), (other, one)):
        name = tiny_tokenizer.text_of(tokenizer, ids[at])
        if len(name) > 1 and "".join(_texts(others[at:], tokenizer)).startswith(name):
            return "special_names"
    return "pieces"


def _masked(
    place: _Place, at: int, one: Sample, other: Sample, mask: Sequence[bool], other_mask: Sequence[bool], tokenizer: str,
    told: set[str],
) -> Difference:  # fmt: skip
    ids = one["ids"] if at < len(one["ids"]) else other["ids"]
    trained = [at < len(side) and side[at] for side in (mask, other_mask)]
    run = at
    while run < len(ids) and [run < len(side) and side[run] for side in (mask, other_mask)] == trained:
        run += 1
    stretch = "".join(_texts(ids[at:run], tokenizer))
    text = (
        f"{place.name}, tokens {at + 1} to {run}: {stretch[:60]!r}{'…' if len(stretch) > 60 else ''} is "
        f"{'trained' if trained[0] else 'masked'} in the source, {'trained' if trained[1] else 'masked'} in the target"
    )
    return Difference(place.setting("loss_mask"), text, place.setting("loss_mask") in told)


def _full(sample: Sample, limit: object) -> bool:
    """Whether a sample is as long as it may be (with one token for an end)."""
    return isinstance(limit, int) and len(sample["ids"]) >= limit - 1


def _cut(whole: Sequence[Sequence[int]], limits: Sequence[object]) -> bool:
    """Whether the shorter one is as long as its side's limit allows (with one token for an end)."""
    sides = sorted(zip(map(len, whole), limits, strict=True), key=lambda pair: pair[0])
    length, limit = sides[0]
    return isinstance(limit, int) and length >= limit - 1 and length < sides[1][0]


def _first(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place at which two lists differ; None where one begins with the other."""
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


def _text(ids: Sequence[int], at: int, tokenizer: str) -> str:
    return repr("".join(_texts(ids[at : at + AROUND], tokenizer)))


def _words(ids: Sequence[int], tokenizer: str) -> str:
    """The text of ids without its white space."""
    return "".join("".join(_texts(ids, tokenizer)).split())


def _texts(ids: Sequence[int], tokenizer: str) -> list[str]:
    return [tiny_tokenizer.text_of(tokenizer, number) for number in ids]
