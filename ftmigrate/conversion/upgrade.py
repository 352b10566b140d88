"""Converting between versions of one framework: the user's own text, edited where it must be and nowhere else.

What goes is decided by the pinned schemas alone (a key that the newer version does not know or refuses, a value that
it does not allow); what comes, by the same planning as in any conversion: settings that would otherwise change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from itertools import pairwise
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ftmigrate import schema, schema_changes
from ftmigrate.conversion.plan import Plan
from ftmigrate.document.edit import Edit
from ftmigrate.document.model import Document, Path, Value, format_path
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.registry import Framework
from ftmigrate.frameworks.table import Table
from ftmigrate.run import vocabulary
from ftmigrate.run.display import to_text
from ftmigrate.run.model import ClaimKind, Run
from ftmigrate.schema import SECTION, Facts, Schema

_PLUGIN = "plugin "


class Gone(Struct, frozen=True):
    """A leaf that the newer version does not take. why: what changed, with the version."""

    path: Path
    why: str


def editable(document: Document) -> bool:
    """Whether the document is a file as it stands: no overrides, no launch command, nothing said by interpolation."""
    return bool(document.text) and document.launch is None and all(leaf.key for leaf in document.leaves.values())


def gone(document: Document, framework: Framework, old: str, reader: Reader) -> list[Gone]:
    """The leaves that the newer version does not know, refuses, or does not allow this value of.

    reader: reads the document as the newer version does.
    """
    new = reader.version
    objections: dict[Path, str] = {tuple(key.split(".")): why for key, why in reader.table.objects(reader).items()}
    before, after = schema.load(framework.name, old), schema.load(framework.name, new)
    found = []
    for path in document.leaves:
        if path in objections:
            found.append(Gone(path, objections[path]))
            continue
        for key, value, sections in _way(document, before, after, framework, path):
            reasons = [
                _reason(_facts(before, framework, section, key), _facts(after, framework, section, key), value)
                for section in sections
            ]
            if reasons and all(reasons):  # an item may follow one of several sections
                found.append(Gone(path, _why(framework.name, sections[0], key, old, new, reasons[0])))
                break
    return found


def _way(
    document: Document, before: Schema, after: Schema, framework: Framework, path: Path
) -> Iterator[tuple[str, Value, list[str]]]:
    """The keys on the way to a leaf, from the top: the key, the value there, and the sections that have it."""
    sections = [framework.layout.root]
    for depth, key in enumerate(path):
        if isinstance(key, int):
            continue
        having: list[str] = []
        following: list[str] = []
        for section in sections:
            facts = _facts(after, framework, section, key) or _facts(before, framework, section, key)
            if facts is not None:
                having.append(section)
                following += [*([facts["ref"]] if "ref" in facts else ()), *facts.get("refs", ())]
        yield key, document.at(path[: depth + 1]), having
        sections = following


def _facts(pinned: Schema, framework: Framework, section: str, key: str) -> Facts | None:
    keys = pinned.keys(section)
    prefix = keys.get(SECTION, {}).get("prefix", "")
    found = keys.get(key) or (keys.get(key.removeprefix(prefix)) if prefix else None)
    if found is None and section == framework.layout.root and framework.layout.plugins is not None:
        found = next((pinned.keys(name)[key] for name in pinned.names(_PLUGIN) if key in pinned.keys(name)), None)
    return found


def _reason(then: Facts | None, now: Facts | None, value: Value) -> str:
    """Why the newer version does not take a key with this value; empty where it does."""
    if now is None:
        return "is no key any more" if then is not None and value is not None else ""
    if now.get("removed"):
        refused = now.get("refused")
        counts = {"truthy": bool(value), "set": value is not None, "present": True}.get(str(refused), value is not None)
        return "has no effect any more" if counts and refused is None else "is refused" if counts else ""
    if isinstance(value, str | int) and not isinstance(value, bool) and not now.get("open") and "enum" in now:
        allowed = then is None or then.get("open") or value in then.get("enum", (value,))
        free = "pattern" in now or _free(value, now)
        return f"does not allow {value} any more" if value not in now["enum"] and allowed and not free else ""
    return ""


def _free(value: str | int, now: Facts) -> bool:
    """Whether the type takes more of the value's kind than the values that are listed."""
    kinds = str(now.get("type")).split(" | ")
    if isinstance(value, str):
        return "str" in kinds and not any(isinstance(one, str) for one in now["enum"])
    return "float" in kinds or ("int" in kinds and not any(isinstance(one, int) for one in now["enum"]))


