"""Shell text to words and operators. Nothing is refused: an unclosed quote stands for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from ftmigrate.scripts.text import Mapped

_BLANK = " \t\r"
_ENDS = " \t\r\n;&|()<>"
_OPERATOR = re.compile(r";;&|;;|;&|&&|\|\||\|&|[;&|()]")
_REDIRECTION = re.compile(r"&>>|&>|<<<|<<-|<<|>>|>&|<&|<>|>\||<|>")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(\[[@*]\])?\})")
_SPECIAL = re.compile(r"\$[0-9@#?$!*-]")
_BRACES = re.compile(r"\{[^{}\s'\"]*(?:,|\.\.)[^{}\s'\"]*\}")
_PLACEHOLDER = re.compile(r"<[A-Za-z][A-Za-z0-9]*(?:[_ -][A-Za-z0-9]+)+>|<[A-Z][A-Z0-9]+>")
_ARRAY = re.compile(r"[A-Za-z_]\w*\+?=")


class Kind(Enum):
    LITERAL = "literal"
    VARIABLE = "variable"
    EXPRESSION = "expression"


class Part(Struct, frozen=True):
    """A stretch of a word. `text` is the literal's value, or the expression as written; `name` is the variable's.

    `every`: all items of an array (`${X[@]}`). start and end enclose the text between the quotes, if quoted.
    """

    kind: Kind
    text: str
    start: int
    end: int
    quote: str = ""
    name: str = ""
    every: bool = False


class Word(Struct, frozen=True):
    """A word; `items` are those of the array where it is `NAME=(...)`."""

    parts: tuple[Part, ...]
    start: int
    end: int
    items: tuple[Word, ...] | None = None

    @property
    def literal(self) -> str | None:
        """The text where it is written out, without any expansion; None otherwise."""
        if all(part.kind is Kind.LITERAL for part in self.parts):
            return "".join(part.text for part in self.parts)
        return None

    @property
    def keyword(self) -> str:
        """The word where it may be one of the shell's own: a literal that is not quoted."""
        return self.parts[0].text if len(self.parts) == 1 and not self.parts[0].quote and self.literal else ""


class Operator(Struct, frozen=True):
    text: str
    start: int


class Document(Struct, frozen=True):
    """A here-document: the text between start and end; `raw` where nothing in it is expanded."""

    start: int
    end: int
    raw: bool


Token: TypeAlias = "Word | Operator | Document"


