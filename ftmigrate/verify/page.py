"""What `verify` found as one page that needs nothing else: curves laid over each other, tokens with their masks."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from ftmigrate.verify.memory_page import bars
from ftmigrate.verify.results import Outcome

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 240, 64, 28
_TOKENS = 400


def page(report: Mapping[str, Any]) -> str:
    """The page of a report as `verify --report` writes it."""
    style = (files("ftmigrate.verify") / "page.css").read_text(encoding="utf-8")
    source, target = report["source"], report["target"]
    title, head = source["path"], f"<h1>{_text(source['framework'])} {_text(source['version'])}"
    paths = f"<p class='paths'><span class='source'>{_text(source['path'])}</span>"
    if target is not None:
        title += f" and {target['path']}"
        head += f" to {_text(target['framework'])} {_text(target['version'])}"
        paths += f" and <span class='target'>{_text(target['path'])}</span>"
    head += f"</h1>{paths}</p>"
    body = "".join([head, _levels(report["levels"]), *map(_level, report["levels"]), _ledger(report)])
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{_text(title)}</title>"
        f"<style>{style}</style></head><body>{body}</body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _levels(levels: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr data-level='{_text(one['level'])}'><th>{_text(one['level'])}</th>"
        f"<td class='{_class(one['outcome'])}'>{_text(one['outcome'])}</td>"
        f"<td>{_text('; '.join(one['details'][:1]))}</td></tr>"
        for one in levels
    )
    return f"<table class='levels'>{rows}</table>"


def _class(outcome: str) -> str:
    return {Outcome.PASSED: "passed", Outcome.DIFFERS: "differs"}.get(Outcome(outcome), "open")


def _level(level: Mapping[str, Any]) -> str:
    data = level.get("data") or {}
    if not data and len(level["details"]) < 2 and not level.get("differences"):
        return ""  # the table at the top says it all
    parts = [
        f"<h2>{_text(level['level'])}: <span class='{_class(level['outcome'])}'>{_text(level['outcome'])}</span></h2>"
    ]
    parts += [f"<p>{_text(detail)}</p>" for detail in level["details"]]
    if level.get("differences"):
        parts.append("<ul class='differences'>" + "".join(map(_difference, level["differences"])) + "</ul>")
    match level["level"]:
        case "plan" if data:
            rates = [data[side]["rates"] for side in ("source", "target")]
            parts += [_curves("rates", "learning rate of each step", rates), _settings(data)]
        case "tokens" if data:
            parts.append(_grid(data))
        case "speed" if data:
            parts.append(_speed(data))
        case "memory" if data:
            parts.append(bars(data))
        case "train" if data:
            for key, name in (("loss", "loss of each step"), ("norm", "gradient norm of each step")):
                curves = [[step[key] for step in data[side] if step[key] is not None] for side in ("source", "target")]
                parts.append(_curves(key, name, curves))
    return f"<section data-level='{_text(level['level'])}'>{''.join(parts)}</section>"


def _difference(one: Mapping[str, Any]) -> str:
    marks = "confirmed by switching it" if one["confirmed"] else ""
    if one["setting"] and not one["told"]:
        marks = "not told by our reading of the files"
    setting = f"<code>{_text(one['setting'])}</code> " if one["setting"] else ""
    return f"<li>{setting}{_text(one['text'])} <em>{_text(marks)}</em></li>"


# --- curves -------------------------------------------------------------------------------------------------------


def _curves(name: str, label: str, curves: Sequence[Sequence[float]]) -> str:
    """Both sides in one chart: the target as dashes over the source, so that equal curves show both colours."""
    values = [value for curve in curves for value in curve]
    if not values:
        return ""
    least, most = min(values), max(values)
    span = (most - least) or abs(most) or 1.0
    longest = max(map(len, curves))

    def place(index: int, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - 8) * index / max(longest - 1, 1)
        y = 8 + (_HEIGHT - _BOTTOM - 8) * (1 - (value - least) / span)
        return f"{x:.1f},{y:.1f}"

    lines = "".join(
        f"<polyline class='{side}' points='{' '.join(place(i, value) for i, value in enumerate(_thin(curve)))}'/>"
        if len(curve) <= 1000
        else f"<polyline class='{side}' points='{' '.join(place(i * len(curve) // 500, v) for i, v in enumerate(_thin(curve)))}'/>"
        for side, curve in zip(("source", "target"), curves, strict=True)
    )
    texts = (
        f"<text x='{_LEFT - 6}' y='16' text-anchor='end'>{most:.4g}</text>"
        f"<text x='{_LEFT - 6}' y='{_HEIGHT - _BOTTOM}' text-anchor='end'>{least:.4g}</text>"
        f"<text x='{_LEFT}' y='{_HEIGHT - 8}'>1</text>"
        f"<text x='{_WIDTH - 8}' y='{_HEIGHT - 8}' text-anchor='end'>step {longest}</text>"
    )
    return (
        f"<figure data-curves='{name}'><figcaption>{_text(label)}: <span class='source'>source</span>, "
        f"<span class='target'>target</span></figcaption><svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' "
        f"aria-label='{_text(label)}'>{lines}{texts}</svg></figure>"
    )


def _thin(curve: Sequence[float]) -> Sequence[float]:
    """At most 500 points."""
    if len(curve) <= 1000:
        return curve
    return [curve[index * len(curve) // 500] for index in range(500)]


def _settings(data: Mapping[str, Any]) -> str:
    source, target = data["source"]["observed"], data["target"]["observed"]
    rows = "".join(
        f"<tr class='{'same' if _same(source, target, path) else 'other'}'><td><code>{_text(path)}</code></td>"
        f"<td>{_text(_shown(source, path))}</td><td>{_text(_shown(target, path))}</td></tr>"
        for path in dict.fromkeys((*source, *target))
    )
    head = "<tr><th>setting</th><th>source's program</th><th>target's program</th></tr>"
    return f"<details open><summary>what the programs resolved</summary><table class='settings'>{head}{rows}</table></details>"


def _same(source: Mapping[str, Any], target: Mapping[str, Any], path: str) -> bool:
    """Whether both show the same; what only one shows is no difference."""
    return path not in source or path not in target or bool(source[path] == target[path])


def _shown(side: Mapping[str, Any], path: str) -> str:
    if path not in side:
        return "not observed"
    found = side[path]
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


# --- tokens -------------------------------------------------------------------------------------------------------


def _grid(data: Mapping[str, Any]) -> str:
    samples = zip(data["source"], data["target"], data["texts"], data["target_texts"], strict=False)
    shown = "".join(
        f"<div class='sample'><h3>sample {number}</h3>"
        f"<div class='tokens' data-side='source'>{''.join(_tokens(one, text, other))}</div>"
        f"<div class='tokens' data-side='target'>{''.join(_tokens(other, other_text, one))}</div></div>"
        for number, (one, other, text, other_text) in enumerate(samples, 1)
    )
    legend = "<p>The upper row of a sample is the source's. <b class='t on'>trained</b> <b class='t'>masked</b> "
    return f"{legend}<b class='t apart'>not as on the other side</b></p><div class='grid'>{shown}</div>"


def _tokens(sample: Mapping[str, Any], texts: Sequence[str], other: Mapping[str, Any]) -> Iterator[str]:
    ids, trained = sample["ids"], sample["trained"]
    for index, (number, on, text) in enumerate(zip(ids[:_TOKENS], trained, texts, strict=False)):
        if index < len(other["ids"]):
            # the label of the first token changes nothing
            apart = other["ids"][index] != number or (index > 0 and other["trained"][index] != on)
        else:
            apart = any(trained[index:])
        names = "t" + (" on" if on else "") + (" apart" if apart else "")
        yield f"<b class='{names}'>{_text(text).replace(chr(10), '↵')}</b>"
    if len(ids) > _TOKENS:
        yield f" … {len(ids) - _TOKENS} more"


def _speed(data: Mapping[str, Any]) -> str:
    """Memory and speed side by side."""
    rows = (
        ("peak memory", "memory", lambda one: f"{one / 2**30:.2f} GiB"),
        ("tokens a second", "tokens_per_second", "{:,.0f}".format),
        ("time of a step", "step_seconds", "{:.3f} s".format),
        ("tokens of a step, with padding", "tokens_per_step", "{:,.0f}".format),
        ("device", "device", str),
    )
    cells = "".join(
        f"<tr><th>{name}</th>"
        + "".join(
            f"<td>{_text('not known' if data[side][key] is None else shown(data[side][key]))}</td>"
            for side in ("source", "target")
        )
        + "</tr>"
        for name, key, shown in rows
    )
    head = "<tr><th></th><th class='source'>source</th><th class='target'>target</th></tr>"
    return f"<table class='settings' data-speed>{head}{cells}</table>"


# --- the ledger ---------------------------------------------------------------------------------------------------


def _ledger(report: Mapping[str, Any]) -> str:
    """What differs by our reading of the two files, setting by setting."""
    entries = report.get("ledger")
    if entries is None:
        return ""
    head = "<section data-ledger><h2>what the ledger tells</h2>"
    if not entries:
        return f"{head}<p>By our reading of the two files no setting differs.</p></section>"
    rows = "".join(
        f"<tr data-setting='{_text(one['setting'])}'><td><code>{_text(one['setting'])}</code><br>"
        f"<em>{_text(one['verdict'])}</em></td><td>{_text(one['source'])}</td><td>{_text(one['target'])}</td>"
        f"<td>{_text(one['note'])}</td></tr>"
        for one in entries
    )
    columns = (
        "<tr><th>setting</th><th class='source'>source</th><th class='target'>target</th><th>what it means</th></tr>"
    )
    return f"{head}<table class='settings ledger'>{columns}{rows}</table></section>"
