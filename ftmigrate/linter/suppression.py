"""What a file or a project wants not to be told: comments in the file, `[tool.ftmigrate]` in pyproject.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_COMMENT = r"(?:^|(?<=\s))#\s*ftmigrate:\s*(ignore-file|ignore)(?:\[([^\]\r\n]*)\])?([^\r\n]*)"


class Comment(NamedTuple):
    """One `# ftmigrate: ignore[...]`. codes: None for all. lines: where it holds, empty for the whole file."""

    line: int
    column: int
    end_column: int
    codes: tuple[str, ...] | None
    lines: tuple[int, ...]

    def covers(self, code: str, name: str, first: int, last: int) -> bool:
        if self.lines and not any(first <= line <= last for line in self.lines):
            return False
        return self.codes is None or any(code.startswith(one) or name == one for one in self.codes)


def comments(text: str) -> list[Comment]:
    """The suppressing comments of a text. One alone on its line holds for the line below as well."""
    if "ftmigrate:" not in text:
        return []
    return list(_comments(text))


def _comments(text: str) -> Iterator[Comment]:
    for number, line in enumerate(text.splitlines(), 1):
        found = re.search(_COMMENT, line)
        if found is None:
            continue
        codes = None
        if found[2] is not None:
            codes = tuple(code.strip() for code in found[2].split(",") if code.strip())
        alone = not line[: found.start()].strip()
        lines = () if found[1] == "ignore-file" else (number, number + 1) if alone else (number,)
        yield Comment(number, found.start() + 1, found.end() + 1, codes, lines)


class Project(NamedTuple):
    """`[tool.ftmigrate]` of a project: what is selected and ignored, at all and below some paths."""

    folder: Path
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: str | None = None
    framework: str | None = None
    per_path: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def ignored_at(self, path: Path) -> tuple[str, ...]:
        """The codes that are ignored for a file, by the patterns of `per-path-ignores`."""
        if not self.per_path:
            return ()
        try:
            name = path.resolve().relative_to(self.folder.resolve()).as_posix()
        except ValueError:
            name = path.as_posix()
        return tuple(
            code
            for pattern, codes in self.per_path
            if fnmatch(name, pattern) or fnmatch(path.name, pattern) or name.startswith(pattern.rstrip("/") + "/")
            for code in codes
        )


class BadProject(Exception):
    """`[tool.ftmigrate]` is not understood."""


@cache
def project(folder: Path) -> Project | None:
    """The nearest `pyproject.toml` with a `[tool.ftmigrate]`, from a folder upwards. Raises BadProject."""
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if "tool.ftmigrate" in text:
            return _project(file, text)
    return None


def _project(file: Path, text: str) -> Project | None:
    import tomllib

    try:
        found = tomllib.loads(text).get("tool", {}).get("ftmigrate")
    except tomllib.TOMLDecodeError as cause:
        raise BadProject(f"{file}: {cause}") from None
    if found is None:
        return None
    known = ("select", "ignore", "fail-on", "framework", "per-path-ignores")
    for key in found:
        if key not in known:
            raise BadProject(f"{file}: [tool.ftmigrate] has no key {key}; known: {', '.join(known)}")
    if found.get("fail-on") not in (None, "error", "warning", "info"):
        raise BadProject(f"{file}: fail-on is error, warning or info, not {found['fail-on']}")
    paths = found.get("per-path-ignores", {})
    if not isinstance(paths, dict):
        raise BadProject(f"{file}: per-path-ignores maps patterns of paths to lists of codes")
    return Project(
        file.parent,
        _codes(file, "select", found.get("select", [])),
        _codes(file, "ignore", found.get("ignore", [])),
        found.get("fail-on"),
        found.get("framework"),
        tuple((pattern, _codes(file, pattern, codes)) for pattern, codes in paths.items()),
    )


def _codes(file: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadProject(f'{file}: {key} is a list of codes such as ["FT106"], not {value}')
    return tuple(value)
