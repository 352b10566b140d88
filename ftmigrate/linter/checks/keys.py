"""Every key and value against the pinned schema of the file's version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftmigrate.document.model import Path, Severity, Source, Span, Unresolved, Value, format_path
from ftmigrate.linter import rules, scopes, types
from ftmigrate.linter.checks import unknown
from ftmigrate.linter.diagnostic import Fix
from ftmigrate.linter.rules import Checks, Finding
from ftmigrate.linter.scopes import Joint, Scope
from ftmigrate.linter.subject import Subject
from ftmigrate.schema import SECTION, Facts

CHECKS = Checks()
CODES = ("FT010", "FT011", "FT012", "FT013", "FT014", "FT015", "FT016", "FT017", "FT018", "FT019", "FT020", "FT021",
         "FT022", "FT023")  # fmt: skip
_FALSY: tuple[Any, ...] = (None, False, 0, "", [], {})
_SHOWN = 8


@CHECKS(*CODES)
def schema(subject: Subject) -> Iterator[Finding]:
    """The whole document, from the top."""
    layout = subject.framework.layout
    tree = subject.document.tree
    walk = _Walk(subject)
    if layout.root.endswith(" "):
        if subject.recipe is None or subject.schema.facts(layout.root + subject.recipe) is None:
            return
        scope = scopes.recipe(subject.framework.name, subject.version, layout.root, subject.recipe)
    else:
        listed = tree.get(layout.plugins or "")
        named = tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()
        scope = scopes.config(subject.framework.name, subject.version, layout, named)
    yield from walk.mapping(tree, scope, ())
    if walk.empty:
        yield _leftovers(subject, walk.empty)


def _leftovers(subject: Subject, empty: list[Path]) -> Finding:
    shown = ", ".join(format_path(path) for path in empty[:_SHOWN]) + (", …" if len(empty) > _SHOWN else "")
    what = "This empty key is" if len(empty) == 1 else f"{len(empty)} empty keys are"
    message = f"{what} not read by {subject.framework.title} {subject.version} and can go: {shown}."
    return subject.finding("FT023", empty[0], message, key=True)


class _Walk:
    """One pass over a document. empty: keys that nobody reads, and that say nothing. meant: what misspelt ones mean."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.schema = subject.schema
        self.at = (subject.framework.name, subject.version)
        self.layout = subject.framework.layout
        self.explained = rules.of(subject.framework.name).explained
        self.empty: list[Path] = []
        self.meant: set[tuple[Path, str]] = set()
        self.used = {path[:1] for leaf in subject.document.leaves.values() for path in leaf.via}

    def is_model(self, name: str) -> bool:
        return name.isidentifier() and bool(self.schema.keys(name))

    def mapping(self, node: Mapping[str, Value], scope: Scope, path: Path) -> Iterator[Finding]:
        """A mapping against its scope."""
        return self.joint(node, Joint(scope, scope.keys, scope.required, scope.open), path)

    def joint(self, node: Mapping[str, Value], joint: Joint, path: Path) -> Iterator[Finding]:
        scope, keys, required, open_ = joint
        for key, value in node.items():
            here = (*path, key)
            if key in keys:
                ways = keys[key]
                if not types.surely(value, ways[0]):
                    yield from self.known(key, value, ways, here, scope)
            elif not path and here in self.used:
                continue
            elif not open_:
                yield from self.strange(key, value, joint, here)
            elif scope.component and scope.open and key not in scope.handed:
                yield from self.misspelt(key, scope, here)
        for key in required:
            if key not in node and scope.prefix + key not in node and (path, key) not in self.meant:
                yield self.missing(key, scope, path)

    # --- keys that nobody has here --------------------------------------------------------------------------------

    def strange(self, key: str, value: Value, joint: Joint, path: Path) -> Iterator[Finding]:
        scope = joint.scope
        if len(path) == 1 and key in self.explained and value is not None:
            return
        if value is None and not scope.refused:
            self.empty.append(path)
            return
        told = unknown.tell(self.subject, key, scope._replace(keys=joint.keys), path, joint.required)
        if told.meant is not None:
            self.meant.add((path[:-1], told.meant))
        yield told.finding

    def misspelt(self, key: str, scope: Scope, path: Path) -> Iterator[Finding]:
        """A further argument is handed on; one that nearly is a parameter's name is told all the same."""
        close = unknown.near(key, (*scope.keys, *scope.handed), self.subject.value(*path[:-1]))
        if close is not None:
            message = (
                f"`{key}` is no argument of {scope.what}, which hands it on to what it calls; did you mean `{close}`?"
            )
            yield self.subject.finding(
                "FT010", path, message, key=True, fix=self.subject.rename(path, close, safe=False)
            )  # fmt: skip

    def missing(self, key: str, scope: Scope, path: Path) -> Finding:
        what = f"{scope.what} needs it" if scope.component else f"{self.subject.framework.title} {self.subject.version}"
        if scope.component and key not in scope.required:
            what = f"the recipe {self.subject.recipe} reads it, whatever {scope.what} takes for it by itself"
        if not scope.component:
            what += f" needs it in {scope.what}" if path else " does not start without it"
            if self.subject.recipe is not None and not path:
                what = f"the recipe {self.subject.recipe} stops without it"
        null = self._may_be_null(key, scope)
        how = f" Write `{key}: null` if nothing is meant." if null else f" Add `{key}:`."
        return self.subject.finding("FT020", path or None, f"`{key}` is missing: {what}.{how}", key=True)

    def _may_be_null(self, key: str, scope: Scope) -> bool:
        facts = scope.keys.get(key, ({},))[0]
        return not scope.component and any(one.name == "None" for one in types.union(str(facts.get("type", ""))))

    # --- keys that are known --------------------------------------------------------------------------------------

    def known(self, key: str, value: Value, ways: tuple[Facts, ...], path: Path, scope: Scope) -> Iterator[Finding]:
        facts = ways[0]
        if facts.get("removed") or "refused" in facts:
            yield from self.removed(key, value, facts, path)
            return
        if facts.get("deprecated"):
            if value is None:
                self.empty.append(path)
                return
            yield self.deprecated(key, facts, path)
        problem = None
        for way in ways:
            problem = types.check(value, way, self.layout, self.is_model, nullable=scope.component)
            if problem is None:
                facts = way
                break
        if problem is not None:
            yield self.unsuitable(key, problem, facts, path)
            return
        if isinstance(value, dict | list) or facts.get("component"):
            yield from self.below(key, value, ways, path)

    def below(self, key: str, value: Value, ways: tuple[Facts, ...], path: Path) -> Iterator[Finding]:
        """What stands inside of the value: a component, a recipe's mapping, a model of the schema, or a list of these."""
        items = [(path, value)]
        if isinstance(value, list):
            items = [((*path, index), item) for index, item in enumerate(value)]
        names = tuple(dict.fromkeys(name for facts in ways for name in scopes.references(facts)))
        component = any(facts.get("component") for facts in ways)
        for place, item in items:
            if isinstance(item, Unresolved):
                continue
            if names and isinstance(item, dict):
                yield from self.mapping(item, scopes.models(*self.at, names, f"`{key}`"), place)
            elif component or (isinstance(item, dict) and self.layout.component in item):
                yield from self.component(key, item, place, required=component)
            elif isinstance(item, dict) and self.subject.recipe is not None and len(path) == 1:
                scope = scopes.recipe(*self.at, self.layout.root, self.subject.recipe, key)
                if scope.keys:
                    yield from self.mapping(item, scope, place)

    # --- components -----------------------------------------------------------------------------------------------

    def component(self, key: str, value: Value, path: Path, *, required: bool) -> Iterator[Finding]:
        selector = self.layout.component or ""
        if value is None:
            return
        if not isinstance(value, dict):
            message = f"`{key}` names a component: a mapping with `{selector}:` and its arguments, not {_shown(value)}."
            yield self.subject.finding("FT017", path, message)
            return
        name = value.get(selector)
        if name is None and len(path) == 1:
            name = self.schema.supplied(self.layout, key)
        if name is None and selector not in value:
            close = next((one for one in value if one.strip("_").lower() == selector.strip("_")), None)
            if close is not None:
                message = f"`{close}` names no component: the key is `{selector}`. The run stops, for nothing says what is to be built."
                fix = self.subject.rename((*path, close), selector, safe=False)
                yield self.subject.finding("FT020", (*path, close), message, key=True, fix=fix)
            elif required and self._takes_component(key):
                message = (
                    f"`{key}` has no `{selector}:`, so nothing says what is to be built. Add it with a dotted path."
                )
                yield self.subject.finding("FT020", path, message, key=True)
            return
        if not isinstance(name, str):
            if not isinstance(name, Unresolved):
                message = f"`{selector}` is a dotted path such as torch.optim.AdamW, not {_shown(name)}."
                yield self.subject.finding("FT017", (*path, selector), message)
            return
        parent = ".".join(part for part in path if isinstance(part, str))
        joint = scopes.joint(*self.at, self.layout, name, self.subject.recipe, parent)
        if joint is None:
            yield from unknown.component(self.subject, name, (*path, selector))
            return
        yield from self.joint(value, joint, path)

    def _takes_component(self, key: str) -> bool:
        facts = self.schema.keys(self.layout.root + (self.subject.recipe or "")).get(key, {})
        inner = any(
            other.startswith((f"{key}.", f"{key}[]."))
            for other in self.schema.keys(self.layout.root + (self.subject.recipe or ""))
        )
        return bool(facts.get("required")) or not inner

    # --- values ---------------------------------------------------------------------------------------------------

    def removed(self, key: str, value: Value, facts: Facts, path: Path) -> Iterator[Finding]:
        """A key that was taken out: refused with any value, with one that is set, with one that is true, or ignored."""
        refused = facts.get("refused")
        stops = refused == "present" or (refused == "set" and value is not None)
        stops = stops or (refused == "truthy" and not _is_falsy(value))
        if not stops and _is_falsy(value):
            self.empty.append(path)
            return
        other = facts.get("removed")
        use = f" Use `{other}` instead." if isinstance(other, str) else " Remove it."
        title, version = self.subject.framework.title, self.subject.version
        since = unknown.removed_since(self.subject, path, facts)
        what = f"{title} {version} stops at it" if stops else f"{title} {version} passes it over"
        # another key says it now: taking this one out alone would change the run
        fix = None if isinstance(other, str) else self.subject.remove(path, safe=False)
        yield self.subject.finding(
            "FT014", path, f"`{key}` was removed{since}; {what}.{use}", key=True, fix=fix,
            severity=Severity.ERROR if stops else None,
        )  # fmt: skip

    def deprecated(self, key: str, facts: Facts, path: Path) -> Finding:
        other = facts["deprecated"]
        fix = None
        use = ""
        if isinstance(other, str):
            use = f" Write `{other}`."
            fix = self._renamed(other, facts, path)
            if len(path) == 1 and self.subject.value(other) is not None:
                use = f" `{other}` says it now, and stands beside it: remove this one."
            elif fix is None and "." not in other and not self._same_type(other, facts, path):
                use = f" `{other}` says it now, with other values."
        message = f"`{key}` is deprecated in {self.subject.framework.title} {self.subject.version}.{use}"
        return self.subject.finding("FT016", path, message, key=True, fix=fix)

    def _renamed(self, other: str, facts: Facts, path: Path) -> Fix | None:
        if not other.isidentifier() or not self._same_type(other, facts, path):
            return None
        boolean = "bool" in str(facts.get("type"))
        return self.subject.rename(path, other, safe=not boolean)

    def _same_type(self, other: str, facts: Facts, path: Path) -> bool:
        if len(path) > 1:
            return False
        new = self.schema.keys(self.layout.root).get(other, {})
        kinds = [{one.name for one in types.union(str(known.get("type")))} - {"None"} for known in (facts, new)]
        return kinds[0] == kinds[1] and "enum" not in new

    def unsuitable(self, key: str, problem: types.Problem, facts: Facts, path: Path) -> Finding:
        at: Path | Span = (*path, *problem.path)
        key = next((str(part) for part in reversed(problem.path) if isinstance(part, str)), key)
        if isinstance(at[-1], int) and isinstance(problem.value, str):
            at = self.subject.item_span(path, problem.value) or at
        shown = _shown(problem.value)
        if problem.kind == "value":
            close = unknown.near_value(problem.value, problem.allowed)
            hint = f"; did you mean `{close}`?" if close else "."
            listed = ", ".join(problem.allowed[:20]) + (", …" if len(problem.allowed) > 20 else "")
            if any(one.name == "bool" for one in types.union(str(facts.get("type", "")))):
                listed = f"true, false, {listed}"
            fix = None
            if close and not problem.path:
                fix = self.subject.replace(path, close, safe=False)
            legal = f"Legal: {listed or problem.wanted}{hint}"
            return self.subject.finding("FT018", at, f"`{key}` cannot be {shown}. {legal}", fix=fix)
        if problem.kind == "range":
            return self.subject.finding("FT019", at, f"`{key}` is {problem.wanted}, not {shown}.")
        if problem.value is None:
            message = f"`{key}` is {problem.wanted}; null is none of these."
            return self.subject.finding("FT017", at, message)
        return self.subject.finding(
            "FT017",
            at,
            f"`{key}` is {problem.wanted}, not {shown}{_kind(problem.value)}.",
            fix=self._unquoted(path, facts),
        )

    def _unquoted(self, path: Path, facts: Facts) -> Fix | None:
        """`"4"` where a number is wanted: the number without its quotes."""
        leaf = self.subject.editable(path)
        if (
            leaf is None
            or leaf.source is not Source.FILE
            or not isinstance(leaf.value, str)
            or leaf.raw[:1] not in "'\""
        ):
            return None
        text = leaf.value.strip()
        names = {one.name for one in types.union(str(facts.get("type")))}
        if ("int" in names and text.lstrip("+-").isdecimal() and not text.lstrip("+-").startswith("0")) or (
            "float" in names and types.NUMBER.match(text)
        ):
            return self.subject.replace(path, text, safe=False, title=f"write the number {text}")
        if "bool" in names and text.lower() in ("true", "false"):
            return self.subject.replace(path, text.lower(), safe=False, title=f"write {text.lower()}")
        return None


def _is_falsy(value: Value) -> bool:
    return any(type(value) is type(one) and value == one for one in _FALSY)


def _shown(value: Value) -> str:
    if isinstance(value, str):
        return f"`{value if len(value) < 60 else value[:57] + '…'}`"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else f"`{value}`"


def _kind(value: Value) -> str:
    return ", which is text" if isinstance(value, str) else ""


__all__ = ["CHECKS", "SECTION"]
