"""Editing a YAML text in place: only the lines of what changes are touched, comments and order stay.

`rewrite` turns a text into one that reads as a wanted tree. What it made is read again: an edit that would not say
what was wanted (a value that came through an alias or a merge key) raises CannotEdit and nothing is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import yaml
from msgspec import Struct, field

from .blocks import spell
from .comments import Comment, comments
from .compose import compose
from .model import Document, Path, Value, format_path
from .scalars import Dialect
from .text import Lines


class CannotEdit(Exception):
    """The text cannot be edited in place; why, and what to do."""


class Edit(NamedTuple):
    """One change of the text. line: in the text before (for an insertion, the line after which it stands).

    kind: "set" (another value), "rename" (another key), "remove", "comment out" (removed, but its comment stays) or
    "insert". path: of the key as it was; of the new key for an insertion. to: the new key's path.
    """

    kind: str
    path: Path
    line: int
    before: str
    after: str
    to: Path | None = None


class _Entry(Struct):
    """One key of a block mapping in the text: first and last line (from 0), and the nodes."""

    key: yaml.Node
    value: yaml.Node
    first: int
    last: int


class _Editor(Struct):
    document: Document
    dialect: Dialect
    lines: Lines
    root: yaml.MappingNode
    renamed: Mapping[Path, Path]
    after: Mapping[Path, Path]
    edits: list[Edit] = field(default_factory=list)
    comments: Mapping[int, Comment] = field(default_factory=dict)
    texts: dict[int, list[str] | None] = field(default_factory=dict)
    inserted: dict[int, list[str]] = field(default_factory=dict)

    # --- finding ------------------------------------------------------------------------------------------------

    def entries(self, node: yaml.MappingNode, name: str) -> list[_Entry]:
        """All entries of this name, the one that counts last: a key may stand twice."""
        found = [(key, value) for key, value in node.value if getattr(key, "value", None) == name]
        return [_Entry(key, value, key.start_mark.line, self.last(key, value)) for key, value in found]

    def last(self, key: yaml.Node, value: yaml.Node) -> int:
        """The last line that holds something of an entry, comments behind it aside."""
        start, end = value.start_mark.index, value.end_mark.index
        if isinstance(value, yaml.CollectionNode) and not value.flow_style:
            lasts = [self.last(*(part if isinstance(part, tuple) else (part, part))) for part in value.value]
            return max([value.start_mark.line, *lasts])
        if isinstance(value, yaml.ScalarNode) and value.style in ("|", ">"):
            end = start + len(self.document.text[start:end].rstrip())
        return self.lines.position(end).line - 1 if end > start else key.end_mark.line

    def comment(self, number: int) -> bool:
        """Whether a comment stands in a line of the text."""
        return number + 1 in self.comments

    def kept(self, number: int) -> str:
        """A line's comment with the blanks before it; empty where it has none."""
        note = self.comments.get(number + 1)
        return f"  # {note.text}" if note is not None else ""

    # --- changing -----------------------------------------------------------------------------------------------

    def mapping(self, node: yaml.MappingNode, path: Path, old: Mapping[str, Value], new: Mapping[str, Value]) -> None:
        moved = {to: was for was, to in self.renamed.items()}
        for name in old:
            here = (*path, name)
            if name in new:
                if not same(old[name], new[name]):
                    self.change(node, here, name, old[name], new[name])
            elif here in self.renamed:
                self.rename(node, here, name, old[name], new[str(self.renamed[here][-1])])
            else:
                self.remove(node, here, name)
        for name in new:
            if name not in old and (*path, name) not in moved:
                self.insert(node, path, name, new[name])

    def change(self, node: yaml.MappingNode, path: Path, name: str, old: Value, new: Value) -> None:
        entry = self.entries(node, name)[-1]
        inner = entry.value
        block = isinstance(inner, yaml.CollectionNode) and not inner.flow_style
        if block and isinstance(old, dict) and isinstance(new, dict) and set(old) & set(new):
            assert isinstance(inner, yaml.MappingNode)
            self.mapping(inner, path, old, new)
            return
        if block and isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            assert isinstance(inner, yaml.SequenceNode)
            if self.items(inner, path, old, new):
                return
        self.write("set", entry, path, name, old, new)

    def items(self, node: yaml.SequenceNode, path: Path, old: Sequence[Value], new: Sequence[Value]) -> bool:
        """The items of a list in place, where those that differ are mappings in block style."""
        pairs = [(i, was, now) for i, (was, now) in enumerate(zip(old, new, strict=True)) if not same(was, now)]
        for index, was, now in pairs:
            item = node.value[index]
            if not isinstance(item, yaml.MappingNode) or item.flow_style or not isinstance(was, dict):
                return False
            if not isinstance(now, dict) or not set(was) & set(now):
                return False
        for index, was, now in pairs:
            self.mapping(node.value[index], (*path, index), was, now)  # type: ignore[arg-type]
        return True

    def rename(self, node: yaml.MappingNode, path: Path, name: str, old: Value, new: Value) -> None:
        *others, entry = self.entries(node, name)
        for other in others:
            self.drop(other, path)
        to = self.renamed[path]
        self.write("rename", entry, path, str(to[-1]), old, new, to)

    def remove(self, node: yaml.MappingNode, path: Path, name: str) -> None:
        for entry in self.entries(node, name):
            self.drop(entry, path)

    def drop(self, entry: _Entry, path: Path) -> None:
        """Take an entry out; where a comment stands in its lines they are commented out instead."""
        self.plain(entry, path)
        numbers = range(entry.first, entry.last + 1)
        before = self.text(entry)
        if any(self.comment(number) for number in numbers):
            column = entry.key.start_mark.column
            told = [" " * column + "# " + self.lines.line(n + 1)[column:] for n in numbers]
            self.replace(entry, told)
            self.edits.append(Edit("comment out", path, entry.first + 1, before, "\n".join(told)))
        else:
            self.replace(entry, None)
            self.edits.append(Edit("remove", path, entry.first + 1, before, ""))

    def write(
        self, kind: str, entry: _Entry, path: Path, name: str, old: Value, new: Value, to: Path | None = None
    ) -> None:
        """Put a key and its value in an entry's place; what else stands in its lines stays as it is."""
        self.plain(entry, path)
        key, value = entry.key, entry.value
        lines = [self.lines.line(number + 1) for number in range(entry.first, entry.last + 1)]
        before = "\n".join(lines)
        alone = entry.first == entry.last and isinstance(value, yaml.ScalarNode) and value.style not in ("|", ">")
        spelled = name if kind == "rename" else lines[0][key.start_mark.column : key.end_mark.column]
        block = spell(name, new)
        if same(old, new):
            made = [lines[0][: key.start_mark.column] + spelled + lines[0][key.end_mark.column :], *lines[1:]]
        elif alone and len(block) == 1:
            text = block[0].partition(": ")[2]
            start, end = value.start_mark.column, value.end_mark.column
            between = lines[0][key.end_mark.column : start]
            between = between if between[-1:].isspace() else between + " "
            made = [lines[0][: key.start_mark.column] + spelled + between + text + lines[0][end:]]
        else:
            column = key.start_mark.column
            tail = lines[0][value.end_mark.column :] if alone else self.kept(entry.first)
            made = [lines[0][:column] + block[0] + tail, *(" " * column + line for line in block[1:])]
            made += [
                " " * column + kept.lstrip() for n in range(entry.first + 1, entry.last + 1) if (kept := self.kept(n))
            ]
        self.replace(entry, made)
        self.edits.append(Edit(kind, path, entry.first + 1, before, "\n".join(made), to))

    def insert(self, node: yaml.MappingNode, path: Path, name: str, new: Value) -> None:
        """Below the key that it belongs to, else at the end of its mapping."""
        anchor = self.after.get((*path, name))
        while anchor is not None and not self.entries(node, str(anchor[-1])):
            anchor = self.after.get(anchor)  # itself a new one
        found = self.entries(node, str(anchor[-1])) if anchor is not None and anchor[:-1] == path else []
        entry = found[-1] if found else self.entries(node, str(node.value[-1][0].value))[-1]
        self.plain(entry, (*path, name))
        column = node.value[0][0].start_mark.column
        made = [" " * column + line for line in spell(name, new)]
        self.inserted.setdefault(entry.last, []).extend(made)
        self.edits.append(Edit("insert", (*path, name), entry.last + 1, "", "\n".join(made)))

    def plain(self, entry: _Entry, path: Path) -> None:
        """Raise where the lines of an entry are not its own."""
        head = self.lines.line(entry.first + 1)[: entry.key.start_mark.column]
        if head.strip(" -"):
            raise CannotEdit(
                f"{format_path(path)} stands in line {entry.first + 1} together with something else ({head.strip()}); "
                "write it on a line of its own first"
            )

    def text(self, entry: _Entry) -> str:
        return "\n".join(self.lines.line(number + 1) for number in range(entry.first, entry.last + 1))

    def replace(self, entry: _Entry, made: list[str] | None) -> None:
        head = self.lines.line(entry.first + 1)[: entry.key.start_mark.column]
        if made is None and "-" in head:
            raise CannotEdit(f"line {entry.first + 1} begins a list's item; take the key out by hand")
        self.texts[entry.first] = made
        for number in range(entry.first + 1, entry.last + 1):
            self.texts.setdefault(number, None)

    def result(self) -> str:
        starts, text = self.lines.starts, self.document.text
        newline = "\r\n" if "\r\n" in text else "\n"
        out: list[str] = []
        for number, start in enumerate(starts):
            whole = text[start : starts[number + 1] if number + 1 < len(starts) else len(text)]
            line = self.lines.line(number + 1)
            ending = whole[len(line) :]
            made = self.texts.get(number, [line] if number not in self.texts else None)
            added = self.inserted.get(number, [])
            pieces = [*(made or []), *added]
            if made is None and not added:
                continue
            if not ending and added:
                out += [piece + newline for piece in pieces[:-1]] + [pieces[-1]]
            else:
                out += [piece + newline for piece in pieces[:-1]] + [pieces[-1] + ending]
        return "".join(out)


