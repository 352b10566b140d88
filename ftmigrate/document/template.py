"""Finding what makes a text a template instead of YAML."""

from __future__ import annotations

import re

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
    found = None
    for number in sorted(set(suspects)):
        code = _code(lines.line(number))
        match = next((each for each in _ENGINE.finditer(code) if number == broken or _breaks(code, each.start())), None)
        if match is None:
            match = _SHELL.search(code)
            if match is not None and not (code[: match.start()].strip() == "" or _inside_flow(code, match.start())):
                match = None
        if match is not None:
            found = (lines.starts[number - 1] + match.start(), match[0])
            break
    if found is None:
        return None
    return _first(lines, found[0]) or found


def _inside_flow(code: str, at: int) -> bool:
    before = code[:at]
    return before.count("[") > before.count("]") or before.count("{") > before.count("}")


def _first(lines: Lines, before: int) -> tuple[int, str] | None:
    """The first engine marker in front of an offset that stands where it breaks YAML, outside of block scalars."""
    block: int | None = None
    for number in range(1, len(lines) + 1):
        start = lines.starts[number - 1]
        if start > before:
            return None
        line = lines.line(number)
        indent = len(line) - len(line.lstrip(" "))
        if block is not None:
            if not line.strip() or indent > block:
                continue
            block = None
        code = _code(line)
        for match in _ENGINE.finditer(code):
            if start + match.start() < before and match[0] != "${{" and _breaks(code, match.start()):
                return start + match.start(), match[0]
        if _OPENS_BLOCK.search(line):
            block = indent
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
