"""A run: every setting of the vocabulary with its value and where the value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from ftmigrate.document.model import Path


class Origin(StrEnum):
    """Where a value comes from."""

    EXPLICIT = "explicit"
    OVERRIDE = "override"
    DEFAULT = "default"
    BEHAVIOUR = "behaviour"
    DERIVED = "derived"
    NOT_APPLICABLE = "not applicable"


class _NotApplicable:
    """The value of a setting whose condition does not hold."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "not applicable"


NOT_APPLICABLE = _NotApplicable()


class External(Struct, frozen=True):
    """A fact that stands outside the file (a `config.json`, a tokenizer's own template). Equal references are equal."""

    reference: str

    def __str__(self) -> str:
        return f"from {self.reference}"


class Symbol(Struct, frozen=True):
    """A number that the file does not hold (the world size W, the number of machines N)."""

    name: str

    def __str__(self) -> str:
        return self.name


WORLD_SIZE = Symbol("W")
ALL_LINEAR = "all linear layers of the model"
NODES = Symbol("N")


class Share(Struct, frozen=True):
    """A number of optimizer steps that is a share of all, which the file does not count; never more than `most`."""

    part: float
    most: int | None = None

    def of(self, total: int) -> int:
        """So many steps of a run of this length."""
        steps = int(self.part * total)
        return steps if self.most is None else min(steps, self.most)

    def __str__(self) -> str:
        limit = "" if self.most is None else f", at most {self.most}"
        return f"{100 * self.part:g} % of all steps{limit}"


class AllLinear(tuple[str, ...]):
    """Names of layers that are known to be all linear layers of the model but the output."""

    __slots__ = ()


class Setting(Struct, frozen=True):
    """One setting of one run. `leaves` are the document paths it was read from; `why` grounds a behaviour or default."""

    path: str
    value: object
    origin: Origin
    leaves: tuple[Path, ...] = ()
    why: str = ""


class ClaimKind(StrEnum):
    """What a leaf is to the framework."""

    SETTING = "setting"
    VARIABLE = "variable"
    INERT = "inert"
    PRIVATE = "private"
    PENDING = "pending"
    UNKNOWN = "unknown"
    CUSTOM = "custom"


class Claim(Struct, frozen=True):
    """What a leaf does: for all but SETTING, `why` says it in words."""

    kind: ClaimKind
    why: str = ""
    settings: tuple[str, ...] = ()


class Run(Struct, frozen=True):
    """A complete run. `claims` has exactly one claim per leaf of the document."""

    framework: str
    version: str
    recipe: str | None
    recipe_from: str
    name: str
    settings: Mapping[str, Setting]
    claims: Mapping[Path, Claim]
    notes: tuple[str, ...] = ()
    sources: int = 0
    tokens: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, path: str) -> object:
        return self.settings[path].value

    def applies(self, path: str) -> bool:
        return self.settings[path].value is not NOT_APPLICABLE
