"""What is wrong with the text itself, as the document layer finds it, under the rules' codes."""

from __future__ import annotations

from collections.abc import Mapping

from ftmigrate.document.codes import Code
from ftmigrate.document.model import Diagnostic, Position, Span
from ftmigrate.document.text import Lines
from ftmigrate.linter.diagnostic import Edit, Fix
from ftmigrate.linter.rules import Finding

CODES: Mapping[Code, str] = {
    Code.ENCODING: "FT003",
    Code.CONTROL_CHARACTER: "FT003",
    Code.TOO_LARGE: "FT003",
    Code.TOO_DEEP: "FT007",
    Code.TOO_MANY_NODES: "FT007",
    Code.TEMPLATE: "FT004",
    Code.MERGE_CONFLICT: "FT005",
    Code.TAB: "FT001",
    Code.INDENTATION: "FT001",
    Code.COLON: "FT001",
    Code.QUOTE: "FT001",
    Code.BRACKET: "FT001",
    Code.CHARACTER: "FT001",
    Code.ESCAPE: "FT001",
    Code.ALIAS: "FT001",
    Code.SYNTAX: "FT001",
    Code.EMPTY: "FT006",
    Code.NOT_A_MAPPING: "FT006",
    Code.MULTIPLE_DOCUMENTS: "FT006",
    Code.DUPLICATE_KEY: "FT002",
    Code.COMPLEX_KEY: "FT007",
    Code.NULL_KEY: "FT007",
    Code.NON_STRING_KEY: "FT007",
    Code.MERGE: "FT007",
    Code.RECURSIVE_ALIAS: "FT007",
    Code.UNKNOWN_TAG: "FT007",
    Code.BAD_VALUE: "FT007",
    Code.TIMESTAMP: "FT035",
    Code.INTERPOLATION_SYNTAX: "FT008",
    Code.INTERPOLATION_MISSING: "FT008",
    Code.INTERPOLATION_CYCLE: "FT008",
    Code.INTERPOLATION_TYPE: "FT008",
    Code.OVERRIDE: "FT006",
}


def finding(found: Diagnostic, lines: Lines) -> Finding:
    """A finding for what the document layer tells; its end is that of the word at the place."""
    code = Code(found.code)
    start = found.position
    end = _end(lines, start, code)
    fix = _drop_line(lines, found) if code is Code.DUPLICATE_KEY and found.related is not None else None
    return Finding(CODES[code], Span(start, end), found.message, fix, found.severity)


def _end(lines: Lines, start: Position, code: Code) -> Position:
    text = lines.line(start.line)
    rest = text[start.column - 1 :]
    if CODES[code] == "FT008":
        stop = rest.find("}") + 1 or len(rest)
    else:
        stop = next((i for i, char in enumerate(rest) if char in " \t:,]}#" and i), len(rest))
    return Position(start.line, start.column + max(stop, 1 if rest else 0))


def _drop_line(lines: Lines, found: Diagnostic) -> Fix | None:
    """The earlier of two lines goes, where both are whole `key: value` lines: the loader takes the later one."""
    assert found.related is not None
    early, late = found.related.line, found.position.line
    if early == late or early >= len(lines):
        return None
    first, second = lines.line(early), lines.line(late)
    depth = len(first) - len(first.lstrip())
    below = lines.line(early + 1)
    nested = below.strip() and (len(below) - len(below.lstrip()) > depth or below.lstrip().startswith("- "))
    value = first.partition(":")[2].partition(" #")[0].strip()
    plain = value and value[0] not in "|>&*{[\"'" and first.lstrip() == first[found.related.column - 1 :]
    if nested or not plain or second.lstrip() != second[found.position.column - 1 :]:
        return None
    same = value == second.partition(":")[2].partition(" #")[0].strip() and "#" not in first
    return Fix((Edit(early, 1, early + 1, 1, ""),), same, f"remove line {early}")
