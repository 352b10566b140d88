"""What the commands share: options that describe the source run, colour."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, ClassVar

from ftmigrate.document.model import Document
from ftmigrate.frameworks.reader import Context


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Options that describe a run beside its file."""
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="an override as on the framework's own command line (a.b=c, ~a.b)")  # fmt: skip
    parser.add_argument("--recipe", help="the recipe the config is for")
    parser.add_argument("--world-size", type=_positive, metavar="N", help="number of devices")
    parser.add_argument("--rows", type=_positive, metavar="N", help="number of training rows")


def add_command_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--command", dest="number", type=_positive, metavar="N",
                        help="which of several launch commands of a script, a notebook or a Makefile")  # fmt: skip


def add_jobs_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=_positive, metavar="N", help="processes for a directory (default: all cores)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return int(text)


def context(args: argparse.Namespace) -> Context:
    return Context(args.recipe, args.world_size, args.rows)


def print_warnings(document: Document, *, launch: bool = True) -> None:
    """What parsing found that does not prevent reading, on standard error; with `launch` what a command leaves open."""
    if launch and document.launch is not None:
        place = f"{document.launch.place.name}:{document.launch.place.position.line}"
        for note in document.launch.notes:
            print(f"{place}: warning: {note} [launch]", file=sys.stderr)
    for found in document.warnings:
        place = f"{document.name}:{found.position.line}:{found.position.column}"
        print(f"{place}: {found.severity}: {found.message} [{found.code}]", file=sys.stderr)


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


class Paint:
    """ANSI colour on a terminal, unless NO_COLOR is set."""

    _CODES: ClassVar = {
        "bold": "1",
        "red": "31",
        "green": "32",
        "yellow": "33",
        "blue": "34",
        "dim": "2",
        "magenta": "35",
    }

    def __init__(self, stream: Any) -> None:
        self.on = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str, *styles: str) -> str:
        if not self.on or not styles:
            return text
        codes = ";".join(self._CODES[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"
