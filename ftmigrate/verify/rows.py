"""Rows made for a trial: of the shape that a run's sources read, or a sample of the user's own where they lie here."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ftmigrate.run.columns import columns
from ftmigrate.run.model import NOT_APPLICABLE, Run
from ftmigrate.run.rendering import (
    Conversation,
    Item,
    Labelled,
    Listed,
    Rendering,
    Segment,
    Steps,
    Stripped,
    Tokens,
    When,
)
from ftmigrate.run.source import Location

COUNT = 48
MOST = 1024
_WORDS = (
    "river", "town", "over", "small", "green", "why", "name", "they", "walk", "is", "a", "the", "of", "light", "stone",
    "paper", "rain", "seven", "slow",
)  # fmt: skip
_TALKS = (("user", "assistant"), ("system", "user", "assistant"), ("user", "assistant", "user", "assistant"))
_SEED = 7


class NoRows(Exception):
    """What a source's rows look like is not known, so none can be made; the text says why."""


def sources(runs: Sequence[Run], count: int = COUNT) -> list[list[dict[str, Any]]]:
    """Rows for each source, that all of the runs can read. Raises NoRows."""
    found = []
    for index in range(max(run.sources for run in runs)):
        texts: list[Rendering] = []
        empty: set[str] = set()
        for run in runs:
            first = run is runs[0]
            for name in ("text", "rejected"):
                setting = run.settings.get(f"data.sources[{index}].{name}")
                if setting is None or setting.value is NOT_APPLICABLE:
                    continue
                if not isinstance(setting.value, Rendering):
                    raise NoRows(f"how rows of source {index + 1} become text is not known: {setting.value}")
                texts.append(setting.value)
                empty |= _chosen(setting.value.segments) if first else set()
        if not texts:
            raise NoRows(f"how rows of source {index + 1} become text is not known")
        found.append(_own(runs, index, count) or _made(texts, empty, count, random.Random(_SEED + index)))
    return found


def _own(runs: Sequence[Run], index: int, count: int) -> list[dict[str, Any]]:
    """The first rows of a local JSON file that a run names."""
    for run in runs:
        setting = run.settings.get(f"data.sources[{index}].location")
        location = setting.value if setting else None
        if not isinstance(location, Location):
            continue
        for name in location.files or (location.path,):
            path = Path(name)
            if path.is_file() and path.suffix in (".json", ".jsonl"):
                with path.open(encoding="utf-8") as file:
                    first = file.read(1)
                    file.seek(0)
                    rows = (
                        json.load(file)
                        if first == "["
                        else [json.loads(line) for line in islice(file, count) if line.strip()]
                    )
                return [dict(row) for row in rows[:count]]
    return []


def _made(texts: Sequence[Rendering], empty: set[str], count: int, draw: random.Random) -> list[dict[str, Any]]:
    readers: dict[str, list[Listed | None]] = {}
    for text in texts:
        for name, talk in columns(text.segments).items():
            readers.setdefault(name, []).append(talk)
    names = {name: _read_as(found) for name, found in readers.items()}
    rows = []
    for number in range(count):
        row: dict[str, Any] = {}
        turns = _TALKS[number % len(_TALKS)]
        shared = [_words(draw, 3, 12) for _ in turns]
        for name, talk in names.items():
            if talk is None:
                row[name] = _words(draw, 2, 40)
            elif isinstance(talk, Tokens | Steps):
                row[name] = _marked(talk, name, turns, shared)
                if isinstance(talk, Tokens):  # whoever reads tokens asks for it too
                    row["attention_mask"] = [1] * len(row[name])
            else:
                row[name] = _talk(talk, turns, [*shared[:-1], _words(draw, 2, 40)])
        for name in sorted(empty & set(row)):
            if number % 2 and names[name] is None and len(names) > 1:
                row[name] = ""
        rows.append(row)
    return rows


def _read_as(readers: Sequence[Listed | None]) -> Listed | None:
    """What a column holds that all of its readers can read; None: a text."""
    lists = [one for one in readers if one is not None]
    texts = len(lists) < len(readers)
    if texts and all(isinstance(one, Conversation) and one.or_text for one in lists):
        return None
    talks = [one for one in lists if isinstance(one, Conversation)]
    if len(talks) == len(lists) > 0:
        return min(talks, key=lambda one: len(one.roles))  # the others know more names of roles
    return lists[0] if lists else None


def _chosen(segments: Sequence[Segment]) -> set[str]:
    """The columns that decide by being empty which text a row becomes."""
    found: set[str] = set()
    for segment in segments:
        match segment:
            case When(column, then, otherwise):
                found |= {column} | _chosen((*then, *otherwise))
            case Stripped(inner):
                found |= _chosen(inner)
            case Conversation(turns=turns):
                found |= {name for turn in turns for name in _chosen(turn.content)}
            case _:
                pass
    return found


def _words(draw: random.Random, least: int, most: int) -> str:
    return " ".join(draw.choices(_WORDS, k=draw.randint(least, most))).capitalize() + "."


def _marked(listed: Tokens | Steps, name: str, turns: Sequence[str], texts: Sequence[str]) -> list[Any]:
    """A text's bytes as its tokens, those of replies trained; or texts as steps, replies the good ones."""
    if isinstance(listed, Steps):
        return [role == "assistant" for role in turns] if name == listed.labels else list(texts)
    ids = [(byte, role) for role, text in zip(turns, texts, strict=True) for byte in text.encode()]
    return [byte if name == listed.column or role == "assistant" else -100 for byte, role in ids]


def _talk(talk: Conversation | Labelled | Item, turns: Sequence[str], texts: Sequence[str]) -> list[dict[str, Any]]:
    if isinstance(talk, Labelled):
        return [
            {talk.label_key: role == "assistant", talk.text_key: text} for role, text in zip(turns, texts, strict=True)
        ]
    if isinstance(talk, Item):
        return [{"role": role, talk.key: text} for role, text in zip(turns, texts, strict=True)]
    names = {role: name for name, role in reversed(list(talk.roles.items()))}
    return [
        {talk.role_key: names.get(role, role), talk.content_key: text} for role, text in zip(turns, texts, strict=True)
    ]


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def needed(runs: Sequence[Run]) -> int:
    """Enough rows for three optimizer steps and a ragged end of a run."""
    found = COUNT
    for run in runs:
        size, steps = run["batch.micro_size"], run["batch.accumulation"]
        if isinstance(size, int) and isinstance(steps, int):
            found = max(found, 3 * size * steps)
    return min(found, MOST)