def same(one: Value, other: Value) -> bool:
    """Equality in which true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


def rewrite(
    document: Document,
    dialect: Dialect,
    wanted: Mapping[str, Value],
    renamed: Mapping[Path, Path] | None = None,
    after: Mapping[Path, Path] | None = None,
) -> tuple[str, tuple[Edit, ...]]:
    """The text that reads as `wanted`, and what was changed for it, in the order of the text.

    renamed: keys that take the place of another of the same mapping (old path -> new path). after: the key of the same
    mapping below which a new one is to stand. Raises CannotEdit.
    """
    lines = Lines(document.text)
    root = compose(document.text, dialect, lines)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise CannotEdit("the whole file is one mapping in braces; write one key on each line first")
    notes = comments(root, lines)
    editor = _Editor(document, dialect, lines, root, renamed or {}, after or {}, comments=notes)
    editor.mapping(root, (), document.tree, wanted)
    text = editor.result()
    from .yaml import parse

    back = parse(text.encode(), document.name, dialect).tree
    if not same(back, dict(wanted)):
        raise CannotEdit(f"{_first(back, dict(wanted))} is said through an alias or a merge key; write it out first")
    return text, tuple(sorted(editor.edits, key=lambda edit: edit.line))


def _first(one: Mapping[str, Value], other: Mapping[str, Value]) -> str:
    return next((name for name in {**one, **other} if not same(one.get(name), other.get(name))), "the file")
