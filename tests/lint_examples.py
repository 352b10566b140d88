"""The examples of the rules' pages as whole configs: their keys in the place of a complete config's own."""

from __future__ import annotations

import re

from ftmigrate.frameworks.reader import Context
from ftmigrate.linter.engine import Job
from ftmigrate.linter.pages import Example
from tests.conftest import FIXTURES

BASES = FIXTURES / "lint"
_TOP = re.compile(r"^(?=[\w\"'{}<>=&*~-]+(?:[ \t]*:|\}\}))", re.MULTILINE)


def option(example: Example, name: str) -> str:
    return next((one.partition("=")[2] for one in example.options if one.startswith(f"{name}=")), "")


def blocks(text: str) -> list[tuple[str, str]]:
    """A config's top-level keys, each with its text; what stands before the first has the key ""."""
    parts = _TOP.split(text)
    return [(part.partition(":")[0].strip() if index else "", part) for index, part in enumerate(parts)]


def whole(example: Example) -> bytes:
    text = example.text
    if "escaped" in example.options:
        text = text.encode().decode("unicode_escape")
    if "whole" in example.options:
        return text.encode()
    name = example.framework.partition("@")[0]
    base = option(example, "base")
    own = (BASES / f"{name}{'.' + base if base else ''}.yaml").read_text(encoding="utf-8")
    said = {key for key, _ in blocks(text) if key} | set(option(example, "without").split(","))
    kept = "".join(part for key, part in blocks(own) if not key or key not in said)
    return (kept.rstrip("\n") + "\n" + text).encode()


def job(example: Example) -> Job:
    rows = option(example, "rows")
    context = Context(option(example, "recipe") or None, None, int(rows) if rows else None)
    return Job(example.framework, context=context, isolated=True)
