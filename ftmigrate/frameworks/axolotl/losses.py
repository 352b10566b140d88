"""How much a difference between two renderings costs, from runs of both frameworks on a tiny Llama.

Figures are the greatest difference of the loss over the first 12 optimizer steps, all else equal; they depend on the
data, and headers are a larger share of the trained text there than in practice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ftmigrate.run.rendering import PADDED, Difference


class Measure(NamedTuple):
    """What was measured for one class of differences."""

    words: str
    loss: str


MEASURED = {
    "header": Measure("the text around a reply (its header) is not trained", "0.076 to 0.11"),
    "all headers": Measure("all turns are trained, but not the text around them", "0.009"),
    "contents": Measure("other turns are trained", "0.15"),
    "blanks": Measure("white space around a reply is kept", "0.0009 with such blanks in 7 of 48 rows"),
    "text": Measure("the text itself is another", "0.026 for an alpaca prompt without its chat format"),
}
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_CONTENT = re.compile(r"<[^<>|]+ \d>\\n")  # how the sample rows fill a column or a message


def effect(differences: Sequence[Difference]) -> str:
    """The measured cost of the gravest difference, in words; "" where there is none or nothing was measured."""
    kind = _kind(differences)
    if kind is None:
        return ""
    words, loss = MEASURED[kind]
    return f"{words}; measured on a tiny model: {loss} in loss over the first 12 steps"


def _kind(differences: Sequence[Difference]) -> str | None:
    texts = [item for item in differences if item.kind == "text" and not item.where.startswith("empty")]
    if any(item.where != PADDED for item in texts):
        return "text"
    masks = [item.detail for item in differences if item.kind == "mask"]
    if masks:
        return _mask(masks)
    return "blanks" if texts else None


def _mask(details: Iterable[str]) -> str | None:
    lost: dict[str, None] = {}
    for detail in details:
        before, _, added = detail.partition("trained besides: ")
        quoted = _QUOTED.findall(before)
        if any(_CONTENT.search(text) for text in (*quoted, added)):
            return "contents"
        if added or not quoted:
            return None
        lost.update(dict.fromkeys(quoted))
    if all(len(text[1:-1].replace("\\n", "").strip()) == 0 for text in lost):
        return None  # a space or a newline alone was not measured
    users = [text for text in lost if re.search(r"\buser\b|INST", text)]
    return "all headers" if users else "header"
