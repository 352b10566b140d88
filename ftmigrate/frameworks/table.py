"""The entries of a framework's table. The same entry reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from ftmigrate.document.model import Document, Path, Unresolved, Value, format_path
from ftmigrate.run.conditions import Condition, View
from ftmigrate.run.model import Claim, Run
from ftmigrate.run.source import Decoded

if TYPE_CHECKING:
    from ftmigrate.frameworks.reader import Reader


class _Absent:
    __slots__ = ()

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""A key that does not stand in the document."""

SCHEMA = _Absent()
"""As a field's default: what the pinned schema says."""


class CannotSay(Exception):
    """The framework has no spelling for this value; the text says why, and what the nearest is."""


class Nearest(NamedTuple):
    """What a key is given where it cannot hold the wanted value; why, in words."""

    value: Value
    why: str


def plain(value: object) -> Value:
    """A value as a config can hold it. Raises CannotSay for what only a run knows."""
    if value is None or isinstance(value, bool | int | float | str | Unresolved):
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    raise CannotSay(f"{value} cannot be written into a config")


class Codec(Struct, frozen=True):
    """What the framework makes of a key's value, and the value that gives a wanted meaning.

    decode never fails on a value the schema allows; encode raises CannotSay, or gives what comes nearest. `words` tells an adapted value's reader
    how it changed.
    """

    decode: Callable[[Any, View], object]
    encode: Callable[[Any, View], Value | Nearest]
    words: str = ""


def _same(value: Any, _: View) -> Any:
    return value


SAME = Codec(_same, _same)


def _encode_number(value: Any, _: View) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CannotSay(f"{value} is no number")
    return value


NUMBER = Codec(lambda value, _: _number(value), _encode_number)


def _number(value: Any) -> Any:
    """A number written as text, as the framework's own loader turns it into one; else the value itself."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


_PLAIN = (str, int, float, type(None))


def names(table: Mapping[Any, object], *, words: str = "") -> Codec:
    """A codec from the framework's spellings to canonical values; the first spelling of a value is the one written."""
    inverse: dict[object, Any] = {}
    for spelling, meaning in table.items():
        inverse.setdefault(meaning, spelling)

    def decode(value: Any, _: View) -> object:
        return table.get(value, value) if isinstance(value, _PLAIN) else value

    def encode(value: Any, _: View) -> Value:
        if not isinstance(value, _PLAIN) or value not in inverse:
            known = ", ".join(str(meaning) for meaning in inverse)
            raise CannotSay(f"{value} cannot be said; what can be said: {known}")
        spelling: Value = inverse[value]
        return spelling

    return Codec(decode, encode, words)


def reading(decode: Callable[[Any], object], words: str = "") -> Codec:
    """A codec for values that are read but never written by this entry."""

    def encode(value: Any, _: View) -> Value:
        raise CannotSay(f"{value} is not written by this key")

    return Codec(lambda value, _: decode(value), encode, words)


class Field(Struct, frozen=True):
    """One key that says one setting.

    absent: the setting's value when the key is not there (SCHEMA: the pinned schema's default, decoded; a callable:
    computed from the view). null_absent: a null means the same as no key (None: the framework's own rule).
    proof: id of the probe case that showed the effect. exact_only: written only in exact mode. write: False for a
    second spelling that is only read. quiet: not written where the same holds without it.
    """

    key: str
    setting: str
    codec: Codec = SAME
    absent: object = SCHEMA
    when: Condition | None = None
    proof: str | None = None
    exact_only: bool = False
    write: bool = True
    quiet: bool = False
    null_absent: bool | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def settings(self) -> tuple[str, ...]:
        return (self.setting,)


Keys: TypeAlias = Mapping[str, Value]


class Group(Struct, frozen=True):
    """Several keys that together say several settings.

    decode gets the values present and answers each setting with the keys that fed it (an empty tuple: the default; no
    answer: the next entry has it).
    propose yields candidate keys for the wanted settings; the one whose decoded settings fit best is written.
    """

    keys: tuple[str, ...]
    settings: tuple[str, ...]
    decode: Callable[[Keys, Reader], Mapping[str, Decoded]]
    propose: Callable[[Mapping[str, Any], Reader], Iterable[Mapping[str, Value]]] | None = None
    when: Condition | None = None
    proof: str | None = None
    exact_only: bool = False


