"""What YAML makes of a text that meant something else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftmigrate.document.model import Leaf, Path, Severity, Source
from ftmigrate.linter import scopes, types
from ftmigrate.linter.edits import quoted
from ftmigrate.linter.rules import Checks, Finding
from ftmigrate.linter.subject import Subject
from ftmigrate.schema import Facts

CHECKS = Checks()
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)[eE][+-]?\d+\Z")
_OCTAL = re.compile(r"[+-]?0[0-7_]*[1-7][0-7_]*\Z")
_SEXAGESIMAL = re.compile(r"[+-]?[0-9]+(:[0-5]?[0-9])+(\.[0-9_]*)?\Z")
_ODD = re.compile(r"(?<![^\s\[,:])[+-]?(0[0-7_]|[0-9]+:[0-9])")  # only a file with this can hold one of these
_WORDS = frozenset(("yes", "no", "on", "off"))
_NONE = frozenset(("None", "none", "NONE", "nil", "Nil"))
_WHOLE = frozenset(("int", "float"))


@CHECKS("FT030", "FT031", "FT032", "FT033", "FT034")
def scalars(subject: Subject) -> Iterator[Finding]:
    """Every plain scalar of the file whose text reads otherwise than it looks."""
    odd = _ODD.search(subject.document.text) is not None
    for leaf in subject.document.leaves.values():
        value = leaf.value
        if leaf.source is not Source.FILE:
            continue
        if isinstance(value, str):
            if value in _NONE and leaf.raw == value:
                yield from _none(subject, leaf)
            elif value[-1:].isdecimal() and _NUMBER.match(value) and leaf.raw == value:
                yield from _text_number(subject, leaf)
        elif isinstance(value, bool):
            if leaf.raw.lower() in _WORDS:
                yield from _word(subject, leaf)
        elif odd and isinstance(value, int | float):
            raw = leaf.raw
            if raw[:1] in "+-0" and _OCTAL.match(raw):
                yield _octal(subject, leaf)
            elif ":" in raw and _SEXAGESIMAL.match(raw):
                yield _sexagesimal(subject, leaf)


def kinds(subject: Subject, path: Path) -> tuple[set[str], Facts]:
    """The type names that the schema has for the value at a path, and its facts; empty where it does not say."""
    names: set[str] = set()
    found: Facts = {}
    for facts in _facts(subject, path):
        found = found or facts
        names |= {one.name for one in types.union(str(facts.get("type", "any")))}
        names |= {"str"} if facts.get("dotted_path") else set()
    return names, found


def _facts(subject: Subject, path: Path) -> list[Facts]:
    layout, schema = subject.framework.layout, subject.schema
    root = schema.keys(layout.root + (subject.recipe or ""))
    names = [str(part) for part in path if isinstance(part, str)]
    if len(names) == 1:
        found = root.get(names[0]) or _of_plugin(subject, names[0])
        return [found] if found else []
    if len(names) != 2:
        return []
    own = root.get(names[0]) or _of_plugin(subject, names[0])
    sections = list(scopes.references(own))
    component = subject.value(*path[:-1], layout.component) if layout.component else None
    if isinstance(component, str):
        sections.append(scopes.COMPONENT + component)
    nested = [root[".".join(names)]] if ".".join(names) in root else []
    return [*nested, *(schema.keys(name)[names[1]] for name in sections if names[1] in schema.keys(name))]


def _of_plugin(subject: Subject, key: str) -> Facts:
    """A plugin's key, whether it is listed or not."""
    if subject.framework.layout.plugins is None:
        return {}
    schema = subject.schema
    return next((schema.keys(name)[key] for name in schema.names(scopes.PLUGIN) if key in schema.keys(name)), {})


def _none(subject: Subject, leaf: Leaf) -> Iterator[Finding]:
    names, facts = kinds(subject, leaf.path)
    allowed = [str(one).lower() for one in facts.get("enum", ())]
    if leaf.raw.lower() in allowed or names == {"str"}:
        return
    stops = bool(names) and not names & {"str", "any", "Path"}
    message = f"`{leaf.raw}` is text to YAML, not nothing: `{leaf.path[-1]}` gets the word. Write `null`, or leave the key out."
    fix = subject.replace(leaf.path, "null", safe=True)
    yield subject.finding("FT031", leaf, message, fix=fix, severity=Severity.ERROR if stops else None)


def _text_number(subject: Subject, leaf: Leaf) -> Iterator[Finding]:
    names, _ = kinds(subject, leaf.path)
    if names & _WHOLE and subject.framework.layout.lax:
        return  # read as the number it looks like
    if names and names <= {"str", "None", "Path"}:
        return
    mantissa, _, exponent = leaf.raw.lower().partition("e")
    mantissa += "" if "." in mantissa else ".0"
    written = f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"
    message = (
        f"`{leaf.raw}` is text to PyYAML, not a number: YAML 1.1 wants a dot and a sign, `{written}`. "
        f"`{leaf.path[-1]}` is handed on as text."
    )
    yield subject.finding("FT030", leaf, message, fix=subject.replace(leaf.path, written, safe=True))


def _word(subject: Subject, leaf: Leaf) -> Iterator[Finding]:
    names, _ = kinds(subject, leaf.path)
    if "bool" in names:
        return
    said = "true" if leaf.value else "false"
    message = f"`{leaf.raw}` is {said} to YAML, not the word. Put it in quotes if text is meant, or write `{said}`."
    fix = subject.replace(leaf.path, quoted(leaf.raw), safe=False)
    stops = bool(names) and not names & {"any"}
    yield subject.finding("FT032", leaf, message, fix=fix, severity=Severity.ERROR if stops else None)


def _octal(subject: Subject, leaf: Leaf) -> Finding:
    names, _ = kinds(subject, leaf.path)
    plain = leaf.raw.lstrip("+-0").replace("_", "")
    sign = "-" if leaf.raw[0] == "-" else ""
    text = names and not names & _WHOLE
    written = quoted(leaf.raw) if text else sign + plain
    message = f"`{leaf.raw}` begins with 0, so YAML reads it as octal: {leaf.value}. Write `{written}`."
    return subject.finding("FT033", leaf, message, fix=subject.replace(leaf.path, written, safe=False))


def _sexagesimal(subject: Subject, leaf: Leaf) -> Finding:
    message = (
        f"`{leaf.raw}` is a number to base 60 in YAML 1.1: {leaf.value}. Put it in quotes if a time or a text is meant."
    )
    return subject.finding("FT034", leaf, message, fix=subject.replace(leaf.path, quoted(leaf.raw), safe=False))
