"""The codes a `Diagnostic` about a document may carry, and what each means. They are stable: lint builds on them."""

from __future__ import annotations

from enum import StrEnum

from .model import Diagnostic, DocumentError, Position, Severity


class Code(StrEnum):
    """What can be wrong with the text of a config."""

    # bytes and size
    ENCODING = "encoding"
    CONTROL_CHARACTER = "control-character"
    TOO_LARGE = "too-large"
    TOO_DEEP = "too-deep"
    TOO_MANY_NODES = "too-many-nodes"
    # syntax
    TEMPLATE = "template"
    MERGE_CONFLICT = "merge-conflict"
    TAB = "tab"
    INDENTATION = "indentation"
    COLON = "colon"
    QUOTE = "quote"
    BRACKET = "bracket"
    CHARACTER = "character"
    ESCAPE = "escape"
    ALIAS = "alias"
    SYNTAX = "syntax"
    # structure
    EMPTY = "empty"
    NOT_A_MAPPING = "not-a-mapping"
    MULTIPLE_DOCUMENTS = "multiple-documents"
    DUPLICATE_KEY = "duplicate-key"
    COMPLEX_KEY = "complex-key"
    NULL_KEY = "null-key"
    NON_STRING_KEY = "non-string-key"
    MERGE = "merge"
    RECURSIVE_ALIAS = "recursive-alias"
    # values
    UNKNOWN_TAG = "unknown-tag"
    BAD_VALUE = "bad-value"
    TIMESTAMP = "timestamp"
    # interpolation
    INTERPOLATION_SYNTAX = "interpolation-syntax"
    INTERPOLATION_MISSING = "interpolation-missing"
    INTERPOLATION_CYCLE = "interpolation-cycle"
    INTERPOLATION_TYPE = "interpolation-type"
    # command line
    OVERRIDE = "override"


MEANING: dict[Code, str] = {
    Code.ENCODING: "the bytes are not UTF-8",
    Code.CONTROL_CHARACTER: "a character that YAML allows nowhere, such as a zero byte",
    Code.TOO_LARGE: "the file is larger than any config (4 MiB)",
    Code.TOO_DEEP: "nesting, or a chain of interpolations, deeper than 100 levels",
    Code.TOO_MANY_NODES: "aliases or interpolations expand to more than 100,000 values",
    Code.TEMPLATE: "a template that becomes YAML only when it is filled in",
    Code.MERGE_CONFLICT: "the markers of an unresolved merge conflict",
    Code.TAB: "a tab where only spaces are legal",
    Code.INDENTATION: "a line is indented so that it belongs nowhere",
    Code.COLON: "a `:` is missing after a key, or one too many stands in a value",
    Code.QUOTE: "a quotation mark is not closed, or text follows the closing one",
    Code.BRACKET: "a `[` or `{` is not closed, or a comma is missing inside, or text follows the closing one",
    Code.CHARACTER: "a value begins with a character that YAML reserves",
    Code.ESCAPE: "an unknown backslash escape in double quotes",
    Code.ALIAS: "a `*name` without its `&name`, or a bad or repeated anchor",
    Code.SYNTAX: "any other violation of YAML's grammar",
    Code.EMPTY: "the file holds no keys at all",
    Code.NOT_A_MAPPING: "the top level is a list or a single value, not `key: value` lines",
    Code.MULTIPLE_DOCUMENTS: "more than one document, separated by `---`",
    Code.DUPLICATE_KEY: "a key stands twice in one mapping (a warning where the loader lets the last win)",
    Code.COMPLEX_KEY: "a list or a mapping is used as a key",
    Code.NULL_KEY: "a key is null",
    Code.NON_STRING_KEY: "a key is a number, boolean or date; it is read as text (an error if two keys then collide)",
    Code.MERGE: "`<<` merges something that is no mapping",
    Code.RECURSIVE_ALIAS: "an alias stands inside the value that it refers to",
    Code.UNKNOWN_TAG: "a `!tag` that the loader does not know, or that does not fit its value",
    Code.BAD_VALUE: "a value that looks like a number or a date and is none",
    Code.TIMESTAMP: "a value that the loader turns into a date (a warning)",
    Code.INTERPOLATION_SYNTAX: "a `${...}` that is not well formed",
    Code.INTERPOLATION_MISSING: "a `${...}` names a key that does not exist",
    Code.INTERPOLATION_CYCLE: "`${...}` references run in a circle",
    Code.INTERPOLATION_TYPE: "a `${...}` looks inside a value that has no parts, or uses one as a key that is no text",
    Code.OVERRIDE: "a command-line override that the launcher would refuse",
}


def error(code: Code, message: str, position: Position, related: Position | None = None) -> DocumentError:
    """A DocumentError with one diagnostic."""
    return DocumentError(Diagnostic(code.value, message, position, Severity.ERROR, related))


def warning(code: Code, message: str, position: Position, related: Position | None = None) -> Diagnostic:
    return Diagnostic(code.value, message, position, Severity.WARNING, related)
