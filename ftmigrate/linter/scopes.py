"""Which keys a mapping of a config may have, put together from the sections of the pinned schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from ftmigrate.schema import SECTION, Facts, Layout, load

TOP = "the top level"
COMPONENT = "component "
PLUGIN = "plugin "


class Scope(NamedTuple):
    """The keys of one mapping, each with the facts of all sections that have it.

    what: the mapping in words. open: further keys are taken; refused: they are an error. component: it is one's
    arguments. plugins: keys that only a plugin reads which is not listed. handed: the parameters of what a component hands further
    arguments on to, as far as they are known.
    """

    what: str
    keys: Mapping[str, tuple[Facts, ...]]
    required: tuple[str, ...] = ()
    open: bool = False
    refused: bool = False
    component: bool = False
    prefix: str = ""
    plugins: Mapping[str, str] = {}
    handed: tuple[str, ...] = ()


@cache
def models(framework: str, version: str, names: tuple[str, ...], what: str) -> Scope:
    """A mapping that one of some sections describes."""
    schema = load(framework, version)
    found: dict[str, tuple[Facts, ...]] = {}
    required: list[set[str]] = []
    extra = set()
    prefix = ""
    for name in names:
        keys = schema.keys(name)
        about = keys.get(SECTION, {})
        extra.add(about.get("extra"))
        before = about.get("prefix", "")
        prefix = prefix or before
        other = {facts["alias_of"] for key, facts in keys.items() if key and "alias_of" in facts}
        needed = set()
        for key, facts in keys.items():
            if key == SECTION or facts.get("supplied"):
                continue
            found[key] = (*found.get(key, ()), facts)
            if before and not key.startswith(before) and before + key not in keys:
                found[before + key] = (facts,)
            if facts.get("required") and not facts.get("conditional") and key not in other:
                needed.add(key)
        required.append(needed)
    open_ = "allow" in extra or not found
    always = sorted(set.intersection(*required)) if required else []
    return Scope(what, found, tuple(always), open_, extra == {"forbid"}, prefix=prefix)


@cache
def config(framework: str, version: str, layout: Layout, listed: tuple[str, ...]) -> Scope:
    """The top level of a framework without recipes, with the keys of the plugins that are listed."""
    schema = load(framework, version)
    root = models(framework, version, (layout.root,), TOP)
    if layout.plugins is None:
        return root
    keys, required = dict(root.keys), list(root.required)
    plugins: dict[str, str] = {}
    for name in schema.names(PLUGIN):
        section = schema.keys(name)
        about = section.get(SECTION, {})
        active = about.get("builtin") or {about.get("plugin"), *about.get("also", ())} & set(listed)
        for key, facts in section.items():
            if key == SECTION:
                continue
            if active:
                keys[key] = (*keys.get(key, ()), facts)
                if facts.get("required") and not facts.get("conditional"):
                    required.append(key)
            elif key not in root.keys:
                plugins.setdefault(key, str(about.get("plugin")))
        if active:
            for key, more in about.get("takes", {}).items():
                keys[key] = (*keys.get(key, ()), more)
    for end, key, type_ in layout.beside:
        if any(one.replace(":", ".").endswith(end) for one in listed):
            keys[key] = ({"type": type_},)
        else:
            plugins.setdefault(key, f"MODULE{end}")
    return root._replace(
        keys=keys, required=tuple(required), plugins={k: v for k, v in plugins.items() if k not in keys}
    )


@cache
def recipe(framework: str, version: str, root: str, name: str, parent: str = "") -> Scope:
    """A mapping of a recipe's config: the top level, or what stands under a dotted key."""
    keys = {key: facts for key, facts in load(framework, version).keys(root + name).items() if key}
    own = {_last(key): (facts,) for key, facts in keys.items() if _parent(key) == parent}
    required = [_last(key) for key, facts in keys.items() if _parent(key) == parent and _required(facts)]
    what = f"`{parent}`" if parent else TOP
    return Scope(what, own, tuple(required), open=bool(parent and keys.get(parent, {}).get("kwargs_of")))


