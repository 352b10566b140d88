"""What libyaml says about broken text, in the user's terms: a stable code, the place to look at, and the repair."""

from __future__ import annotations

import re
from typing import Any

import yaml

from . import template
from .codes import Code, error
from .model import DocumentError
from .text import Lines

_CONFLICT = re.compile(r"^(?:<{7} |>{7} |\|{7} |={7}$)", re.MULTILINE)


def syntax_error(cause: yaml.YAMLError, lines: Lines, loader: Any) -> DocumentError:
    """The DocumentError for what a YAML parser (either of the two) raised about this text."""
    text = lines.text
    problem = str(getattr(cause, "problem", None) or cause)
    context = str(getattr(cause, "context", None) or "")
    at = _offset(getattr(cause, "problem_mark", None), lines)
    before = _offset(getattr(cause, "context_mark", None), lines) if getattr(cause, "context_mark", None) else at

    conflict = _CONFLICT.search(text)
    if conflict is not None:
        return error(
            Code.MERGE_CONFLICT,
            f"`{conflict[0].strip()}` is a marker of an unresolved merge conflict. Resolve it and remove the markers.",
            lines.position(conflict.start()),
        )
    found = template.marker(lines, _suspects(lines, at, before, context), lines.position(at).line)
    if found is not None:
        return error(Code.TEMPLATE, template.message(text, found[0]), lines.position(found[0]))
    for tell in (_tab, _scalars, _alias, _flow, _block, _stream):
        diagnosis = tell(problem, context, at, before, lines, loader)
        if diagnosis is not None:
            code, message, offset = diagnosis
            return error(code, message, lines.position(offset))
    return error(Code.SYNTAX, f"This is not YAML: {problem}.", lines.position(at))


_Diagnosis = tuple[Code, str, int] | None


def _offset(mark: Any, lines: Lines) -> int:
    """A mark's offset; libyaml's end-of-text mark stands on a line of its own, ours at the end of the text."""
    return min(mark.index, len(lines.text)) if mark is not None else 0


def _suspects(lines: Lines, at: int, before: int, context: str) -> list[int]:
    line = lines.position(at).line
    previous = line - 1
    while previous > 1 and not lines.line(previous).strip():
        previous -= 1
    suspects = [previous, line]
    if "block" not in context:
        first = lines.position(before).line
        suspects += range(max(first, line - 20), line)
    return [number for number in suspects if number >= 1]


def _first_on_line(lines: Lines, at: int) -> bool:
    position = lines.position(at)
    return not lines.line(position.line)[: position.column - 1].strip()


def _previous(lines: Lines, at: int) -> int:
    """The number of the last line with content above an offset's line; 0 if there is none."""
    number = lines.position(at).line - 1
    while number > 0 and (not lines.line(number).strip() or lines.line(number).lstrip().startswith("#")):
        number -= 1
    return number


def _word(lines: Lines, at: int) -> str:
    """The text from an offset to the end of its line, cut short."""
    position = lines.position(at)
    rest = lines.line(position.line)[position.column - 1 :].rstrip()
    return rest if len(rest) <= 40 else rest[:37] + "..."


def _tab(problem: str, context: str, at: int, before: int, lines: Lines, loader: Any) -> _Diagnosis:
    if "tab character" in problem or ("cannot start any token" in problem and lines.text[at : at + 1] == "\t"):
        where = "as indentation" if _first_on_line(lines, at) else "outside of quotes"
        return Code.TAB, f"A tab stands here {where}; only spaces are legal. Replace the tab by spaces.", at
    return None


def _scalars(problem: str, context: str, at: int, before: int, lines: Lines, loader: Any) -> _Diagnosis:
    text = lines.text
    if "cannot start any token" in problem:
        return (
            Code.CHARACTER,
            f"A value may not begin with `{text[at]}`. Put it in quotes: '{_word(lines, at)}'.",
            at,
        )
    if "unexpected end of stream" in problem or "unexpected document" in problem:
        return Code.QUOTE, f"The quotation mark {text[before : before + 1]} is never closed. Close it.", before
    if "quoted" in context:
        return (
            Code.ESCAPE,
            f"`{_escape(text, at)}` is no escape, and a backslash in double quotes begins one. "
            "Use single quotes, or write `\\\\` for a backslash.",
            text.rfind("\\", before, at + 1),
        )
    if "block scalar" in context:
        return Code.SYNTAX, "After `|` or `>` the text begins on the next line, indented by spaces.", at
    return None


def _escape(text: str, at: int) -> str:
    start = text.rfind("\\", 0, at + 1)
    return text[start : max(start + 2, at)]


def _alias(problem: str, context: str, at: int, before: int, lines: Lines, loader: Any) -> _Diagnosis:
    if "undefined alias" in problem:
        name = _word(lines, at).split(" ")[0].rstrip(",]}")
        message = f"`{name}` refers to an anchor `&{name[1:]}`, and no line above has one. If text is meant, quote it."
        return Code.ALIAS, message, at
    if "scanning an alias" in context or "scanning an anchor" in context:
        sign = lines.text[before : before + 1]
        what = "an alias" if sign == "*" else "an anchor"
        message = f"A value that begins with `{sign}` is {what}. Put it in quotes: '{_word(lines, before)}'."
        return Code.ALIAS, message, before
    if "duplicate anchor" in context:
        name = _word(lines, at).split(" ")[0]
        return Code.ALIAS, f"The anchor `{name}` is defined a second time here. Rename one.", at
    if "tag" in context or "tag handle" in problem:
        message = f"`{_word(lines, before)}`: a value that begins with `!` is a tag. Put it in quotes."
        return Code.UNKNOWN_TAG, message, before
    return None


