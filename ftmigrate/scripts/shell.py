"""The simple commands of a piece of shell text, with the values of the variables that the text itself assigns.

A variable counts as known only where its value is literal and the same on every way to the command: what is assigned
in a branch, in a loop or in a function called later is not. Nothing is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field

from ftmigrate.document.model import Position
from ftmigrate.document.unknown import is_marked, mark, plain
from ftmigrate.scripts.lexer import Document, Kind, Lexer, Operator, Part, Word
from ftmigrate.scripts.text import Mapped, part

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=")
_OPENING = {"if": "fi", "case": "esac", "for": "done", "while": "done", "until": "done", "select": "done"}
_LOOPS = ("for", "while", "until", "select")
_PASSED = ("then", "do", "!", "time", "else", "elif")
_DECLARING = ("export", "declare", "local", "readonly", "typeset", "env")
_READING = ("read", "unset", "mapfile", "readarray", "getopts")
_PRINTING = ("echo", "printf", "#", ":", "print", "alias")
_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*):?[-=]")
_DEPTH = 4

Known = str | tuple[str, ...] | None


class Argument(Struct, frozen=True):
    """A word of a command as the shell passes it on, unknown parts marked (ftmigrate.document.unknown)."""

    text: str
    position: Position

    @property
    def plain(self) -> str:
        """The text with unknown parts as they were written."""
        return plain(self.text)


class Command(Struct, frozen=True):
    """A simple command: its words, and the variables set for it alone in front of it."""

    words: tuple[Argument, ...]
    environment: Mapping[str, str]
    position: Position


class _Item(Struct):
    words: list[Word]
    ending: str
    document: Document | None = None


class _Frame(Struct):
    """A block that is open, the variables as they were before it, and the names that it has assigned so far."""

    kind: str
    before: dict[str, Known]
    changed: set[str] = field(default_factory=set)


def commands(source: Mapped, variables: Mapping[str, Known] | None = None, depth: int = 0) -> Iterator[Command]:
    """Every simple command in the order of the text, those in quotes and here-documents included."""
    yield from _Shell(source, dict(variables or {}), depth).run()


class _Shell:
    def __init__(self, source: Mapped, variables: dict[str, Known], depth: int) -> None:
        self.source = source
        self.variables = variables
        self.depth = depth
        self.frames: list[_Frame] = []
        self.items = _items(source)

    def run(self) -> Iterator[Command]:
        before = ""
        for index, item in enumerate(self.items):
            if item.document is not None:
                yield from self._document(item.document)
                continue
            words = self._keywords(list(item.words), index)
            if words:
                yield from self._simple(words, conditional=before in ("&&", "||"))
            if item.ending == "(":
                self.frames.append(_Frame("(", dict(self.variables)))
            elif item.ending == ")" and self.frames and self.frames[-1].kind == "(":
                self.variables = self.frames.pop().before
            elif item.ending in (";;", ";&", ";;&"):
                self._branch()
            before = item.ending

    # --- blocks -------------------------------------------------------------------------------------------------

    def _keywords(self, words: list[Word], index: int) -> list[Word]:
        """The words that are left of a command when the shell's own words in front of it are taken away."""
        while words:
            word = words[0].keyword
            if word in _OPENING:
                self.frames.append(_Frame(word, dict(self.variables)))
                if word in _LOOPS:
                    self._forget(_assigned(self.items[index : self._end(index)]))
                if word in ("for", "select"):
                    self._loop(words[1:])
                    return []
                if word == "case":
                    return []
            elif word in ("else", "elif"):
                self._branch()
            elif word in _OPENING.values() or word == "}":
                self._close()
            elif word == "function" or (len(words) == 1 and self._defines(index)):
                self.frames.append(_Frame("function", dict(self.variables)))
                self._forget(_assigned(self.items[index:]))
                return []
            elif word == "{":
                if not (self.frames and self.frames[-1].kind == "function" and index and self._follows(index)):
                    self.frames.append(_Frame("{", dict(self.variables)))
            elif word not in _PASSED:
                break
            words = words[1:]
        return words

    def _defines(self, index: int) -> bool:
        """Whether the item is the name in `name() {`."""
        return (
            self.items[index].ending == "("
            and index + 1 < len(self.items)
            and not self.items[index + 1].words
            and self.items[index + 1].ending == ")"
        )

    def _follows(self, index: int) -> bool:
        """Whether a `{` stands right behind a function's head."""
        back = index - 1
        while back > 0 and not self.items[back].words:
            back -= 1
        return self._defines(back) or (bool(self.items[back].words) and self.items[back].words[0].keyword == "function")

    def _end(self, index: int) -> int:
        """The index behind the item that closes the loop that begins in this one."""
        depth = 0
        for at in range(index, len(self.items)):
            for word in self.items[at].words[:2]:
                if word.keyword in _LOOPS:
                    depth += 1
                elif word.keyword == "done":
                    depth -= 1
            if depth <= 0 and at > index:
                return at + 1
        return len(self.items)

    def _loop(self, words: Sequence[Word]) -> None:
        if not words or words[0].literal is None:
            return
        values = [word.literal for word in words[2:]]
        known = values[0] if len(values) == 1 else None
        self.variables[words[0].literal] = None if known is None or set(known) & set("*?[") else known

    def _branch(self) -> None:
        if self.frames and self.frames[-1].kind in ("if", "case"):
            frame = self.frames[-1]
            frame.changed |= self._differing(frame.before)
            self.variables = dict(frame.before)

    def _close(self) -> None:
        if not self.frames:
            return
        frame = self.frames.pop()
        if frame.kind != "{":
            changed = frame.changed | self._differing(frame.before)
            self.variables = dict(frame.before)
            self._forget(changed)

    def _differing(self, before: Mapping[str, Known]) -> set[str]:
        names = {*before, *self.variables}
        missing = object()
        return {name for name in names if before.get(name, missing) != self.variables.get(name, missing)}

    def _forget(self, names: set[str]) -> None:
        self.variables.update(dict.fromkeys(names, None))

    # --- commands -----------------------------------------------------------------------------------------------

    def _simple(self, words: list[Word], *, conditional: bool) -> Iterator[Command]:
        prefix: list[Word] = []
        while words and _assignment(words[0]):
            prefix.append(words.pop(0))
        name = words[0].keyword if words else ""
        if not words:
            for word in prefix:
                self._assign(word, conditional=conditional)
            return
        if name in _DECLARING:
            declared = [word for word in words[1:] if _assignment(word)]
            if name != "env":
                for word in declared:
                    self._assign(word, conditional=conditional)
                return
            prefix += declared
        if name in _READING:
            self._forget({word.literal for word in words[1:] if word.literal is not None})
            return
        start = self.source.position(prefix[0].start if prefix else words[0].start)
        environment = {found[0]: found[1] for word in prefix if (found := self._pair(word)) is not None}
        yield Command(tuple(arg for word in words for arg in self.expand(word)), environment, start)
        if name not in _PRINTING and self.depth < _DEPTH:
            for word in words[1:]:
                yield from self._quoted(word)

    def _pair(self, word: Word) -> tuple[str, str] | None:
        found = _ASSIGNMENT.match(word.parts[0].text)
        if found is None:
            return None
        text = "".join(argument.text for argument in self.expand(word, split=False))
        return found[1], text[found.end() :]

    def _assign(self, word: Word, *, conditional: bool) -> None:
        found = _ASSIGNMENT.match(word.parts[0].text)
        assert found is not None
        name, adding = found[1], bool(found[2])
        value: Known
        if word.items is not None:
            value = tuple(argument.text for item in word.items for argument in self.expand(item))
        else:
            value = "".join(argument.text for argument in self.expand(word, split=False))[found.end() :]
        if adding:
            known = self.variables.get(name, () if isinstance(value, tuple) else "")
            if isinstance(known, tuple) and isinstance(value, tuple):
                value = (*known, *value)
            elif isinstance(known, str) and isinstance(value, str):
                value = known + value
            else:
                value = None
        if conditional and self.variables.get(name, value) != value:
            value = None
        self.variables[name] = None if conditional and name not in self.variables else value

    def _quoted(self, word: Word) -> Iterator[Command]:
        """Commands in a word that is one quoted text (`bash -c "..."`, `--wrap="..."`)."""
        parts = [found for found in word.parts if found.quote]
        lead = "".join(found.text for found in word.parts if not found.quote)
        if not parts or len({found.quote for found in parts}) > 1 or (lead and not re.fullmatch(r"--[\w-]+=", lead)):
            return
        start, end = parts[0].start, parts[-1].end
        if " " not in self.source.text[start:end]:
            return
        escaped = '"$`\\' if parts[0].quote == '"' else ""
        yield from commands(part(self.source, start, end, escaped), self.variables, self.depth + 1)

    def _document(self, found: Document) -> Iterator[Command]:
        if self.depth < _DEPTH:
            inner = part(self.source, found.start, found.end, "" if found.raw else "$`\\")
            yield from commands(inner, {} if found.raw else self.variables, self.depth + 1)

    # --- expansion ----------------------------------------------------------------------------------------------

    def expand(self, word: Word, *, split: bool = True) -> list[Argument]:
        """The arguments that a word becomes: none or several where it holds variables outside of quotes."""
        position = self.source.position(word.start)
        fields: list[str] = [""]
        filled = not split
        for found in word.parts:
            values = self._values(found)
            if found.kind is not Kind.VARIABLE or found.quote or not split:
                pieces = list(values) if found.every and split else [" ".join(values)]
            else:
                pieces = [piece for value in values for piece in value.split()]
            filled = filled or bool(pieces and (pieces[0] or found.quote))
            if pieces:
                fields[-1] += pieces[0]
                fields += pieces[1:]
        return [Argument(text, position) for text in fields] if filled or len(fields) > 1 else []

    def _values(self, found: Part) -> tuple[str, ...]:
        if found.kind is Kind.LITERAL:
            return (found.text,)
        if found.kind is Kind.EXPRESSION:
            return (self._expression(found.text),)
        known = self.variables.get(found.name)
        if known is None:
            return (mark(found.text),)
        if isinstance(known, tuple):
            return known if found.every else known[:1]
        return (known,)

    def _expression(self, text: str) -> str:
        """`${X:-...}` of a known variable, and sums of known numbers; else the expression itself, marked."""
        default = _DEFAULT.match(text)
        if default is not None and isinstance(known := self.variables.get(default[1]), str) and known:
            return known
        if text.startswith("$((") and text.endswith("))"):
            return self._sum(text[3:-2]) or mark(text)
        return mark(text)

    def _sum(self, text: str) -> str | None:
        filled = re.sub(r"\$?\{?([A-Za-z_]\w*)\}?", lambda found: f" {self._number(found[1])} ", text)
        total: int | None = None
        for factors in filled.split("+"):
            product = 1
            for factor in factors.split("*"):
                if not factor.strip().isdecimal():
                    return None
                product *= int(factor)
            total = product if total is None else total + product
        return str(total)

    def _number(self, name: str) -> str:
        known = self.variables.get(name)
        return known if isinstance(known, str) and not is_marked(known) else "?"