@cache
def component(framework: str, version: str, layout: Layout, path: str) -> Scope | None:
    """The arguments of a component; None for one that is not in the schema."""
    keys = load(framework, version).keys(COMPONENT + path)
    if not keys:
        return None
    about = keys.get(SECTION, {})
    given = injected(framework, version, layout.root)
    found = {key: (facts,) for key, facts in keys.items() if key}
    required = [
        key
        for key, facts in keys.items()
        if key and facts.get("required") and not facts.get("conditional") and key not in given and sayable(facts)
    ]
    takes = bool(about.get("kwargs")) or about.get("parameters") == "unknown"
    keys_taken = {**found, layout.component or "": ({},)}
    handed = _handed(framework, version, layout, about.get("kwargs"))
    return Scope(f"`{path}`", keys_taken, tuple(required), takes, not takes, component=True, handed=handed)


def _handed(framework: str, version: str, layout: Layout, path: object) -> tuple[str, ...]:
    """The parameters of a component that arguments are handed on to, and of what that hands them on to."""
    if not isinstance(path, str):
        return ()
    keys = load(framework, version).keys(COMPONENT + path)
    own = next((names for name, names in layout.called if name == path), ())
    further = _handed(framework, version, layout, keys.get(SECTION, {}).get("kwargs"))
    return (*(key for key in keys if key), *own, *further)


class Joint(NamedTuple):
    """A component's scope together with what a recipe demands at its place."""

    scope: Scope
    keys: Mapping[str, tuple[Facts, ...]]
    required: tuple[str, ...]
    open: bool


@cache
def joint(framework: str, version: str, layout: Layout, path: str, name: str | None, parent: str) -> Joint | None:
    """The arguments of a component at a place of a recipe's config; None for one that is not in the schema."""
    scope = component(framework, version, layout, path)
    if scope is None or name is None:
        return None if scope is None else Joint(scope, scope.keys, scope.required, scope.open)
    also = recipe(framework, version, layout.root, name, parent)
    takes_all = scope.open or also.open
    read = {key: facts for key, facts in also.keys.items() if takes_all or key in scope.keys}
    more = {key: facts if also.open else (*facts, *scope.keys.get(key, ())) for key, facts in read.items()}
    required = (*scope.required, *(key for key in also.required if key in scope.keys))
    return Joint(scope, {**scope.keys, **more}, tuple(dict.fromkeys(required)), scope.open or also.open)


_PROGRAM = ("torch.", "nn.", "dist.", "Callable", "Transform", "ModelTokenizer", "Dataset", "type[")


def sayable(facts: Facts) -> bool:
    """Whether a file could give the argument at all: an object that only a program makes is given by the caller."""
    kind = str(facts.get("type", "any"))
    return kind != "any" and not kind.startswith(_PROGRAM) and not (kind[:1].isupper() and "enum" not in facts)


@cache
def injected(framework: str, version: str, root: str) -> frozenset[str]:
    """Arguments that some recipe gives to its components by name."""
    pinned = load(framework, version)
    return frozenset(
        str(name)
        for section in pinned.names(root)
        for key, facts in pinned.keys(section).items()
        if key and "injects" in facts
        for name in facts["injects"]["keywords"]
    )


def references(facts: Facts) -> tuple[str, ...]:
    """The sections that describe a key's mapping, or each item of its list."""
    return tuple(facts["refs"]) if "refs" in facts else (facts["ref"],) if "ref" in facts else ()


def _required(facts: Facts) -> bool:
    return bool((facts.get("required") or facts.get("nonnull")) and not facts.get("conditional"))


def _parent(key: str) -> str:
    return key.rpartition(".")[0].removesuffix("[]")


def _last(key: str) -> str:
    return key.rpartition(".")[2]
