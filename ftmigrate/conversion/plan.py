"""Planning: which keys the target needs so that it describes the source's run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from msgspec import Struct, field

from ftmigrate.document.model import PLACEHOLDER, Document, Unresolved, Value, format_path, from_tree
from ftmigrate.frameworks.reader import Context, Reader
from ftmigrate.frameworks.table import Answer, CannotSay, Field, Group, Keys, Nearest, Table, Wanted, plain, to_path
from ftmigrate.run import vocabulary
from ftmigrate.run.compare import unknown
from ftmigrate.run.model import NOT_APPLICABLE, ClaimKind, Run, Setting

_PASSES = 8


class Plan(Struct):
    """keys: what is written. reasons: why a setting cannot be said. todo: keys a human must complete, with the text.

    fixed: keys that exact mode needs for one setting, so that no other may say them (key -> that setting).
    """

    keys: dict[str, Value] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    todo: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)

    def tree(self, order: Sequence[str] = (), first: str | None = None) -> dict[str, Value]:
        """The keys as a nested tree, those of one section in this order, the one named `first` before all."""
        root: dict[str, Value] = {}
        rank = {key: number for number, key in enumerate(order, 1)}
        ends = f".{first}" if first is not None else None
        keys = sorted(
            self.keys.items(), key=lambda item: -1 if ends and item[0].endswith(ends) else rank.get(item[0], 0)
        )
        for key, value in keys:
            node = root
            *parents, last = key.split(".")
            for parent in parents:
                node = node.setdefault(parent, {})  # type: ignore[assignment]
            node[last] = deepcopy(value)
        return root


class _Planner(Struct):
    source: Run
    table: Table
    context: Context
    exact: bool
    required: Mapping[str, Any]
    header: tuple[str, ...]
    sparing: bool = False
    plan: Plan = field(default_factory=Plan)
    tried: set[tuple[str, str]] = field(default_factory=set)
    unsaid: set[tuple[str, str]] = field(default_factory=set)
    _reader: tuple[str, Reader] | None = None

    def reader(self) -> Reader:
        """A reader of what is planned so far, made anew only when that has changed."""
        mark = repr(self.plan.keys)
        if self._reader is None or self._reader[0] != mark:
            self._reader = (mark, Reader(self.table, self.document(), self.context))
        return self._reader[1]

    def document(self) -> Document:
        """What is planned so far; its name is the source's, for what stands beside that."""
        return from_tree(self.plan.tree(), self.source.name, self.header)

    def tokens(self) -> Mapping[str, str]:
        return {**self.table.tokens(self.reader()), **self.source.tokens}

    def settle(self) -> Plan:
        """Write settings until nothing changes: what is written may switch on or off what else applies."""
        for path in self.table.sources.after:
            self.consider(path)
            if path in vocabulary.ESSENTIAL and path in self.plan.reasons:
                return self.plan
        self.sources()
        for _ in range(_PASSES):
            before = dict(self.plan.keys)
            for path in self.order():
                self.consider(path)
            if self.plan.keys == before:
                break
        self.prune()
        return self.plan

    def prune(self) -> None:
        """Take out what the target does not read after all: which keys it reads may depend on other keys."""
        reader = self.reader()
        for key in [*self.plan.keys]:
            why = self.unknown(key, reader)
            if why is not None:
                del self.plan.keys[key]
                for entry in self.table.entries:
                    if isinstance(entry, Field) and entry.key == key:
                        self.plan.reasons[entry.setting] = f"{key}: {why}"

    def order(self) -> list[str]:
        """The method, the model and the devices first: they decide what else applies, or can be said. Then what the source
        says, before what merely holds in it: the target's defaults may follow from the former."""

        def rank(path: str) -> tuple[bool, bool, bool]:
            return (
                path != "method.name",
                not path.startswith(("model.", "parallel.")),
                not self.source.settings[path].leaves,
            )

        return sorted(vocabulary.GLOBAL_SETTINGS, key=rank)

    def consider(self, path: str) -> None:
        wanted = self.source.settings[path]
        if wanted.value is NOT_APPLICABLE:
            return
        reader = self.reader()
        got = reader.setting(path)
        if got.value is NOT_APPLICABLE:
            return  # a key for it would have no effect; what is written next may make it apply
        if isinstance(wanted.value, Unresolved):
            self.leave_open(path, wanted.value, reader)
            return
        same = vocabulary.difference(path, wanted.value, got.value, self.tokens()) is None
        due = any(self.due(entry, reader) for entry in self.table.by_setting.get(path, ()))
        if same and not due and (got.leaves or not wanted.leaves or self.sparing):
            return
        for entry in self.table.by_setting.get(path, ()):
            if entry.when is not None and not entry.when.holds(reader):
                continue
            if getattr(entry, "exact_only", False) and not self.exact:
                continue
            if isinstance(entry, Field) and entry.write:
                if same and entry.quiet and not due:
                    return
                if self.write(entry, wanted, reader):
                    return
            if isinstance(entry, Group) and entry.propose is not None and self.choose(entry, reader):
                return

    def due(self, entry: Answer, reader: Reader) -> bool:
        """Whether the entry can write a key that the target cannot do without and that is not there yet."""
        if not ((isinstance(entry, Field) and entry.write) or (isinstance(entry, Group) and entry.propose is not None)):
            return False
        if entry.when is not None and not entry.when.holds(reader):
            return False
        return any(self.missing(key) for key in entry.keys)

    def missing(self, key: str) -> bool:
        """Whether the key is required, or the first of a section that is."""
        section = key.partition(".")[0]
        if key in self.required and key not in self.plan.keys:
            return True
        return section in self.required and not any(key.partition(".")[0] == section for key in self.plan.keys)

    def write(self, entry: Field, wanted: Setting, reader: Reader) -> bool:
        try:
            encoded = entry.codec.encode(wanted.value, reader)
            if isinstance(encoded, Nearest):
                self.plan.reasons[entry.setting] = encoded.why
                encoded = encoded.value
            value = plain(encoded)
        except CannotSay as reason:
            self.plan.reasons[entry.setting] = str(reason)
            return False
        if (why := self.unknown(entry.key, reader)) is not None:
            self.plan.reasons[entry.setting] = f"{entry.key}: {why}"
            return False
        if entry.key in self.plan.fixed:
            needed = f"{entry.key}: {self.plan.keys[entry.key]} is needed for {self.plan.fixed[entry.key]}"
            self.plan.reasons[entry.setting] = needed
            return True
        mark = (entry.key, repr(value))
        if mark in self.tried:
            return entry.key in self.plan.keys
        self.tried.add(mark)
        self.plan.keys[entry.key] = value
        return True

    def unknown(self, key: str, reader: Reader) -> str | None:
        """Why the target does not read a key: its version does not know it, or what else is planned leaves it out."""
        claim = self.table.unknown(to_path(key), reader)
        return claim.why if claim is not None and claim.kind is ClaimKind.UNKNOWN else None

    def choose(self, entry: Group, reader: Reader) -> bool:
        """Write the candidate whose decoded settings fit best."""
        assert entry.propose is not None
        wanted = {
            path: setting.value
            for path in entry.settings
            if (setting := self.source.settings[path]).value is not NOT_APPLICABLE
            and not isinstance(setting.value, Unresolved)
        }
        mark = (",".join(entry.keys), repr(wanted))
        if mark in self.tried:
            return mark not in self.unsaid
        self.tried.add(mark)
        best: tuple[int, Keys] | None = None
        tokens = self.tokens()
        try:
            for proposed in entry.propose(wanted, reader):
                candidate = {key: plain(value) for key, value in proposed.items()}
                if any(self.unknown(key, reader) for key in candidate):
                    continue
                decoded = entry.decode(candidate, reader)
                wrong = sum(
                    vocabulary.difference(path, value, decoded[path].value, tokens) is not None
                    for path, value in wanted.items()
                    if path in decoded
                )
                if best is None or wrong < best[0]:
                    best = (wrong, candidate)
        except CannotSay as reason:
            for path in wanted:
                self.plan.reasons[path] = str(reason)
        if best is None:
            self.unsaid.add(mark)
            return False
        self.plan.keys.update(best[1])
        if entry.exact_only:
            self.plan.fixed.update(dict.fromkeys(best[1], entry.settings[0]))
        return True

    def leave_open(self, path: str, value: Unresolved, reader: Reader) -> None:
        """A required key gets a placeholder, an optional one is left out; what a leaf said and no key can is said too."""
        for entry in self.table.by_setting.get(path, ()):
            if not isinstance(entry, Field | Group) or entry.exact_only:
                continue
            if entry.when is not None and not entry.when.holds(reader):
                continue
            if entry.write if isinstance(entry, Field) else entry.propose is not None:
                key = entry.keys[0]
                self.plan.todo[key] = value.expression
                if key in self.required:
                    self.plan.keys[key] = self.required[key](value)
                return
        said = reader.setting(path).leaves
        if said:
            # another key's value decides it in the target: that is the place to look at
            self.plan.todo.pop(path, None)
            self.plan.todo[format_path(said[0])] = f"{vocabulary.spec(path).meaning}: {value.expression}"
        elif self.source.settings[path].leaves:
            self.plan.todo[path] = value.expression

    def sources(self) -> None:
        entry = self.table.sources
        if entry.write is None or any(key in self.plan.keys for key in entry.own):
            return
        wanted = [
            {
                name: value if (missing := unknown(value)) is None else Unresolved(missing)
                for name in vocabulary.SOURCE_SETTINGS
                if (value := self.source[f"data.sources[{index}].{name}"]) is not NOT_APPLICABLE
            }
            for index in range(self.source.sources)
        ]
        if not wanted:
            return
        told = Wanted(self.source, self.tokens(), self.exact, self.reader())
        for key, value in entry.write(wanted, told).items():
            self.plan.keys[key] = self.placeholders(key, value)

    def placeholders(self, key: str, value: Value) -> Value:
        """What is not known before the run, as a text that no framework takes for a real one."""
        if isinstance(value, Unresolved):
            self.plan.todo[key] = value.expression
            return f"{PLACEHOLDER}{value.expression}"
        if isinstance(value, dict):
            return {name: self.placeholders(key, item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.placeholders(key, item) for item in value]
        return value


def plan(
    source: Run,
    table: Table,
    context: Context,
    required: Mapping[str, Any] | None = None,
    own: Mapping[str, Value] | None = None,
    *,
    exact: bool = False,
    header: tuple[str, ...] = (),
    sparing: bool = False,
) -> Plan:
    """The target's keys for a source run.

    required: placeholders for keys the target cannot do without. own: keys that are carried over as they are, because
    source and target are of one framework. header: the comment lines that will stand above. sparing: nothing is written
    that holds without a key.
    """
    return _Planner(source, table, context, exact, required or {}, header, sparing, Plan(keys=dict(own or {}))).settle()
