"""The grammar of OmegaConf's `${...}` and of its key paths."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias


class Reference(NamedTuple):
    """`${..a[0].b}`: `dots` relative steps, then the keys; a key may itself be a reference (bracketed or not)."""

    text: str
    dots: int
    keys: tuple[str | Nested, ...]


class Nested(NamedTuple):
    """A reference whose value names a key, or outside of brackets a dotted path."""

    inner: Reference | Resolver
    bracketed: bool


class Resolver(NamedTuple):
    """`${name:arguments}`."""

    text: str


Part: TypeAlias = str | Reference | Resolver


class BadInterpolation(ValueError):
    """A malformed `${...}` with its offset in the string."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


_OPEN = re.compile(r"(\\*)\$\{")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r"""(?:[^\\{}()\[\]:. \t'"$]|\$(?!\{)|\\[\\.\[\]:=])+""")
_ESCAPED = re.compile(r"\\([\\.\[\]:=])")
_RESOLVER_NAME = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*[ \t]*:", re.ASCII)


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[Part, ...]:
    """A string's literal parts and interpolations, escapes undone. Raises BadInterpolation."""
    parts: list[Part] = []
    literal = ""
    at = 0
    while (found := _OPEN.search(text, at)) is not None:
        slashes = len(found[1])
        literal += text[at : found.start()] + "\\" * (slashes // 2)
        if slashes % 2:
            literal += "${"
            at = found.end()
            continue
        if literal:
            parts.append(literal)
            literal = ""
        part, at = _interpolation(text, found.end() - 2, 0)
        parts.append(part)
    literal += text[at:]
    if literal or not parts:
        parts.append(literal)
    return tuple(parts)


def _interpolation(text: str, start: int, depth: int) -> tuple[Reference | Resolver, int]:
    """The interpolation whose `${` stands at `start`, and the offset behind it."""
    if depth > 20:
        raise BadInterpolation("it is nested too deeply", start)
    at = _skip(text, start + 2)
    name = _RESOLVER_NAME.match(text, at)
    if name is not None:
        end = _resolver_end(text, name.end(), start)
        return Resolver(text[start:end]), end
    dots = 0
    while text[at : at + 1] == ".":
        dots += 1
        at += 1
    keys: list[str | Nested] = []
    while True:
        bracket = text[at : at + 1] == "["
        key, at = _key(text, at + bracket, start, bracket, depth)
        keys.append(key)
        if bracket:
            if text[at : at + 1] != "]":
                raise BadInterpolation("a `]` is missing", start)
            at += 1
        follows = text[at : at + 1]
        if follows == ".":
            at += 1
            if text[at : at + 1] == "[":
                raise BadInterpolation("a `.` stands in front of a `[`", start)
        elif follows != "[":
            break
    at = _skip(text, at)
    if text[at : at + 1] == ":" and dots == 0 and not any(isinstance(key, str) for key in keys):
        end = _resolver_end(text, at + 1, start)  # `${${name}:...}`
        return Resolver(text[start:end]), end
    if text[at : at + 1] != "}":
        what = f"`{text[at]}` may not stand in a key" if at < len(text) else "the closing `}` is missing"
        raise BadInterpolation(what, start)
    return Reference(text[start : at + 1], dots, tuple(keys)), at + 1


def _key(text: str, at: int, start: int, bracketed: bool, depth: int) -> tuple[str | Nested, int]:
    if text.startswith("${", at):
        inner, at = _interpolation(text, at, depth + 1)
        return Nested(inner, bracketed), at
    found = _KEY.match(text, at)
    if found is None:
        what = "the closing `}` is missing" if at >= len(text) else f"a key is missing before `{text[at]}`"
        raise BadInterpolation(what, start)
    return _ESCAPED.sub(r"\1", found[0]), found.end()


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _resolver_end(text: str, at: int, start: int) -> int:
    """The offset behind a resolver's closing brace; quotes and nested braces are passed over."""
    opened = 0
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            at += 2
            continue
        if sign in "'\"":
            close = at + 1
            while close < len(text) and text[close] != sign:
                close += 2 if text[close] == "\\" else 1
            if close >= len(text):
                raise BadInterpolation(f"the quotation mark {sign} is not closed", start)
            at = close
        elif sign == "{":
            opened += 1
        elif sign == "}":
            if not opened:
                return at + 1
            opened -= 1
        at += 1
    raise BadInterpolation("the closing `}` is missing", start)


_HEAD = re.compile(r"\.*[^.\[]*")
_STEP = re.compile(r"\.([^.\[]*)|\[(.*?)\]")


def _plain_steps(key: str) -> list[str]:
    found = _HEAD.match(key)
    head = found[0] if found else ""
    steps = head.split(".")
    if key[len(head) :].startswith("[") and not steps[-1]:
        steps.pop()
    return steps + [dotted or bracketed for dotted, bracketed in _STEP.findall(key[len(head) :])]


def split_key(key: str) -> list[str]:
    r"""`a.b[0]` as its steps; `\.`, `\[`, `\]` and `\=` stand for the characters themselves."""
    if "\\" not in key:
        return _plain_steps(key)
    steps: list[str] = []
    at = 0
    if not key.startswith("["):
        step, at = _until(key, 0, ".[")
        steps.append(step)
    while at < len(key):
        if key[at] == ".":
            step, at = _until(key, at + 1, ".[")
        else:
            step, at = _until(key, at + 1, "]")
            if at >= len(key):
                break  # a bracket that is never closed counts for nothing
            at += 1
        steps.append(step)
    return steps


def _until(key: str, at: int, ends: str) -> tuple[str, int]:
    step = ""
    while at < len(key) and key[at] not in ends:
        if key[at] == "\\" and at + 1 < len(key) and key[at + 1] in ".[]=":
            at += 1
        step += key[at]
        at += 1
    return step, at
