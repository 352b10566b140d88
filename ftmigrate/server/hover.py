"""What a key is, and what the run really gets from it."""

from __future__ import annotations

from typing import NamedTuple

from ftmigrate.document.model import Document, Leaf, Path, Position, Span, Unresolved, format_path
from ftmigrate.linter.subject import Subject
from ftmigrate.run import vocabulary
from ftmigrate.run.display import to_text
from ftmigrate.run.model import ClaimKind, Origin, Run, Setting
from ftmigrate.server import outline, words
from ftmigrate.server.places import Places

_SHOWN = 12
_ORIGINS = {
    Origin.EXPLICIT: "written here",
    Origin.OVERRIDE: "from the command line",
    Origin.DEFAULT: "a default",
    Origin.BEHAVIOUR: "always so",
    Origin.DERIVED: "computed",
}


class Hover(NamedTuple):
    markdown: str
    span: Span


def hover(subject: Subject, places: Places, run: Run, at: Position) -> Hover | None:
    """What is known of the key or the value at a place of a text that could be read."""
    found = _at(subject.document, at)
    if found is None:
        return None
    path, span = found
    leaf = subject.document.leaves.get(path)
    effects = _effects(subject, run, path)
    parts = _head(
        subject, places, path, purpose=not any(run.claims[one.path].settings for one in subject.document.below(path))
    )
    if leaf is not None and leaf.via:
        parts.append(f"`{leaf.raw}` is `{to_text(leaf.value)}` here.")
    parts += _parameters(subject, places, path, leaf)
    if effects:
        parts.append("**What this run gets**\n\n" + "\n".join(f"- {line}" for line in effects))
    return Hover("\n\n".join(parts), span)


def broken(subject: Subject, places: Places, text: str, at: Position) -> Hover | None:
    """The same of a text that cannot be read now: what the schema knows of a key."""
    for entry in outline.entries(text):
        key = entry.path[-1]
        if entry.line == at.line and isinstance(key, str) and entry.column <= at.column <= entry.column + len(key):
            end = Position(entry.line, entry.column + len(key))
            return Hover("\n\n".join(_head(subject, places, entry.path)), Span(Position(at.line, entry.column), end))
    return None


def _head(subject: Subject, places: Places, path: Path, *, purpose: bool = True) -> list[str]:
    while len(path) > 1 and isinstance(path[-1], int):
        path = path[:-1]
    title = f"**{format_path(path)}** in {subject.framework.title} {subject.version}"
    if subject.recipe is not None:
        title += f", recipe {subject.recipe}"
    ways = places.ways(path)
    if not ways:
        where = places.mapping(path[:-1])
        beyond = where is None and "The schema does not describe what stands here."
        return [title, beyond or f"No key of {where.what if where else ''} in this version."]
    told = words.purpose(subject, path) if purpose else []
    return [
        title,
        *words.facts(ways),
        *(["**What it is for**\n\n" + "\n".join(f"- {one}" for one in told)] if told else []),
    ]


def _parameters(subject: Subject, places: Places, path: Path, leaf: Leaf | None) -> list[str]:
    """At a component's name: what it takes besides what is written."""
    if leaf is None or path[-1] != subject.framework.layout.component:
        return []
    where = places.mapping(path[:-1])
    if where is None or where.component is None:
        return []
    mapping = subject.document.at(path[:-1])
    said = mapping if isinstance(mapping, dict) else {}
    rest = [f"`{key}: {words.kind(ways)}`" for key, ways in where.keys.items() if key not in said and key != path[-1]]
    return ["Not written here: " + ", ".join(rest)] if rest else []


def _at(document: Document, at: Position) -> tuple[Path, Span] | None:
    """The leaf or the section whose key or value stands at a place."""
    for path, leaf in document.leaves.items():
        for span in (leaf.span, leaf.key):
            if span is not None and span.start <= at < span.end:
                return path, span
    for path, span in document.sections.items():
        if span.start <= at < span.end:
            return path, span
    return None


def _effects(subject: Subject, run: Run, path: Path) -> list[str]:
    """The settings that the leaves at or below a path feed; what is no setting is told as what it is."""
    settings: dict[str, None] = {}
    others: list[str] = []
    for leaf in subject.document.below(path):
        claim = run.claims[leaf.path]
        settings.update(dict.fromkeys(claim.settings))
        if claim.kind is not ClaimKind.SETTING:
            name = "" if leaf.path == path else f"`{format_path(leaf.path[len(path) :])}`: "
            others.append(name + _other(claim.kind, claim.why, subject.framework.title))
    lines = [_told(run.settings[name], path) for name in settings] + others
    return lines[:_SHOWN] + ([f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])


def _other(kind: ClaimKind, why: str, title: str) -> str:
    match kind:
        case ClaimKind.PRIVATE:
            return f"{why} (only {title} has it)"
        case ClaimKind.VARIABLE:
            return f"a variable{': ' + why if why else ', used by other keys'}"
        case _:
            return why or str(kind)


def _told(setting: Setting, path: Path) -> str:
    spec = vocabulary.spec(setting.path)
    value = to_text(setting.value)
    if spec.unit and isinstance(setting.value, int | float) and not isinstance(setting.value, bool):
        value += f" {spec.unit}"
    if isinstance(setting.value, Unresolved):
        value = f"known only when it runs ({setting.value.expression})"
    origin = _ORIGINS.get(setting.origin, str(setting.origin))
    others = [f"`{format_path(leaf)}`" for leaf in setting.leaves if leaf[: len(path)] != path]
    if others:
        origin += f", with {', '.join(others)}"
    if setting.why:
        origin += f"; {setting.why}"
    return f"{setting.path} = **{value}**: {spec.meaning} ({origin})"
