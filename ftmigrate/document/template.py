"""Finding what makes a text a template instead of YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .text import Lines

_ENGINE = re.compile(r"\$?\{\{|\{%|\{#|<%")
_SHELL = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Z_][A-Z0-9_]*\})")
_QUOTED = re.compile(r"""(?<![^\s\[{,:-])("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')""")
_OPENS_BLOCK = re.compile(r"(?:^|[\s:-])[|>][-+0-9]{0,2}\s*(?:#.*)?$")


def _code(line: str) -> str:
    """The line with quoted strings blanked and its comment removed."""
    line = _QUOTED.sub(lambda found: " " * len(found[0]), line)
    comment = re.search(r"(?:^|\s)#.*", line)
    return line[: comment.start()] if comment else line


def _breaks(line: str, at: int) -> bool:
    """Whether a marker at this column stands where YAML sees an opening brace (or a directive), not text."""
    before = line[:at].rstrip()
    return not before or before[-1] in ":-,[{?"


def marker(lines: Lines, suspects: list[int], broken: int) -> tuple[int, str] | None:
    """The first template marker (its offset and text), if one of the suspected lines holds one that breaks YAML.

    On the `broken` line, where the parser gave up, any marker counts.
    """
    for number, code in _outside_blocks(lines, broken):
        if number in suspects:
            match = _marker(code, number == broken)
            if match is not None:
                found = (lines.starts[number - 1] + match.start(), match[0])
                return _first(lines, found[0], broken) or found
    return None


def _marker(code: str, broken: bool) -> re.Match[str] | None:
    for match in _ENGINE.finditer(code):
        if broken or _breaks(code, match.start()):
            return match
    shell = _SHELL.search(code)
    if shell is not None and (not code[: shell.start()].strip() or _inside_flow(code, shell.start())):
        return shell
    return None


def _inside_flow(code: str, at: int) -> bool:
    before = code[:at]
    return before.count("[") > before.count("]") or before.count("{") > before.count("}")


def _outside_blocks(lines: Lines, broken: int) -> Iterator[tuple[int, str]]:
    """The lines up to a little behind the broken one that stand in no block scalar, with their number."""
    block: int | None = None
    for number in range(1, min(len(lines), broken + 1) + 1):
        line = lines.line(number)
        indent = len(line) - len(line.lstrip(" "))
        if block is not None and number != broken and (not line.strip() or indent > block):
            continue
        block = indent if _OPENS_BLOCK.search(line) else None
        yield number, _code(line)


def _first(lines: Lines, before: int, broken: int) -> tuple[int, str] | None:
    """The first engine marker in front of an offset that stands where it breaks YAML."""
    for number, code in _outside_blocks(lines, broken):
        start = lines.starts[number - 1]
        for match in _ENGINE.finditer(code):
            if start + match.start() < before and match[0] != "${{" and _breaks(code, match.start()):
                return start + match.start(), match[0]
    return None


def message(text: str, at: int) -> str:
    """What a marker at this offset is, and what to do about it."""
    line = text[at : at + 60].splitlines()[0].rstrip()
    if line.startswith("$") and not line.startswith("${{"):
        shown = (_SHELL.match(line) or re.match(".*", line))[0]  # type: ignore[index]
        return (
            f"`{shown}` is a placeholder: this is not YAML until a script fills it in. "
            "Give the filled-in file, or, if the text itself is meant, put it in quotes."
        )
    end = re.search(r"\}\}|%\}|#\}|%>", line)
    shown = line[: end.end()] if end else line
    return (
        f"`{shown}` is a template expression: this is not YAML until it is filled in. "
        "Give the rendered file, or, if the text itself is meant, put it in quotes."
    )
