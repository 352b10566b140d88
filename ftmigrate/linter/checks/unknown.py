"""What an unknown key is: misspelt, of another level, of another framework, newer, removed, or read by nobody here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ftmigrate import schema
from ftmigrate.document.model import Path, Severity, Value
from ftmigrate.linter import rules, scopes
from ftmigrate.linter.rules import Finding
from ftmigrate.linter.scopes import Scope
from ftmigrate.linter.subject import Subject
from ftmigrate.schema import SECTION, Facts

_NEAR = 0.8
_SHOWN = 3


def near(key: str, known: Iterable[str], beside: Any) -> str | None:
    """The known key that was probably meant, unless it stands in the mapping already."""
    taken = set(beside) if isinstance(beside, dict) else set()
    return _near(key, tuple(name for name in known if name and name not in taken))


@lru_cache(maxsize=4096)
def _near(key: str, names: tuple[str, ...]) -> str | None:
    plain = {name.lower().replace("-", "_"): name for name in names}
    exact = plain.get(key.lower().replace("-", "_").strip())
    if exact is not None:
        return exact
    ending = [name for name in names if name.endswith(f"_{key}") and len(name) <= 2 * len(key)]
    if len(ending) == 1:
        return ending[0]
    from difflib import get_close_matches

    least = _NEAR if len(key) > 4 else 0.74
    alike = [name for name in names if 2 * min(len(name), len(key)) >= least * (len(name) + len(key))]
    close = get_close_matches(key, alike, 1, least)
    return close[0] if close else None


def _near_path(path: str, known: Iterable[str]) -> str | None:
    """The dotted path that was probably meant: alike as a whole, and in its last name, which says what it is."""
    found = near(path, known, None)
    if found is None:
        return None
    ends = [one.rpartition(".")[2].lower() for one in (path, found)]
    return found if _near(ends[0], (ends[1],)) else None


def near_value(value: Value, allowed: Iterable[str]) -> str | None:
    """The allowed value that was probably meant."""
    if not isinstance(value, str):
        return None
    from difflib import get_close_matches

    listed = list(allowed)
    plain = {one.lower().replace("-", "_"): one for one in listed}
    exact = plain.get(value.lower().replace("-", "_").strip())
    if exact is not None:
        return exact
    alike = [one for one in listed if one[:1] == value[:1]]  # o_proj is output_proj rather than v_proj
    close = get_close_matches(value, alike, 1, 0.7) or get_close_matches(value, listed, 1, 0.7)
    return close[0] if close else None


class Told(NamedTuple):
    """A finding, and the key that was meant by the strange one."""

    finding: Finding
    meant: str | None = None


def tell(subject: Subject, key: str, scope: Scope, path: Path, required: Collection[str] = ()) -> Told:
    """What is told of a key that its mapping does not have; `required` are those that it must have."""
    beside = subject.value(*path[:-1]) if len(path) > 1 else subject.document.tree
    close = near(key, scope.keys, beside)
    finding = _tell(subject, key, scope, path, close, close is not None and close in required)
    return Told(finding, close if finding.code in ("FT010", "FT022") else None)


def _tell(subject: Subject, key: str, scope: Scope, path: Path, close: str | None, needed: bool) -> Finding:
    title, version = subject.framework.title, subject.version
    where = "" if scope.what == scopes.TOP else f" in {scope.what}"
    head = f"`{key}` is no key of {title} {version}{where}"
    if key in scope.plugins:
        message = f"`{key}` is read with the plugin {scope.plugins[key]} only, which `plugins` does not list."
        return subject.finding("FT015", path, message, key=True)
    other = _readers(subject, key) if len(path) == 1 else []
    lifetime = None if other else _lifetime(subject, key, path, scope.refused)
    if lifetime is not None:
        return lifetime
    if other:
        shown = ", ".join(other[:_SHOWN]) + (f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else "")
        message = f"`{key}` is never read by the recipe {subject.recipe}, so it has no effect; read by {shown}."
        named = subject.reader.recipe_from.startswith(("named", "told"))
        otherwise = " Remove it." if named else " Remove it, or name the recipe with --recipe."
        hint = f" Did you mean `{close}`?" if close else otherwise
        return subject.finding("FT015", path, message + hint, key=True)
    refused = scope.refused
    severity = Severity.ERROR if refused else None
    effect = f"{title} stops at it" if refused else f"{title} passes it over, and what it says has no effect"
    foreign, own = _foreign(subject, key) if len(path) == 1 else ("", "")
    if foreign or own:
        whose = f"; it is one of {foreign}." if foreign else "."
        here = f" Here it is `{own}`." if own else ""
        fix = subject.rename(path, own, safe=False) if own.isidentifier() else None
        return subject.finding("FT012", path, f"{head}{whose}{here} {effect}.", key=True, fix=fix)
    level = _level(subject, key, path)
    if close and level != scopes.TOP:
        code = "FT022" if scope.component else "FT010"
        fix = subject.rename(path, close, safe=False)
        if needed:
            severity, effect = Severity.ERROR, f"{title} stops without it"
        return subject.finding(
            code, path, f"{head}; did you mean `{close}`? {effect}.", key=True, fix=fix, severity=severity
        )
    if level:
        there = subject.leaf(key) if level == scopes.TOP else None
        how = "move it there" if there is None else f"there it is {there.raw} already, for all; remove this one"
        return subject.finding("FT011", path, f"{head}, but of {level}: {how}. {effect}.", key=True, severity=severity)
    code = "FT022" if scope.component else "FT010"
    hint = "Remove it." if not scope.component else f"It takes {_listed(scope.keys)}."
    return subject.finding(code, path, f"{head}. {effect}. {hint}", key=True, severity=severity)


def _listed(keys: Mapping[str, object]) -> str:
    names = [name for name in keys if name and not name.startswith("_")]
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


# --- other versions ---------------------------------------------------------------------------------------------


def _sections(subject: Subject, path: Path) -> tuple[str, ...]:
    """The sections that a mapping's keys come from; none where the schema's layout does not tell."""
    layout = subject.framework.layout
    if subject.recipe is not None:
        if len(path) == 1:
            return (layout.root + subject.recipe,)
        name = subject.value(*path[:-1], layout.component or "")
        return (scopes.COMPONENT + name,) if isinstance(name, str) else ()
    if len(path) == 1:
        return (layout.root,)
    facts: Facts = subject.schema.keys(layout.root).get(str(path[0]), {})
    return scopes.references(facts) if len([p for p in path if isinstance(p, str)]) == 2 else ()


def _lifetime(subject: Subject, key: str, path: Path, refused: bool) -> Finding | None:
    """Whether other pinned versions have the key in the same place."""
    sections = _sections(subject, path)
    versions = subject.framework.versions()
    at = versions.index(subject.version)
    having = [
        index
        for index, version in enumerate(versions)
        if any(_alive(schema.load(subject.framework.name, version).keys(name).get(key)) for name in sections)
    ]
    title = subject.framework.title
    later = [index for index in having if index > at]
    if not having and len(path) == 1 and subject.recipe is not None:
        root = subject.framework.layout.root
        later = [index for index in range(at + 1, len(versions)) if _anywhere(subject, versions[index], root, key)]
        later = [] if _anywhere(subject, subject.version, root, key) else later
    if later:
        effect = "stops at it" if refused else "passes it over"
        message = (
            f"`{key}` is newer than {title} {subject.version}: known since {versions[later[0]]}. "
            f"{subject.version} {effect}. Say --framework {subject.framework.name}@{versions[later[0]]} if that is meant."
        )
        return subject.finding("FT013", path, message, key=True, severity=Severity.ERROR if refused else None)
    if having and having[-1] + 1 < len(versions):
        last = having[-1]
        facts: Facts = next(
            found[key]
            for name in sections
            if key in (found := schema.load(subject.framework.name, versions[last]).keys(name))
        )
        pointer = facts.get("deprecated") or facts.get("removed") or facts.get("alias_of")
        use = f" Use `{pointer}`." if isinstance(pointer, str) else " Remove it."
        message = f"`{key}` was removed in {title} {versions[last + 1]}: it has no effect any more.{use}"
        fix = None
        if isinstance(pointer, str) and pointer.isidentifier():
            fix = subject.rename(path, pointer, safe=False)
        return subject.finding("FT014", path, message, key=True, fix=fix or subject.remove(path, safe=False))
    return None


def _alive(facts: Facts | None) -> bool:
    """Whether a version has the key, and not only to refuse it."""
    return facts is not None and not facts.get("removed") and "refused" not in facts


def _anywhere(subject: Subject, version: str, root: str, key: str) -> bool:
    pinned = schema.load(subject.framework.name, version)
    return any(key in pinned.keys(name) for name in pinned.names(root))


def removed_since(subject: Subject, path: Path, facts: Facts) -> str:
    """` in VERSION` for a key that the schema still names, but as removed."""
    sections = _sections(subject, path)
    versions = subject.framework.versions()
    since = None
    for version in reversed(versions[: versions.index(subject.version) + 1]):
        pinned = schema.load(subject.framework.name, version)
        known = [pinned.keys(name)[path[-1]] for name in sections if path[-1] in pinned.keys(name)]  # type: ignore[index]
        if not any(one.get("removed") for one in known):
            break
        since = version
    return f" in {since}" if since is not None and since != versions[0] else ""


# --- other places -----------------------------------------------------------------------------------------------


def _readers(subject: Subject, key: str) -> list[str]:
    """The recipes that would read a top-level key."""
    layout = subject.framework.layout
    if subject.recipe is None:
        return []
    return sorted(
        name.removeprefix(layout.root)
        for name in subject.schema.names(layout.root)
        if key in subject.schema.keys(name) and name != layout.root + subject.recipe
    )


def _level(subject: Subject, key: str, path: Path) -> str:
    """The other level of this config that has the key."""
    layout = subject.framework.layout
    root = layout.root + (subject.recipe or "")
    if len(path) > 1 and key in subject.schema.keys(root):
        return scopes.TOP
    for name, value in subject.document.tree.items():
        for item in value if isinstance(value, list) else [value]:
            component = item.get(layout.component or "") if isinstance(item, dict) else None
            if isinstance(component, str) and key in subject.schema.keys(scopes.COMPONENT + component):
                return f"`{name}` ({component})"
    if len(path) > 1:  # beside it, as what stands in another top-level key says something else
        beside = [item for section in _sections(subject, path) for item in subject.schema.keys(section).items()]
        return next((f"`{name}`, which then is a mapping" for name, facts in beside if _has(subject, facts, key)), "")
    for name, facts in subject.schema.keys(root).items():
        if name not in (SECTION, path[0]) and _has(subject, facts, key):
            return f"`{name}`" + (", in each item" if facts.get("list") else "")
    return ""


def _has(subject: Subject, facts: Facts, key: str) -> bool:
    return any(key in subject.schema.keys(section) for section in scopes.references(facts))


def _foreign(subject: Subject, key: str) -> tuple[str, str]:
    """The title of another framework that has such a key, and the key that says the same here; either may be empty."""
    from ftmigrate.frameworks import registry
    from ftmigrate.frameworks.table import Field
    from ftmigrate.run.synonyms import SYNONYMS

    means = {SYNONYMS[key]} if key in SYNONYMS else set()
    for name in registry.names():
        if name == subject.framework.name:
            continue
        other = registry.get(name)
        pinned = schema.load(name, other.newest)
        roots = pinned.names(other.layout.root) if other.layout.root.endswith(" ") else [other.layout.root]
        paths = [full for root in roots for full in pinned.keys(root) if full.rpartition(".")[2] == key and full]
        if paths:
            entries = other.table(other.newest).entries
            means |= {e.setting for e in entries if isinstance(e, Field) and e.key in paths}
            return other.title, _own(subject, means)
    return "", _own(subject, means)


def _own(subject: Subject, settings: Iterable[str]) -> str:
    """The key of this framework's (and recipe's) that says one of these settings, and that before anything else."""
    known = subject.schema.keys(subject.framework.layout.root + (subject.recipe or ""))
    by_setting = subject.reader.table.by_setting
    keys: list[str] = []
    for setting in sorted(settings):
        for entry in by_setting.get(setting, ()):
            alone = len(entry.settings) == 1
            keys += entry.keys if alone else entry.keys[:1] if entry.settings[0] == setting else ()
    return next((key for key in keys if key.partition(".")[0] in known), "")


# --- components -------------------------------------------------------------------------------------------------


def component(subject: Subject, name: str, path: Path) -> Iterator[Finding]:
    """A component that the version's schema does not have; one of another package is nobody's business here."""
    title, version = subject.framework.title, subject.version
    own = subject.framework.name + "."
    known = [one.removeprefix(scopes.COMPONENT) for one in subject.schema.names(scopes.COMPONENT)]
    top = {one.partition(".")[0] for one in known}
    if name.partition(".")[0] not in top:
        close = _near_path(name, known)
        if "." not in name:
            hint = f" Did you mean `{close}`?" if close else ""
            message = f"`{name}` is no dotted path to something that can be called, such as torch.optim.AdamW.{hint}"
            yield subject.finding(
                "FT021", path, message, fix=subject.replace(path, close, safe=False) if close else None
            )
        elif close is not None:
            message = f"There is no module `{name.partition('.')[0]}`; did you mean `{close}`?"
            yield subject.finding("FT021", path, message, fix=subject.replace(path, close, safe=False))
        return
    versions = subject.framework.versions()
    at = versions.index(version)
    having = [
        index
        for index, one in enumerate(versions)
        if schema.load(subject.framework.name, one).keys(scopes.COMPONENT + name)
    ]
    moved = rules.of(subject.framework.name).moved(name)
    if moved in known:
        message = f"`{name}` has moved: in {title} {version} it is `{moved}`."
        yield subject.finding("FT021", path, message, fix=subject.replace(path, moved, safe=True))
        return
    if having and having[0] > at:
        message = f"`{name}` is newer than {title} {version}: it came with {versions[having[0]]}."
        yield subject.finding("FT021", path, message)
        return
    last = [index for index in having if index < at]
    close = _near_path(name, known)
    hint = f" Did you mean `{close}`?" if close else ""
    fix = subject.replace(path, close, safe=False) if close else None
    if last:
        message = f"`{name}` was removed in {title} {versions[last[-1] + 1]}.{hint}"
        yield subject.finding("FT021", path, message, fix=fix)
    elif name.startswith(own) or close is not None:
        message = f"`{name}` is not part of {title} {version}: the run stops when it is built.{hint}"
        yield subject.finding("FT021", path, message, fix=fix)
