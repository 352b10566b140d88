"""Axolotl's named chat templates as chat formats."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from msgspec.structs import replace

from ftmigrate.frameworks.axolotl.chat_templates import Structure, catalogue
from ftmigrate.run.rendering import ChatFormat, TurnFormat

GLUED = "inside first user turn"


class NamedFormat(NamedTuple):
    """drops_system: the template leaves system messages out without a word. opens: what its generation prompt has
    beside the reply's header, else ""."""

    shape: ChatFormat
    drops_system: bool
    opens: str = ""


_CHATML = {role: TurnFormat(f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ("system", "user", "assistant")}
_QWEN3 = ChatFormat(
    {**_CHATML, "assistant": replace(_CHATML["assistant"], thinking="drop")},
    last={"assistant": replace(_CHATML["assistant"], thinking="show")},
)
# templates that rewrite thoughts, of which no structure is generated
_THINKING = {name: NamedFormat(_QWEN3, False, "<think>\n\n") for name in ("qwen3", "qwen3_5")}


@cache
def formats() -> Mapping[str, NamedFormat]:
    """The templates whose structure is known, by name."""
    return {**{name: _format(entry) for name, entry in catalogue().items() if entry["regular"]}, **_THINKING}


def why_not(name: str) -> str | None:
    """Why a template has no format here: its own reason, or None for a name that Axolotl does not have."""
    entry = catalogue().get(name)
    return None if entry is None else str(entry.get("reason", ""))


def _format(entry: Structure) -> NamedFormat:
    strip, placement = entry["strip"], entry["system_placement"]
    separator = str(entry.get("separator", ""))
    turns = {
        role: TurnFormat(parts["header"], parts["footer"], bool(strip[role])) for role, parts in entry["roles"].items()
    }
    system = turns.pop("system", None)
    around = None
    if system is not None and placement == GLUED:
        around = (system.header, system.footer)
    elif system is not None:
        turns = {"system": system, **turns}
    first = {}
    if "first_user_header" in entry:
        user = turns["user"]
        first["user"] = TurnFormat(entry["first_user_header"], user.footer + separator, user.strip)
    return NamedFormat(
        ChatFormat(
            roles={role: TurnFormat(turn.header, turn.footer + separator, turn.strip) for role, turn in turns.items()},
            prefix="{bos}" if entry["bos"] == "start" else "",
            suffix=str(entry["suffix"]),
            default_system=entry["default_system"],
            first=first,
            last=turns if separator else {},
            system_in_user=around,
            system_strip=bool(strip["system"]),
            skip_empty_system=entry["empty_system"] == "absent",
        ),
        placement == "dropped",
    )
