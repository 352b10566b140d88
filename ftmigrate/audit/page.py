"""The audit as one HTML page that needs nothing else. Written file by file as they come, so that memory stays flat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

from ftmigrate.audit.causes import Group
from ftmigrate.directory.work import WORDS, Outcome, Result
from ftmigrate.files import atomic

_MARKER = "<!-- data -->"


def _data(name: str) -> str:
    return (files("ftmigrate.audit") / name).read_text(encoding="utf-8")


class Page:
    """The page while it is written: the head, a block of data a file, then what is known only at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rows: list[dict[str, Any]] = []
        self._notes: dict[str, int] = {"": 0}
        head, self._tail = _data("page.html").split(_MARKER)
        stream.write(head.replace("/* style */", _data("page.css")))

    def add(self, result: Result) -> None:
        """One file: its row, and what is shown when it is opened."""
        number = len(self._rows)
        out, text = next(iter(result.files.items()), ("", None))
        self._rows.append({**result.json(), "out": out or None, "causes": [[c.kind, c.name] for c in result.causes]})
        lines = [
            [one.verdict, one.line, one.lines, one.source_path, one.target_paths, self._note(one.note)]
            for one in result.lines
        ]
        detail = {"source": result.text, "target": text, "lines": lines, "warnings": result.warnings,
                  "commands": result.commands}  # fmt: skip
        self._block(f"file-{number}", detail)

    def end(self, head: Mapping[str, Any], blockers: Sequence[Group], nearly: Sequence[Group]) -> None:
        """All that is known only when every file has been seen."""
        number = {row["path"]: index for index, row in enumerate(self._rows)}

        def group(found: Group) -> dict[str, Any]:
            return {**found.json(), "files": [number[path] for path in found.files]}

        whole = {
            **head,
            "words": {str(outcome): WORDS[outcome] for outcome in Outcome},
            "blockers": [group(found) for found in blockers],
            "approximations": [group(found) for found in nearly],
            "files": self._rows,
            "notes": list(self._notes),
        }
        self._block("audit", whole)
        self._stream.write(self._tail.replace("/* script */", _data("page.js")))

    def _note(self, text: str) -> int:
        """Notes recur from file to file: each is stored once."""
        return self._notes.setdefault(text, len(self._notes))

    def _block(self, name: str, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        self._stream.write(f'<script type="application/json" id="{name}">{text}</script>\n')


@contextmanager
def page(path: Path) -> Iterator[Page]:
    """A page that appears only when it is whole."""
    with atomic(path) as stream:
        yield Page(stream)
