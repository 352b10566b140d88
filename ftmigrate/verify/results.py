"""The levels of `verify`, and what one found, for text, JSON and HTML alike."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

ALONE = ("schema", "load")
"""The levels that look at one file only."""
PAIRED = ("shapes", "plan", "tokens", "train")
"""Those that run both sides."""
APART = ("memory",)
"""What stands by itself: it includes no other level, and none includes it."""
LEVELS = (*ALONE, *PAIRED, *APART)


def included(level: str) -> tuple[str, ...]:
    """The levels that are checked for a level: itself and, unless it stands apart, those before it."""
    return (level,) if level in APART else LEVELS[: LEVELS.index(level) + 1]


class Outcome(StrEnum):
    PASSED = "passed"
    DIFFERS = "differs"
    NOT_RUN = "could not run"


class Difference(Struct, frozen=True):
    """Where the two sides differ: what was seen, and the setting of the vocabulary that explains it.

    told: whether our reading of the two files says so too. confirmed: whether the difference was seen to go when only
    this setting was switched.
    """

    setting: str | None
    text: str
    told: bool = False
    confirmed: bool = False

    def line(self) -> str:
        because = f"{self.setting}: {self.text}" if self.setting else self.text
        how = ["confirmed by switching it"] if self.confirmed else []
        how += [] if self.told or self.setting is None else ["not told by our reading of the files"]
        return because + (f" ({'; '.join(how)})" if how else "")

    def json(self) -> dict[str, Any]:
        return {"setting": self.setting, "text": self.text, "told": self.told, "confirmed": self.confirmed}


class Result(Struct, frozen=True):
    """What one level found; `details` in the user's words, `data` what a page draws."""

    level: str
    outcome: Outcome
    details: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"level": self.level, "outcome": str(self.outcome), "details": list(self.details)}
        if self.differences:
            found["differences"] = [one.json() for one in self.differences]
        if self.data:
            found["data"] = dict(self.data)
        return found


def status(results: list[Result]) -> int:
    """0 passed, 1 a level found a difference, 2 a level could not run."""
    if any(result.outcome is Outcome.DIFFERS for result in results):
        return 1
    return 2 if any(result.outcome is Outcome.NOT_RUN for result in results) else 0
