"""The choice among dataset entries that may say a wanted rendering.

Entries are found by what they render, not by name: each proposal is decoded with the global keys it needs and compared
with what is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple, TypeAlias

from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.axolotl import pair_candidates, pairs
from ftmigrate.frameworks.axolotl.candidates import Entry, Proposal, Tokens, propose
from ftmigrate.frameworks.axolotl.entries import decode
from ftmigrate.frameworks.axolotl.places import entry_of
from ftmigrate.memo import remember
from ftmigrate.run.closeness import distance, weight
from ftmigrate.run.likeness import Difference, compare, outcomes
from ftmigrate.run.rendering import Rendering
from ftmigrate.run.sample_rows import samples


class Choice(NamedTuple):
    """The chosen entry, the global keys it needs, and how what it renders differs from what is wanted.

    conflicts: those of its global keys that another source has said otherwise already; the differences count that in.
    exact: a proposal that would differ less but is odd, if there is one.
    """

    entry: Entry
    config: Entry
    differences: tuple[Difference, ...] = ()
    conflicts: tuple[str, ...] = ()
    odd: bool = False
    exact: Proposal | None = None


_Ranked: TypeAlias = tuple[tuple[int, ...], int, Proposal, list[Difference]]


def best_source(
    source: Mapping[str, Any], tokens: Tokens, keys: Mapping[str, Value] | None = None, allow_odd: bool = False
) -> Choice:
    """The entry for one source's settings; `keys` are the global keys that are said already."""
    wanted, place = source.get("text"), entry_of(source)
    if source.get("rejected") is not None:
        place = {key: value for key, value in place.items() if key in pairs.KEYS}
        return best_pair(wanted, source["rejected"], place, tokens, keys)
    if not isinstance(wanted, Rendering):
        # a type that no one takes for a real one: without it rows would pass for tokens already
        return Choice({**place, "type": wanted}, {})
    return best(wanted, place, tokens, allow_odd, keys)


def best_pair(
    chosen: object,
    rejected: object,
    place: Mapping[str, Value],
    tokens: Tokens,
    keys: Mapping[str, Value] | None = None,
) -> Choice:
    """The entry for a preference source: the proposal whose two texts differ least."""
    if not isinstance(chosen, Rendering) or not isinstance(rejected, Rendering):
        unknown = chosen if isinstance(chosen, Unresolved) else rejected
        return Choice({**place, "type": unknown}, {})  # type: ignore[dict-item]
    if all(outcomes(chosen, chosen, row)[0] is None for _, row in samples(chosen)):
        return Choice(dict(place), {}, (Difference("text", "all rows", "the source itself refuses every row"),))
    said = dict(keys or {})
    nearest = _nearest(chosen, rejected, dict(tokens), said)
    if nearest is None:
        return Choice(dict(place), {})
    _, _, proposal, found = nearest
    conflicts = tuple(key for key, value in proposal.config.items() if key in said and said[key] != value)
    entry, config = deepcopy((proposal.entry, proposal.config))
    return Choice({**place, **entry}, config, tuple(found), conflicts)


@remember(64)
def _nearest(chosen: Rendering, rejected: Rendering, tokens: Tokens, said: Mapping[str, Value]) -> _Ranked | None:
    """The proposal for pairs that differs least."""
    ranked = []
    for order, proposal in enumerate(pair_candidates.propose(chosen, rejected, tokens)):
        got = decode(proposal.entry, {"rl": "dpo", **proposal.config, **said}, tokens=tokens)
        first, second = got["text"].value, got["rejected"].value
        if isinstance(first, Rendering) and isinstance(second, Rendering):
            found = [*compare(chosen, first, tokens), *compare(rejected, second, tokens)]
            apart = distance(chosen, first, tokens) + distance(rejected, second, tokens)
            ranked.append(((apart, *weight(found)), order, proposal, found))
    return min(ranked, key=lambda item: item[:2]) if ranked else None


def best(
    wanted: Rendering,
    place: Mapping[str, Value],
    tokens: Tokens,
    allow_odd: bool = False,
    keys: Mapping[str, Value] | None = None,
) -> Choice:
    """The proposal that differs least: by text, then by outer blanks, then by mask; among equals the earliest."""
    if all(outcomes(wanted, wanted, row)[0] is None for _, row in samples(wanted)):
        return Choice(dict(place), {}, (Difference("text", "all rows", "the source itself refuses every row"),))
    said = dict(keys or {})
    ranked = _ranked(wanted, dict(tokens), said)
    plain = next((item for item in ranked if allow_odd or not item[2].odd), None)
    if plain is None:
        return Choice(dict(place), {})
    grade, _, proposal, found = plain
    better = next((item[2] for item in ranked if item[2].odd and item[0] < grade), None)
    conflicts = tuple(key for key, value in proposal.config.items() if key in said and said[key] != value)
    entry, config = deepcopy((proposal.entry, proposal.config))
    return Choice({**place, **entry}, config, tuple(found), conflicts, proposal.odd, better)


@remember(256)
def _ranked(wanted: Rendering, tokens: Tokens, said: Mapping[str, Value]) -> list[_Ranked]:
    """Every proposal with what it renders differently, best first."""
    ranked = []
    for order, proposal in enumerate(propose(wanted, tokens)):
        got = decode(proposal.entry, {**proposal.config, **said}, tokens=tokens)["text"].value
        if isinstance(got, Rendering):
            found = compare(wanted, got, tokens)
            ranked.append(((distance(wanted, got, tokens), *weight(found)), order, proposal, found))
    return sorted(ranked, key=lambda item: item[:2])