class Lexer:
    def __init__(self, source: Mapped) -> None:
        self.text = source.text
        self.end = len(source.text)
        self._at = 0
        self._awaited: list[tuple[str, bool, bool]] = []

    def tokens(self) -> Iterator[Token]:
        text = self.text
        while self._at < self.end:
            here, char = self._at, text[self._at]
            if char in _BLANK:
                self._at += 1
            elif (length := self._continued(here)) > 0:
                self._at += length
            elif char == "\n":
                self._at += 1
                yield Operator("\n", here)
                yield from self._here_documents()
            elif char == "#":
                self._at = self._line_end(here)
            elif char in "<>" or text.startswith("&>", here):
                if _PLACEHOLDER.match(text, here):
                    yield self._word()
                else:
                    self._redirect()
            elif (operator := _OPERATOR.match(text, here)) is not None:
                self._at = operator.end()
                yield Operator(operator[0], here)
            else:
                word = self._word()
                number = word.literal is not None and word.literal.isdigit()
                if not (number and word.end < self.end and text[word.end] in "<>"):
                    yield word

    def _continued(self, at: int) -> int:
        """The length of a line continuation here."""
        if self.text.startswith("\\\n", at):
            return 2
        return 3 if self.text.startswith("\\\r\n", at) else 0

    def _line_end(self, at: int) -> int:
        end = self.text.find("\n", at)
        return self.end if end < 0 else end

    # --- redirections -------------------------------------------------------------------------------------------

    def _redirect(self) -> None:
        found = _REDIRECTION.match(self.text, self._at)
        assert found is not None
        self._at = found.end()
        if self.text.startswith("(", self._at):
            self._at = self._closed(self._at, "(", ")") or self._at + 1
            return
        while self._at < self.end and self.text[self._at] in _BLANK:
            self._at += 1
        if self._at >= self.end or self.text[self._at] in _ENDS:
            return
        word = self._word()
        if found[0] in ("<<", "<<-"):
            name = "".join(part.text for part in word.parts)
            raw = any(part.quote for part in word.parts) or "\\" in self.text[word.start : word.end]
            self._awaited.append((name, found[0] == "<<-", raw))

    def _here_documents(self) -> Iterator[Token]:
        awaited, self._awaited = self._awaited, []
        for name, indented, raw in awaited:
            start = line = self._at
            while line < self.end:
                end = self._line_end(line)
                words = self.text[line:end].rstrip("\r")
                if (words.lstrip("\t") if indented else words) == name:
                    break
                line = min(end + 1, self.end)
            yield Document(start, line, raw)
            self._at = min(self._line_end(line) + 1, self.end) if line < self.end else self.end

    # --- words --------------------------------------------------------------------------------------------------

    def _word(self) -> Word:
        text, start = self.text, self._at
        parts: list[Part] = []
        plain, plain_start = "", start

        def flush() -> None:
            nonlocal plain
            if plain:
                parts.append(Part(Kind.LITERAL, plain, plain_start, self._at))
                plain = ""

        while self._at < self.end:
            here, char = self._at, text[self._at]
            if (length := self._continued(here)) > 0:
                self._at += length
                continue
            if char == "<" and (found := _PLACEHOLDER.match(text, here)) is not None:
                flush()
                parts.append(Part(Kind.EXPRESSION, found[0], here, found.end()))
                self._at = found.end()
                continue
            if char == "(" and not parts and _ARRAY.fullmatch(plain):
                flush()
                return self._array(parts, start)
            if char in _ENDS:
                break
            special: list[Part] | None = None
            if char in "'\"`$":
                flush()
                special = self._special(char)
            elif char == "{" and (braces := _BRACES.match(text, here)) is not None:
                flush()
                special = [Part(Kind.EXPRESSION, braces[0], here, braces.end())]
                self._at = braces.end()
            if special is not None:
                parts += special
                plain_start = self._at
                continue
            if not plain:
                plain_start = here
            if char == "\\" and here + 1 < self.end:
                plain += text[here + 1]
                self._at += 2
            else:
                plain += char
                self._at += 1
        flush()
        return Word(tuple(parts), start, self._at)

    def _array(self, parts: list[Part], start: int) -> Word:
        self._at += 1
        items: list[Word] = []
        while self._at < self.end and self.text[self._at] != ")":
            char = self.text[self._at]
            if char in _BLANK or char == "\n":
                self._at += 1
            elif char == "#":
                self._at = self._line_end(self._at)
            elif (length := self._continued(self._at)) > 0:
                self._at += length
            elif char in _ENDS:
                self._at += 1
            else:
                items.append(self._word())
        self._at = min(self._at + 1, self.end)
        return Word(tuple(parts), start, self._at, tuple(items))

    def _special(self, char: str) -> list[Part] | None:
        """What a quote or an expansion stands for; None where it stands for itself."""
        here = self._at
        if char == "'":
            return self._single(here, here + 1)
        if char == '"':
            return self._double(here + 1)
        if char == "`":
            end = self.text.find("`", here + 1)
            if end < 0:
                return None
            self._at = end + 1
            return [Part(Kind.EXPRESSION, self.text[here : end + 1], here, end + 1)]
        if self.text.startswith("$'", here):
            return self._single(here, here + 2)
        if self.text.startswith('$"', here):
            return self._double(here + 2)
        found = self._expansion(here, "")
        if found is None:
            return None
        self._at = found.end
        return [found]

    def _single(self, here: int, start: int) -> list[Part] | None:
        end = self.text.find("'", start)
        if end < 0:
            return None
        self._at = end + 1
        return [Part(Kind.LITERAL, self.text[start:end], start, end, "'")]

    def _double(self, start: int) -> list[Part] | None:
        text = self.text
        parts: list[Part] = []
        plain, begun, at = "", start, start
        while at < self.end and text[at] != '"':
            found = self._expansion(at, '"') if text[at] in "$`" else None
            if found is not None:
                if plain:
                    parts.append(Part(Kind.LITERAL, plain, begun, at, '"'))
                parts.append(found)
                at = begun = found.end
                plain = ""
            elif text[at] == "\\" and at + 1 < self.end and text[at + 1] in '"$`\\\n':
                plain += "" if text[at + 1] == "\n" else text[at + 1]
                at += 2
            else:
                plain += text[at]
                at += 1
        if at >= self.end:
            return None
        if plain or not parts:
            parts.append(Part(Kind.LITERAL, plain, begun, at, '"'))
        self._at = at + 1
        return parts

    def _expansion(self, here: int, quote: str) -> Part | None:
        """The expansion that begins at a `$` (in double quotes also a backquote)."""
        text = self.text
        if text[here] == "`":
            end = text.find("`", here + 1)
            return Part(Kind.EXPRESSION, text[here : end + 1], here, end + 1, quote) if end > 0 else None
        if (found := _VARIABLE.match(text, here)) is not None:
            name, every = found[1] or found[2], found[3] is not None
            return Part(Kind.VARIABLE, found[0], here, found.end(), quote, name, every)
        for opening, closing in (("(", ")"), ("{", "}")):
            if text.startswith("$" + opening, here):
                end = self._closed(here + 1, opening, closing)
                return Part(Kind.EXPRESSION, text[here:end], here, end, quote) if end else None
        if (special := _SPECIAL.match(text, here)) is not None:
            return Part(Kind.EXPRESSION, special[0], here, special.end(), quote)
        return None

    def _closed(self, start: int, opening: str, closing: str) -> int:
        """The offset behind the bracket that closes the one at `start`; 0 where none does."""
        depth = 0
        for at in range(start, self.end):
            if self.text[at] == opening:
                depth += 1
            elif self.text[at] == closing:
                depth -= 1
                if depth == 0:
                    return at + 1
        return 0
