"""Canonical values as JSON and as short text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ftmigrate.document.model import Unresolved
from ftmigrate.run.model import External, Symbol
from ftmigrate.run.rendering import Rendering
from ftmigrate.run.source import Location


def to_json(value: object) -> Any:
    """A canonical value as JSON; what is no plain value becomes a mapping with its kind, or its text."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Unresolved(expression):
            return {"unresolved": expression}
        case External(reference):
            return {"external": reference}
        case Symbol(name):
            return {"symbol": name}
        case Rendering(note=note):
            return {"rendering": note, "segments": to_json(value.segments)}
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case set() | frozenset():
            return sorted(to_json(item) for item in value)
        case _ if isinstance(value, Struct):
            found = {name: to_json(getattr(value, name)) for name in value.__struct_fields__}
            return {"kind": type(value).__name__.lower(), **found}
        case _:
            return str(value)


def to_text(value: object) -> str:
    """A canonical value in a few words."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case Location(path=path, files=files):
            return ", ".join(files) or path
        case Rendering(note=note):
            return note or "a rendering of its own"
        case Unresolved(expression):
            return f"not known: {expression}"
        case list() | tuple() | set() | frozenset():
            return ", ".join(to_text(item) for item in value) or "none"
        case Mapping():
            return ", ".join(f"{key}={to_text(item)}" for key, item in value.items()) or "none"
        case _:
            return str(value)