_TELLING = tuple(schema_changes.Kind[name] for name in ("REMOVED", "RENAMED", "LIMITS", "VALUES", "DEPRECATED"))


@cache
def _changes(name: str, old: str, new: str) -> Mapping[tuple[str, str], tuple[str, schema_changes.Change]]:
    """For each key of a section the last release in between that removed, renamed or restricted it."""
    order = schema.versions(name)
    found: dict[tuple[str, str], tuple[str, schema_changes.Change]] = {}
    for one, following in pairwise(order[order.index(old) : order.index(new) + 1]):
        for change in schema_changes.compare(schema.load(name, one), schema.load(name, following)):
            refused = change.kind is schema_changes.Kind.ADDED and change.after and change.after.get("removed")
            kind = schema_changes.Kind.REMOVED if refused else change.kind
            known = found.get((change.section, change.key))
            if kind in _TELLING and (known is None or _TELLING.index(kind) < _TELLING.index(known[1].kind)):
                replacement = change.after.get("removed") if refused else change.replacement
                told = replacement if isinstance(replacement, str) else None
                found[change.section, change.key] = (following, replace(change, kind=kind, replacement=told))
    return found


def _why(name: str, section: str, key: str, old: str, new: str, reason: str) -> str:
    if schema.versions(name).index(old) > schema.versions(name).index(new):
        return f"{key} {reason.replace(' any more', '')} in {new}"
    for spelled in (key, key.partition("_")[2]):
        known = _changes(name, old, new).get((section, spelled))
        if known is not None:
            release, change = known
            use = f"; {change.replacement} takes its place" if change.replacement else ""
            return f"{key} {reason} since {release}{use}"
    return f"{key} {reason} in {new}"


class Superseded(Gone, frozen=True):
    """A leaf that is still taken, though another key has its meaning now. same: under the other name with its value."""

    to: Path = ()
    same: bool = False


def superseded(document: Document, framework: Framework, old: str, new: str) -> list[Superseded]:
    """The top-level leaves that gave way to another key between the versions."""
    order = schema.versions(framework.name)
    if order.index(old) >= order.index(new):
        return []
    root = framework.layout.root
    after = schema.load(framework.name, new)
    found = []
    for path, leaf in document.leaves.items():
        release, change = _changes(framework.name, old, new).get((root, str(path[0])), ("", None))
        other = change.replacement if change is not None else None
        facts = _facts(after, framework, root, other) if other else None
        if len(path) > 1 or change is None or not other or facts is None or not leaf.value or other in document.tree:
            continue
        if change.kind in (schema_changes.Kind.RENAMED, schema_changes.Kind.DEPRECATED):
            now = _facts(after, framework, root, str(path[0])) or {}
            same = now.get("type") == facts.get("type")
            why = f"{path[0]} has given way to {other} since {release}"
            found.append(Superseded(path, why, (other,), same))
    return found


def assumed(document: Document, framework: Framework) -> str | None:
    """The newest released version that takes every key and value of a document; None where none does."""
    known = [version for version in framework.versions() if version[:1].isdigit()]
    tops = {version: _tops(schema.load(framework.name, version), framework, document) for version in known}
    named = frozenset[str]().union(*tops.values())
    for version in reversed(known):
        if tops[version] == named and not gone(
            document, framework, version, Reader(framework.table(version), document)
        ):
            return version
    return None


def _tops(pinned: Schema, framework: Framework, document: Document) -> frozenset[str]:
    """The document's own keys that a version knows; empty ones do not count."""
    said = (key for key, value in document.tree.items() if value is not None)
    return frozenset(key for key in said if _facts(pinned, framework, framework.layout.root, key) is not None)


# --- what is kept, what comes -----------------------------------------------------------------------------------


def without(tree: Mapping[str, Value], paths: list[Path]) -> dict[str, Value]:
    """The tree without some of its leaves; a mapping that loses all its keys goes with them."""
    kept = deepcopy(dict(tree))
    for path in paths:
        _delete(kept, path)
    return kept


def _delete(node: Any, path: Path) -> None:
    if len(path) > 1:
        _delete(node[path[0]], path[1:])
        if node[path[0]] not in ({}, []):
            return
    del node[path[0]]