class Sources(Struct, frozen=True):
    """The keys that say the list of data sources.

    decode answers one mapping of settings per source (setting name without its prefix -> value and leaf paths).
    write gives keys for wanted sources. shared: global keys that change what every source means. after: settings that
    are written first, because what an entry means depends on them.
    """

    own: tuple[str, ...]
    shared: tuple[str, ...]
    decode: Callable[[Reader], Sequence[Mapping[str, SourceSetting]]]
    write: Callable[[Sequence[Mapping[str, Any]], Wanted], Mapping[str, Value]] | None = None
    after: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.own, *self.shared)


class Wanted(Struct, frozen=True):
    """What the writing of sources may look at besides them.

    run: the source's. tokens: what `{bos}` and `{eos}` mean. exact: odd means may be used too. reader: what is planned
    so far, as the target reads it.
    """

    run: Run
    tokens: Mapping[str, str]
    exact: bool
    reader: Reader


class SourceSetting(Struct, frozen=True):
    value: object
    leaves: tuple[Path, ...] = ()
    why: str = ""


class Always(Struct, frozen=True):
    """No key says it: the framework always behaves so. `why` names the place in its source."""

    setting: str
    value: object
    why: str
    when: Condition | None = None
    proof: str | None = None
    keys: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple[str, ...]:
        return (self.setting,)


class Derived(Struct, frozen=True):
    """Follows from other settings or from facts beside the keys (header, launch command, local files)."""

    settings: tuple[str, ...]
    compute: Callable[[Reader], Mapping[str, Decoded]]
    why: str
    when: Condition | None = None
    keys: tuple[str, ...] = ()


class Missing(Struct, frozen=True):
    """The framework has no such feature: the setting is off."""

    setting: str
    value: object = None
    why: str = "no such feature"
    keys: tuple[str, ...] = ()
    when: Condition | None = None

    @property
    def settings(self) -> tuple[str, ...]:
        return (self.setting,)


class Private(Struct, frozen=True):
    """A key with an effect that only this framework has. off: values without effect; reporting: it changes no run."""

    key: str
    effect: str
    off: tuple[object, ...] = (None, False)
    when: Condition | None = None
    reporting: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)


class Unread(Struct, frozen=True):
    """A key without effect on training, or never read; `why` says which."""

    key: str
    why: str
    when: Condition | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)


class Pending(Struct, frozen=True):
    """A key of the schema that is not yet answered."""

    key: str

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)


class Heading(Struct, frozen=True):
    """Not an entry: the keys that follow are written under this heading."""

    title: str


class Between(Struct, frozen=True):
    """Not an entry: entries that hold from the release `since` on and before `until` (None: without such an end)."""

    since: str | None
    until: str | None
    entries: tuple[Entry, ...]


def in_force(entries: Iterable[Entry | Between], version: str, order: Sequence[str]) -> tuple[Entry, ...]:
    """The entries that hold at a version; `order` lists all versions, oldest first."""
    at = order.index(version)
    found: list[Entry] = []
    for entry in entries:
        if not isinstance(entry, Between):
            found.append(entry)
        elif (entry.since is None or order.index(entry.since) <= at) and (
            entry.until is None or at < order.index(entry.until)
        ):
            found += entry.entries
    return tuple(found)


Answer: TypeAlias = "Field | Group | Always | Derived | Missing"
Entry: TypeAlias = "Field | Group | Sources | Always | Derived | Missing | Private | Unread | Pending | Heading"


