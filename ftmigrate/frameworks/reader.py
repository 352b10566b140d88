"""Reading: document + table -> complete run. Settings are read lazily, so that conditions may look at each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from ftmigrate.document.model import Document, Key, Leaf, Path, Source, Unresolved, Value, format_path
from ftmigrate.frameworks.table import (
    ABSENT,
    SCHEMA,
    Always,
    Answer,
    Derived,
    Field,
    Group,
    Missing,
    Pending,
    Private,
    Sources,
    SourceSetting,
    Table,
    Unread,
    matches,
    to_path,
)
from ftmigrate.run import vocabulary
from ftmigrate.run.model import NOT_APPLICABLE, Claim, ClaimKind, Origin, Run, Setting, Symbol
from ftmigrate.run.source import Decoded

_UNASKED = object()


class Context(Struct, frozen=True):
    """What describes the run besides the file: told recipe, world size, number of rows, number of machines.

    stem: the name of the file that is written but for its ending, after which is named what stands beside it.
    """

    recipe: str | None = None
    world_size: int | None = None
    rows: int | None = None
    nodes: int | Symbol | None = None
    stem: str = ""


class Reader(Struct):
    """One reading of one document. Entries' functions see it as their view."""

    table: Table
    document: Document
    context: Context = field(default_factory=Context)
    recipe: str | None = None
    recipe_from: str = ""
    _values: dict[str, Any] = field(default_factory=dict)
    _settings: dict[str, Setting] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _groups: dict[int, Mapping[str, Decoded]] = field(default_factory=dict)
    _order: dict[Path, int] = field(default_factory=dict)
    _tops: dict[Key, list[Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, path in enumerate(self.document.leaves):
            self._order[path] = number
            self._tops.setdefault(path[0], []).append(path)
        self.recipe, self.recipe_from = self.table.recipe_of(self.document, self.context.recipe)

    @property
    def version(self) -> str:
        return self.table.version

    # --- keys ---------------------------------------------------------------------------------------------------

    def value(self, key: str) -> Any:
        """The document's value at a table key; ABSENT where there is none, or where an empty key means none."""
        found = self._values.get(key, _UNASKED)
        if found is _UNASKED:
            found = self._values[key] = self._value(key)
        return found

    def _value(self, key: str) -> Any:
        path = to_path(key)
        value: Value = self.document.tree
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return ABSENT
            value = value[part]
        claim = self.table.unknown(path, self)
        if claim is not None and claim.kind is not ClaimKind.CUSTOM:
            return ABSENT
        return ABSENT if value is None and self.table.null_is_absent else value

    def present(self, key: str) -> bool:
        return self.value(key) is not ABSENT

    def or_default(self, key: str) -> Any:
        """The key's value, else the pinned default, else None."""
        value = self.value(key)
        if value is ABSENT:
            value = self.table.default_of(key, self)
        return None if value is ABSENT else value

    def leaves(self, keys: Iterable[str]) -> tuple[Path, ...]:
        """The leaves that stand under these table keys, in the order of the text."""
        found = [
            leaf
            for key in keys
            for leaf in self._tops.get(key.partition(".")[0].partition("[")[0], ())
            if matches(key, leaf)
        ]
        return tuple(sorted(dict.fromkeys(found), key=self._order.__getitem__) if len(found) > 1 else found)

    def below(self, heads: Sequence[Path]) -> tuple[Path, ...]:
        """The leaves at or under these paths, in the order of the text."""
        tops = dict.fromkeys(head[0] for head in heads)
        found = [path for top in tops for path in self._tops.get(top, ()) if any(path[: len(h)] == h for h in heads)]
        return tuple(sorted(found, key=self._order.__getitem__) if len(tops) > 1 else found)

    # --- settings -----------------------------------------------------------------------------------------------

    def get(self, setting: str) -> Any:
        return self.setting(setting).value

    def setting(self, path: str) -> Setting:
        found = self._settings.get(path)
        if found is None:
            if path in self._open:
                raise RuntimeError("settings depend on each other: " + " -> ".join([*self._open, path]))
            self._open.append(path)
            try:
                found = self._settings[path] = self._read(path)
            finally:
                self._open.pop()
        return found

    def _read(self, path: str) -> Setting:
        condition = vocabulary.spec(path).when
        if condition is not None and not condition.holds(self):
            return Setting(path, NOT_APPLICABLE, Origin.NOT_APPLICABLE, why=f"applies when {condition.words}")
        fallback: Setting | None = None
        for entry in self.table.by_setting.get(path, ()):
            if entry.when is not None and not entry.when.holds(self):
                continue
            found = self._answer(entry, path)
            if found is None:
                continue
            if found.leaves or isinstance(entry, Always | Missing | Derived):
                return fallback if fallback is not None and not found.leaves else found
            fallback = fallback or found
        if fallback is None:
            keys = [key for entry in self.table.by_setting.get(path, ()) for key in entry.keys]
            missing = Unresolved(f"{keys[0]} is missing" if keys else f"{self.table.framework} does not say it")
            return Setting(path, missing, Origin.DEFAULT)
        return fallback

    def _answer(self, entry: Answer, path: str) -> Setting | None:
        match entry:
            case Field():
                return self._field(entry)
            case Group():
                decoded = self.group(entry).get(path)
                if decoded is None:
                    return None
                leaves = self.leaves(decoded.args)
                origin = self._origin(leaves) if leaves else Origin.DEFAULT
                return Setting(path, self._known(decoded.value, leaves), origin, leaves, decoded.why)
            case Always(value=value, why=why):
                return Setting(path, value, Origin.BEHAVIOUR, why=why)
            case Missing(value=value, why=why):
                return Setting(path, value, Origin.BEHAVIOUR, why=why)
            case Derived(compute=compute, why=why):
                if id(entry) not in self._groups:
                    self._groups[id(entry)] = compute(self)
                if path not in self._groups[id(entry)]:
                    return None
                value, args, reason = self._groups[id(entry)][path]
                leaves = self.leaves(args)
                return Setting(path, self._known(value, leaves), Origin.DERIVED, leaves, reason or why)

    def _known(self, value: object, leaves: Iterable[Path]) -> object:
        """The value that several keys make together, unless only the run itself knows one of them."""
        if isinstance(value, Unresolved):
            return value
        return next((v for path in leaves if isinstance(v := self.document.leaves[path].value, Unresolved)), value)

    def group(self, entry: Group) -> Mapping[str, Decoded]:
        if id(entry) not in self._groups:
            present = {key: value for key in entry.keys if (value := self.value(key)) is not ABSENT}
            self._groups[id(entry)] = entry.decode(present, self)
        return self._groups[id(entry)]

    def _field(self, entry: Field) -> Setting | None:
        value = self.value(entry.key)
        if value is ABSENT and entry.null_absent is False and to_path(entry.key) in self.document.leaves:
            value = None
        if value is None and entry.null_absent:
            value = ABSENT
        if value is not ABSENT:
            leaves = self.leaves((entry.key,))
            decoded = value if isinstance(value, Unresolved) else entry.codec.decode(value, self)
            return Setting(entry.setting, decoded, self._origin(leaves), leaves)
        if entry.absent is ABSENT:
            return None
        if entry.absent is SCHEMA:
            default = self.table.default_of(entry.key, self)
            if default is ABSENT:
                return None
            return Setting(
                entry.setting, entry.codec.decode(default, self), Origin.DEFAULT, why=f"default of {entry.key}"
            )
        absent = entry.absent(self) if callable(entry.absent) else entry.absent
        return Setting(entry.setting, absent, Origin.DEFAULT, why=f"no {entry.key}")

    def _origin(self, leaves: Iterable[Path]) -> Origin:
        overridden = any(self.document.leaves[path].source is Source.OVERRIDE for path in leaves)
        return Origin.OVERRIDE if overridden else Origin.EXPLICIT

    # --- the whole run ------------------------------------------------------------------------------------------

    def run(self) -> Run:
        settings = {path: self.setting(path) for path in vocabulary.GLOBAL_SETTINGS}
        sources = self.table.sources.decode(self)
        for index, source in enumerate(sources):
            for name in vocabulary.SOURCE_SETTINGS:
                path = f"data.sources[{index}].{name}"
                found = source.get(name, SourceSetting(NOT_APPLICABLE))
                origin = self._origin(found.leaves) if found.leaves else Origin.DEFAULT
                if found.value is NOT_APPLICABLE:
                    origin = Origin.NOT_APPLICABLE
                value = self._known(found.value, found.leaves)
                settings[path] = Setting(path, value, origin, found.leaves, found.why)
        return Run(
            self.table.framework,
            self.version,
            self.recipe,
            self.recipe_from,
            self.document.name,
            settings,
            self.claims(settings),
            self.table.notes(self),
            len(sources),
            self.table.tokens(self),
        )

    def claims(self, settings: Mapping[str, Setting]) -> dict[Path, Claim]:
        """One claim per leaf: the settings it feeds, else the first thing the table says of it."""
        feeds: dict[Path, list[str]] = {}
        for setting in settings.values():
            for path in setting.leaves:
                feeds.setdefault(path, []).append(setting.path)
        found: dict[Path, Claim] = {}
        for path, leaf in self.document.leaves.items():
            if path in feeds:
                found[path] = Claim(ClaimKind.SETTING, settings=tuple(feeds[path]))
            else:
                found[path] = self._unfed(path, leaf)
        for path, claim in list(found.items()):
            if claim.kind is ClaimKind.UNKNOWN:
                users = [other.path for other in self.document.leaves.values() if path in other.via]
                fed = tuple(dict.fromkeys(s for user in users for s in found[user].settings))
                if users:
                    where = ", ".join(format_path(user) for user in users)
                    kind = ClaimKind.VARIABLE if fed else ClaimKind.INERT
                    found[path] = Claim(kind, f"a variable, read only by {where}", fed)
        for path, leaf in self.document.leaves.items():
            for used in leaf.via:
                own = found.get(used)
                if own is not None and own.kind is ClaimKind.SETTING:
                    fed = tuple(dict.fromkeys((*own.settings, *found[path].settings)))
                    found[used] = Claim(ClaimKind.SETTING, own.why, fed)
        return found

    def _unfed(self, path: Path, leaf: Leaf) -> Claim:
        unknown = self.table.unknown(path, self)
        if unknown is not None:
            return unknown
        reasons: list[Claim] = []
        for entry in self.table.entries:
            keys = getattr(entry, "keys", ())
            if not any(matches(key, path) for key in keys):
                continue
            when = getattr(entry, "when", None)
            if when is not None and not when.holds(self):
                reasons.append(Claim(ClaimKind.INERT, f"has no effect here: it counts only when {when.words}"))
                continue
            match entry:
                case Private(effect=effect, off=off, reporting=reporting):
                    if leaf.value in off and not isinstance(leaf.value, Unresolved):
                        return Claim(ClaimKind.INERT, f"switched off: {effect}")
                    return Claim(ClaimKind.INERT if reporting else ClaimKind.PRIVATE, effect)
                case Unread(why=why):
                    return Claim(ClaimKind.INERT, why)
                case Pending():
                    return Claim(ClaimKind.PENDING, "known to the framework, not yet to ftmigrate")
                case Field(setting=setting) if leaf.value is None and self.table.null_is_absent:
                    reasons.append(Claim(ClaimKind.INERT, f"empty: the same as leaving it out ({setting})"))
                case Field() | Group() | Derived() | Sources():
                    reasons.append(Claim(ClaimKind.INERT, self._overruled(entry)))
        if reasons:
            return reasons[0]
        return Claim(ClaimKind.PENDING, "known to the framework, not yet to ftmigrate")

    def _overruled(self, entry: Field | Group | Derived | Sources) -> str:
        said = [self._settings[path] for path in getattr(entry, "settings", ()) if path in self._settings]
        if said and all(setting.value is NOT_APPLICABLE for setting in said):
            return f"has no effect here: {said[0].why}"
        if isinstance(entry, Field) and said and said[0].leaves:
            return "has no effect here: " + ", ".join(format_path(p) for p in said[0].leaves) + " goes first"
        applying = (setting for setting in said if setting.value is not NOT_APPLICABLE)
        why = next((setting.why for setting in applying if setting.why), "")
        return "has no effect with these values" + (f": {why}" if why else "")


def read(table: Table, document: Document, context: Context | None = None) -> Run:
    """The complete run that a document describes. Never fails on a document that could be parsed."""
    return Reader(table, document, context or Context()).run()