def _flow(problem: str, context: str, at: int, before: int, lines: Lines, loader: Any) -> _Diagnosis:
    text = lines.text
    if "node content" in problem:
        if not text[at:].strip():
            opened = _last_open(text, loader)
            if opened is not None:
                return _unclosed(text, opened)
        found = text[at : at + 1]
        if found in ("]", "}"):
            return Code.BRACKET, f"`{found}` closes nothing. Remove it, or put the value in quotes.", at
        return Code.SYNTAX, f"A value is missing in front of `{found}`. Write it, or put the text in quotes.", at
    if "flow sequence" not in context and "flow mapping" not in context:
        return None
    if not text[at:].strip() or lines.position(at).line > lines.position(before).line:
        return _unclosed(text, before)
    if text[at : at + 1] == "{" and text[max(0, at - 1) : at] == "$":
        return Code.BRACKET, "Inside `{ }` or `[ ]` an interpolation must stand in quotes: '${...}'.", at - 1
    closing = "]" if text[before] == "[" else "}"
    return (
        Code.BRACKET,
        f"In the `{text[before]}` of column {lines.position(before).column} a `,` or `{closing}` should stand here, "
        f"not `{_word(lines, at)}`. A value with such characters needs quotes.",
        at,
    )


def _unclosed(text: str, at: int) -> _Diagnosis:
    return Code.BRACKET, f"`{text[at]}` is never closed. Close it with `{']' if text[at] == '[' else '}'}`.", at


def _last_open(text: str, loader: Any) -> int | None:
    """Where the innermost `[` or `{` stands that is still open at the end."""
    opened: list[int] = []
    try:
        for token in yaml.scan(text, Loader=loader):
            if isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
                opened.append(token.start_mark.index)
            elif isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken) and opened:
                opened.pop()
    except yaml.YAMLError:
        pass
    return opened[-1] if opened else None


def _block(problem: str, context: str, at: int, before: int, lines: Lines, loader: Any) -> _Diagnosis:
    text = lines.text
    if "mapping values are not allowed" in problem:
        return _second_colon(at, lines)
    if "could not find expected ':'" in problem:
        word = _word(lines, before)
        return Code.COLON, f"`{word}` is no `key: value`: the `:` with a blank behind it is missing.", before
    if "not allowed" in problem:
        sign = text[at : at + 1]
        what = "a list begins on the line below its key" if sign == "-" else "quote a value that begins with it"
        return Code.SYNTAX, f"`{sign}` may not stand here: {what}.", at
    if "block collection" in context:
        return Code.INDENTATION, f"`{_word(lines, at)}` stands where the next `- ` of the list above belongs.", at
    if "block mapping" not in context:
        return None
    found = text[at : at + 1]
    if not _first_on_line(lines, at):
        return _behind(at, lines)
    if found and found in "]}":
        return Code.BRACKET, f"`{found}` closes nothing. Remove it.", at
    if found == ":":
        return Code.COLON, "There is no key in front of this `:`.", at
    if found == "-":
        return Code.INDENTATION, f"`{_word(lines, at)}` is a list item where a key of the mapping above belongs.", at
    return (
        Code.INDENTATION,
        f"`{_word(lines, at)}` begins in column {lines.position(at).column}, which fits no key above. Align it.",
        at,
    )


def _behind(at: int, lines: Lines) -> _Diagnosis:
    """Text that follows a complete value on its line."""
    position = lines.position(at)
    front = lines.line(position.line)[: position.column - 1].rstrip()
    last = front[-1:]
    if last in ("'", '"'):
        double = " (a quote inside single quotes is written twice)" if last == "'" else ""
        message = f"`{_word(lines, at)}` follows the closing quotation mark{double}. Quote the whole value."
        return Code.QUOTE, message, at
    if last in ("]", "}"):
        message = f"`{_word(lines, at)}` follows the closing `{last}`. Remove it, or quote the whole value."
        return Code.BRACKET, message, at
    return Code.SYNTAX, f"`{_word(lines, at)}` may not follow here. Quote the value.", at


def _second_colon(at: int, lines: Lines) -> _Diagnosis:
    position = lines.position(at)
    front = lines.line(position.line)[: position.column - 1]
    if re.search(r"(?<!:):\s", front):
        return (
            Code.COLON,
            "A second `: ` stands in this line. If it belongs to the value, quote the value; else begin a new line.",
            at,
        )
    start = at - len(front.lstrip())
    above = _previous(lines, at)
    if above and re.search(r":(?:\s|$)", lines.line(above)):
        return (
            Code.INDENTATION,
            f"This line is indented as if it belonged to line {above}, which already has a value. Align it.",
            start,
        )
    if above:
        line = lines.line(above)
        first = lines.starts[above - 1] + len(line) - len(line.lstrip(" -"))
        return (
            Code.COLON,
            f"`{_word(lines, first)}` is no `key: value`: the `:` with a blank behind it is missing.",
            first,
        )
    return Code.COLON, "This `:` belongs to no key.", at


def _stream(problem: str, context: str, at: int, before: int, lines: Lines, loader: Any) -> _Diagnosis:
    if "single document" in context or "another document" in problem:
        return (
            Code.MULTIPLE_DOCUMENTS,
            "A second document begins here; a config is one document. Split the file, or remove the `---`.",
            at,
        )
    if "document start" in problem:
        if lines.text[:at].lstrip(" \r\n").startswith("%") or not lines.text[:at].strip():
            return Code.SYNTAX, "A line that begins with `%` is a directive and needs a `---` below it.", at
        return Code.INDENTATION, f"`{_word(lines, at)}` is indented less than the first key of the file. Align it.", at
    if "directive" in context or "incompatible" in problem:
        return Code.SYNTAX, "A line that begins with `%` is a directive of YAML, and this one is not known.", before
    return None
