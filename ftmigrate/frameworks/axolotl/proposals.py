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
    place = entry_of(source)
    texts: list[Any] = [source.get("text")]
    if source.get("rejected") is not None:
        place = {key: value for key, value in place.items() if key in pairs.KEYS}
        texts.append(source["rejected"])
    unknown = [text for text in texts if not isinstance(text, Rendering)]
    if unknown:
        # a type that no one takes for a real one: without it rows would pass for tokens already
        return Choice({**place, "type": max(unknown, key=lambda text: isinstance(text, Unresolved))}, {})
    return best(tuple(texts), place, tokens, allow_odd, keys)


def best(
    wanted: tuple[Rendering, ...],
    place: Mapping[str, Value],
    tokens: Tokens,
    allow_odd: bool = False,
    keys: Mapping[str, Value] | None = None,
) -> Choice:
    """The proposal for a text (or for the two of a pair) that differs least: by text, then by outer blanks, then by mask;
    among equals the earliest."""
    if all(outcomes(wanted[0], wanted[0], row)[0] is None for _, row in samples(wanted[0])):
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
def _ranked(wanted: tuple[Rendering, ...], tokens: Tokens, said: Mapping[str, Value]) -> list[_Ranked]:
    """Every proposal with what it renders differently, best first."""
    ranked = []
    one = len(wanted) == 1
    proposals = propose(wanted[0], tokens) if one else pair_candidates.propose(wanted[0], wanted[1], tokens)
    for order, proposal in enumerate(proposals):
        got = decode(proposal.entry, {**({} if one else {"rl": "dpo"}), **proposal.config, **said}, tokens=tokens)
        texts = [got[name].value for name in ("text", "rejected")[: len(wanted)]]
        made = [text for text in texts if isinstance(text, Rendering)]
        if len(made) == len(wanted):
            both = list(zip(wanted, made, strict=True))
            found = [difference for ours, theirs in both for difference in compare(ours, theirs, tokens)]
            apart = sum(distance(ours, theirs, tokens) for ours, theirs in both)
            ranked.append(((apart, *weight(found)), order, proposal, found))
    return sorted(ranked, key=lambda item: item[:2])
