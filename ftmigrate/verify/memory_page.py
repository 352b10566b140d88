"""The peaks of level `memory` on the page: a bar for each side, split into its parts, and the figures below."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from ftmigrate.verify.memory_words import PHASES, WORDS, gib

_COLOURS: Mapping[str, str] = {
    "weights": "#4c6a92", "gradients": "#7f9c5b", "optimizer": "#b08a3e", "step": "#d0b878", "logits": "#a5524b",
    "activations": "#8f6fa8", "communication": "#5b9c9c", "paged": "#bbbbbb",
}  # fmt: skip
_WIDTH, _ROW, _LEFT = 640, 34, 64


def bars(data: Mapping[str, Any]) -> str:
    """data: of the level's result, by side."""
    sides = {name: data[name] for name in ("source", "target") if name in data}
    longest = max((one["bytes"] for one in sides.values()), default=0) or 1
    drawn = "".join(_bar(index, name, one, longest) for index, (name, one) in enumerate(sides.items()))
    height = _ROW * len(sides) + 4
    figure = (
        f"<figure data-memory='peak'><figcaption>memory of each device at its peak</figcaption>"
        f"<svg viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='memory of each device at its peak'>{drawn}</svg></figure>"
    )
    return figure + _table(sides)


def _bar(index: int, name: str, one: Mapping[str, Any], longest: int) -> str:
    top, x, found = index * _ROW + 4, float(_LEFT), []
    for part, size in one["split"].items():
        width = (_WIDTH - _LEFT - 80) * size / longest
        if part == "paged" or width < 0.05:
            continue
        title = f"<title>{html.escape(WORDS[part])}: {gib(size)} GiB</title>"
        found.append(
            f"<rect x='{x:.1f}' y='{top}' width='{width:.1f}' height='{_ROW - 10}' fill='{_COLOURS[part]}'>{title}</rect>"
        )
        x += width
    label = f"<text x='{_LEFT - 6}' y='{top + 16}' text-anchor='end'>{name}</text>"
    return f"{label}{''.join(found)}<text x='{x + 6:.1f}' y='{top + 16}'>{gib(one['bytes'])} GiB</text>"


def _table(sides: Mapping[str, Mapping[str, Any]]) -> str:
    head = "<tr><th>part</th>" + "".join(f"<th>{name}, GiB</th>" for name in sides) + "</tr>"
    rows = "".join(
        f"<tr><td><i style='background:{_COLOURS[part]}' class='key'></i> {html.escape(words)}</td>"
        + "".join(f"<td>{gib(one['split'].get(part, 0))}</td>" for one in sides.values())
        + "</tr>"
        for part, words in WORDS.items()
        if any(one["split"].get(part) for one in sides.values())
    )
    last = "<tr><td>peak</td>" + "".join(f"<td>{PHASES[one['phase']]}</td>" for one in sides.values()) + "</tr>"
    return f"<table class='settings'>{head}{rows}{last}</table>"
