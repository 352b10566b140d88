"""Named conditions: when a setting applies, when a key has an effect. Reader, writer and linter share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class View(Protocol):
    """What a condition may look at: settings (read lazily), and which recipe and version are read."""

    recipe: str | None

    @property
    def version(self) -> str: ...

    def get(self, setting: str) -> object: ...


class Condition(Struct, frozen=True):
    """`words` completes "applies only when …"; `settings` are those it looks at."""

    words: str
    holds: Callable[[View], bool]
    settings: tuple[str, ...] = ()


def is_(setting: str, *values: object) -> Condition:
    """The setting has one of the values."""
    words = f"{setting} is " + " or ".join(str(value) for value in values)
    return Condition(words, lambda view: view.get(setting) in values, (setting,))


def is_not(setting: str, *values: object) -> Condition:
    words = f"{setting} is not " + " or ".join(str(value) for value in values)
    return Condition(words, lambda view: view.get(setting) not in values, (setting,))


def recipe(*names: str) -> Condition:
    """The run uses one of these recipes."""
    return Condition("the recipe is " + " or ".join(names), lambda view: view.recipe in names)


def both(*conditions: Condition) -> Condition:
    return Condition(
        " and ".join(condition.words for condition in conditions),
        lambda view: all(condition.holds(view) for condition in conditions),
        tuple(setting for condition in conditions for setting in condition.settings),
    )


def negate(condition: Condition, words: str) -> Condition:
    return Condition(words, lambda view: not condition.holds(view), condition.settings)