def merged(kept: Mapping[str, Value], plan: Plan, own: Mapping[str, Value]) -> dict[str, Value]:
    """What is kept of the tree, with what the plan says otherwise."""
    tree = deepcopy(dict(kept))
    for key, value in plan.keys.items():
        if key in own and own[key] is value:
            continue
        *parents, last = key.split(".")
        node: Any = tree
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
            node = node[parent]
        node[last] = deepcopy(value)
    return tree


def renames(removed: list[Gone], old: Run, new: Run, kept: Mapping[str, Value]) -> dict[Path, Path]:
    """Which new key takes a removed one's place: it says a setting that the other said, in the same mapping."""
    found: dict[Path, Path] = {}
    for one in removed:
        for setting in old.claims[one.path].settings:
            for path in new.settings[setting].leaves if setting in new.settings else ():
                taken = path in found.values() or _has(kept, path)
                if not taken and path[:-1] == one.path[:-1] and one.path not in found:
                    found[one.path] = path
    return found


def carried(one: Superseded, old: Run, new: Run, wanted: Mapping[str, Value]) -> bool:
    """Whether the other key stands there now, and all that the leaf said holds as before."""
    said = old.claims[one.path].settings
    alike = all(vocabulary.difference(s, old[s], new[s], old.tokens) is None for s in said if s in new.settings)
    return _has(wanted, one.to) and alike and (bool(said) or one.same)


def awakened(document: Document, old: Run, new: Run) -> list[Gone]:
    """Leaves without effect in the older version that would have one in the newer."""
    asleep = (ClaimKind.UNKNOWN, ClaimKind.INERT)
    found = []
    for path, claim in new.claims.items():
        then = old.claims.get(path)
        if then is None or path not in document.leaves or document.leaves[path].value is None:
            continue
        alone = [setting for setting in claim.settings if not old.settings[setting].leaves]
        differ = any(vocabulary.difference(s, old[s], new[s], old.tokens) is not None for s in alone)
        if (claim.kind is ClaimKind.PRIVATE and then.kind in asleep) or (differ and path not in _leaves(old)):
            found.append(Gone(path, f"{format_path(path)} had no effect in {old.version}, and would have one now"))
    return found


def _leaves(run: Run) -> set[Path]:
    return {path for setting in run.settings.values() for path in setting.leaves}


def _has(tree: Any, path: Path) -> bool:
    """Whether a path of mappings leads somewhere."""
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def places(table: Table, wanted: Mapping[str, Value]) -> dict[Path, Path]:
    """For each key below which other of the same mapping it stands best: the one before it in the table's order."""
    order = [tuple(key.split(".")) for key, _ in table.order() if "[" not in key]
    found: dict[Path, Path] = {}
    last: dict[Path, Path] = {}
    for path in order:
        for length in range(1, len(path) + 1):
            here = path[:length]
            if _has(wanted, here) and here not in found and here != last.get(here[:-1]):
                if here[:-1] in last:
                    found[here] = last[here[:-1]]
                last[here[:-1]] = here
    return found


# --- the account ------------------------------------------------------------------------------------------------


def account(edits: tuple[Edit, ...], removed: list[Gone], old: Run, new: Run) -> list[dict[str, Any]]:
    """Each edit of the text with its reason, as the ledger lists it."""
    return [
        {
            "kind": edit.kind,
            "path": format_path(edit.path),
            **({"to": format_path(edit.to)} if edit.to is not None else {}),
            "line": edit.line,
            "before": edit.before,
            "after": edit.after,
            "why": _justified(edit, removed, old, new),
        }
        for edit in edits
    ]


def _justified(edit: Edit, removed: list[Gone], old: Run, new: Run) -> str:
    reasons = [one.why for one in removed if one.path[: len(edit.path)] == edit.path]
    target = edit.to or edit.path
    for setting in new.settings.values():
        if any(leaf[: len(target)] == target for leaf in setting.leaves):
            was = old.settings.get(setting.path)
            value = was.value if was is not None else None
            text = f"{vocabulary.spec(setting.path).meaning}: {to_text(value)}"
            if edit.kind == "insert" and was is not None:
                text += f" in {old.version}" + (f" ({was.why})" if was.why else "")
                text += f", written out because {new.version} would do otherwise"
            if not reasons or edit.kind != "remove":
                reasons.append(text)
    return "; ".join(dict.fromkeys(reasons))
