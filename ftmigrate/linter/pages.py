"""The rules' pages: Markdown files with a section a rule, whose examples the tests execute.

A section begins with `## CODE name`. Its first paragraph says what is found. Examples are fenced blocks of YAML whose
info string names the framework (`@VERSION`), then `fails` or `passes`; `whole` marks a whole file, others stand for the
keys of a config that is complete without them.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ftmigrate.linter.rules import every, of

_HEAD = re.compile(r"^## (\w+) [\w-]+\n", re.MULTILINE)
_BLOCK = re.compile(r"^```yaml ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """framework may hold a version. options are the further words of the info string."""

    framework: str
    fails: bool
    text: str
    options: tuple[str, ...]


class Page(NamedTuple):
    """A rule's page without its heading."""

    code: str
    text: str

    @property
    def summary(self) -> str:
        return " ".join(self.text.strip().partition("\n\n")[0].split())

    @property
    def examples(self) -> list[Example]:
        found = []
        for info, body in _BLOCK.findall(self.text):
            framework, verdict, *options = info.split()
            found.append(Example(framework, verdict == "fails", body, tuple(options)))
        return found


def files() -> list[Path]:
    """The files with pages: the shared ones, and each framework's."""
    shared = sorted((Path(__file__).parent / "pages").glob("*.md"))
    own = {page for _, name in every() if name for page in (of(name).pages, *of(name).more_pages)}
    return shared + [Path(path) for path in sorted(own) if path]


def read(file: Path) -> dict[str, Page]:
    """The pages of one file, by code."""
    parts = _HEAD.split(file.read_text(encoding="utf-8"))
    return {code: Page(code, text.strip() + "\n") for code, text in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def every_page() -> dict[str, Page]:
    return {code: page for file in files() for code, page in read(file).items()}


def find(code: str) -> Page:
    """The page of a rule. Raises KeyError."""
    return every_page()[code]