def _assignment(word: Word) -> bool:
    return bool(word.parts) and not word.parts[0].quote and _ASSIGNMENT.match(word.parts[0].text) is not None


def _assigned(items: Sequence[_Item]) -> set[str]:
    """The names that these commands assign, read or count up."""
    names: set[str] = set()
    for item in items:
        words = [word for word in item.words if word.keyword not in _PASSED]
        for index, word in enumerate(words):
            declares = bool(index) and words[0].keyword in _DECLARING
            if _assignment(word) and (declares or all(_assignment(other) for other in words[:index])):
                found = _ASSIGNMENT.match(word.parts[0].text)
                assert found is not None
                names.add(found[1])
            elif index and words[0].keyword in (*_READING, "for", "let") and word.literal is not None:
                names.add(word.literal.split("=")[0])
        names |= {name for word in words for name in _counted(word)}
    return names


def _counted(word: Word) -> list[str]:
    """The variables that arithmetic in a word changes: `$((i++))`."""
    return [name for found in word.parts if found.kind is Kind.EXPRESSION and "((" in found.text
            for name in re.findall(r"([A-Za-z_]\w*)\s*(?:\+\+|--|[-+*/]?=(?!=))", found.text)]  # fmt: skip


def _items(source: Mapped) -> list[_Item]:
    items: list[_Item] = []
    words: list[Word] = []
    for token in Lexer(source).tokens():
        if isinstance(token, Word):
            words.append(token)
            continue
        if isinstance(token, Operator):
            items.append(_Item(words, token.text))
        else:
            items.append(_Item([], "", token))
        words = []
    items.append(_Item(words, ""))
    return items
