"""What the commands share: options that describe the source run, colour, atomic writing."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ftmigrate.document.model import Document
from ftmigrate.frameworks.reader import Context


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Options that describe a run beside its file."""
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="an override as on the framework's own command line (a.b=c, ~a.b)")  # fmt: skip
    parser.add_argument("--recipe", help="the recipe the config is for")
    parser.add_argument("--world-size", type=_positive, metavar="N", help="number of devices")
    parser.add_argument("--rows", type=_positive, metavar="N", help="number of training rows")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def context(args: argparse.Namespace) -> Context:
    return Context(args.recipe, args.world_size, args.rows)


def print_warnings(document: Document) -> None:
    """What parsing found that does not prevent reading, on standard error."""
    for found in document.warnings:
        place = f"{document.name}:{found.position.line}:{found.position.column}"
        print(f"{place}: {found.severity}: {found.message} [{found.code}]", file=sys.stderr)


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def write_atomically(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Paint:
    """ANSI colour on a terminal, unless NO_COLOR is set."""

    _CODES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "magenta": "35"}

    def __init__(self, stream: Any) -> None:
        self.on = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str, *styles: str) -> str:
        if not self.on or not styles:
            return text
        codes = ";".join(self._CODES[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"