class Table(Struct, frozen=True):
    """A framework's table at one version.

    null_is_absent: what an empty key means unless an entry says otherwise. header: comment lines that the reader looks
    at and that a config for a source's run begins with (the framework's launch command, where it stands in comments
    only). Raises CannotSay where the framework has nothing for such a run. default_of: the pinned default of a key
    (ABSENT where there is none) in the context of what is read. unknown: the claim of a leaf that the framework does
    not read at all, or that belongs to somebody else's component; None for those it reads. refuse: why a config as a
    whole is not taken; objects: keys that are not taken with what else the config says, with the reason. lacks: methods
    that the framework has no form of, with the reason and the nearest thing.
    """

    framework: str
    version: str
    entries: tuple[Entry, ...]
    default_of: Callable[[str, Reader], object]
    unknown: Callable[[Path, Reader], Claim | None]
    null_is_absent: bool
    recipe_of: Callable[[Document, str | None], tuple[str | None, str]] = lambda _doc, told: (told, "told")
    tokens: Callable[[Reader], Mapping[str, str]] = lambda _reader: {}
    notes: Callable[[Reader], tuple[str, ...]] = lambda _reader: ()
    refuse: Callable[[Reader], str | None] = lambda _reader: None
    lacks: Mapping[str, str] = field(default_factory=dict)
    objects: Callable[[Reader], Mapping[str, str]] = lambda _reader: {}
    header: Callable[[Run], tuple[str, ...]] = lambda _run: ()
    by_setting: Mapping[str, tuple[Answer, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found: dict[str, list[Answer]] = {}
        for entry in self.entries:
            if isinstance(entry, Field | Group | Always | Derived | Missing):
                for setting in entry.settings:
                    found.setdefault(setting, []).append(entry)
        force_setattr(self, "by_setting", {setting: tuple(entries) for setting, entries in found.items()})

    @property
    def sources(self) -> Sources:
        return next(entry for entry in self.entries if isinstance(entry, Sources))

    @property
    def has_exact(self) -> bool:
        """Whether the exact mode writes anything else."""
        return any(getattr(entry, "exact_only", False) for entry in self.entries)

    def order(self) -> list[tuple[str, str]]:
        """Every key that can be written with its heading, in the order in which it is written.

        A section stands under the heading of the first entry that begins with one of its keys; an entry of the exact mode,
        or of the sources, is that only for keys that no other has.
        """
        title = ""
        found: dict[str, str] = {}
        sections: dict[str, str] = {}
        elsewhere = {key for e in self.entries if not _borrows(e) for key in e.keys}  # type: ignore[union-attr]
        for entry in self.entries:
            if isinstance(entry, Heading):
                title = entry.title
                continue
            for key in entry.keys:
                if not _borrows(entry) or key not in elsewhere:
                    found.setdefault(key, title)
            for key in entry.keys[:1]:
                if not _borrows(entry) or key not in elsewhere:
                    sections.setdefault(key.split(".", 1)[0], title)
        return [(key, sections.get(key.split(".", 1)[0], title)) for key, title in found.items()]


def _borrows(entry: Entry) -> bool:
    return isinstance(entry, Heading | Sources) or bool(getattr(entry, "exact_only", False))


def proven(
    entries: tuple[Entry, ...], moved: Mapping[str, tuple[str, ...]], seen: Sequence[str] = ()
) -> tuple[Entry, ...]:
    """The entries with their proofs: `moved` names the settings that each key was seen to move in the framework itself,
    `seen` the settings in which it always was seen to behave as the table says.
    """

    def proof(entry: Entry) -> Entry:
        if isinstance(entry, Field | Group):
            for key in entry.keys:
                if set(moved.get(key, ())) & set(entry.settings):
                    return replace(entry, proof=f"referee: {key}")
        if isinstance(entry, Always) and entry.setting in seen:
            return replace(entry, proof=f"referee: {entry.setting}")
        return entry

    return tuple(map(proof, entries))


def matches(pattern: str, path: Path) -> bool:
    """Whether a document path falls under a table key: `a.b` covers `a.b` and all below; `a[].b` any item of `a`."""
    wanted = _parts(pattern)
    if len(path) < len(wanted) or wanted[0] != path[0]:
        return False
    if "[]" not in wanted:
        return path[: len(wanted)] == wanted
    return all((part == "[]" and isinstance(key, int)) or part == key for part, key in zip(wanted, path, strict=False))


@cache
def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.replace("[]", ".[]").split("."))


@lru_cache(maxsize=4096)
def to_path(key: str) -> Path:
    """A table key without `[]` as a document path."""
    return tuple(key.split("."))


def dotted(path: Path) -> str:
    return format_path(path)
