"""Axolotl's named chat templates as data: what text stands around each turn.

`chat_templates.json` is written by tools/extract_axolotl_templates.py. An entry that is `regular` has, besides the
`sha256` of the template's text:

* `bos`: "start" or "none"; `{bos}` and `{eos}` in any text stand for the tokenizer's own tokens
* `roles`: for system, user and assistant the `header` and `footer` around a turn's content; `strip`: whether the
  content is stripped first; `separator` (optional): text between two turns
* `system_placement`: "own turn", "inside first user turn" (between its header and its content), "refused" (an error)
  or "dropped"; `default_system`: the content of a system turn put in where there is none, or null
* `empty_system`: "kept", or "absent": an empty system turn is as good as none
* `generation_prompt`: put after the last turn when asked for; `suffix`: put there when not

An entry that is not regular has a `reason` instead. `dataset_only`: the name is accepted in a dataset's entry, but
not at the top level.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

Message: TypeAlias = tuple[str, str]
Structure: TypeAlias = Mapping[str, Any]


class SystemRefused(Exception):
    """The template raises an error for a conversation with a system turn."""


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """The templates by their names in a config."""
    text = Path(__file__).with_name("chat_templates.json").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, Any]] = json.loads(text)
    return loaded


def rebuild(structure: Structure, messages: Sequence[Message], *, generation_prompt: bool = False) -> str:
    """What the template makes of a conversation of (role, content) pairs. Raises SystemRefused."""
    roles, strip = structure["roles"], structure["strip"]

    def turn(role: str, content: str) -> str:
        return f"{roles[role]['header']}{content.strip() if strip[role] else content}{roles[role]['footer']}"

    placement, system = structure["system_placement"], None
    if messages and messages[0][0] == "system":
        system, messages = messages[0][1], messages[1:]
        if placement == "refused":
            raise SystemRefused
        if placement == "dropped" or (not system and structure["empty_system"] == "absent"):
            system = None
    turns = []
    if system is None and structure["default_system"] is not None:
        turns.append(f"{roles['system']['header']}{structure['default_system']}{roles['system']['footer']}")
    elif system is not None and placement == "own turn":
        turns.append(turn("system", system))
    inside = turn("system", system) if system is not None and placement == "inside first user turn" else ""
    for role, content in messages:
        text = turn(role, content)
        if inside and role == "user":
            header = roles["user"]["header"]
            text, inside = header + inside + text.removeprefix(header), ""
        turns.append(text)
    end = structure["generation_prompt"] if generation_prompt else structure["suffix"]
    start = "{bos}" if structure["bos"] == "start" else ""
    return start + str(structure.get("separator", "")).join(turns) + str(end)
