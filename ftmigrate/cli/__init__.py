"""The command line. Each command is a module with HELP, configure(parser) and run(args); only the one asked for loads."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, NoReturn

from ftmigrate import __version__

COMMANDS = {
    "lint": "find what is wrong in configs, and repair it",
    "server": "lint, explain and complete configs in an editor (a language server)",
    "rule": "what a lint rule finds, and why",
    "convert": "turn a config into another framework's",
    "upgrade": "turn a config into one for a newer version of its framework, comments and order kept",
    "audit": "what of a whole directory converts, and what blocks",
    "show": "the complete run a config describes, each value with its origin",
    "diff": "compare two configs by effect",
    "verify": "prove that a conversion says the same",
    "env": "isolated environments of the frameworks, for verify",
    "schema": "the pinned schema of a framework's version",
    "frameworks": "the frameworks known here, and what works with each",
}
REPORT = "https://github.com/ftmigrate/ftmigrate/issues"


def start() -> NoReturn:
    """The process's own entry: `main`, ended without the interpreter's clean-up, which takes a tenth of a short command.

    Nor is garbage collected while a command loads: what is made then stays.
    """
    gc.disable()
    status = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        pass  # whoever read it has gone, or it is closed already
    os._exit(status)


class _Help(argparse.HelpFormatter):
    """Help as wide as the terminal, which argparse's own asks for anew for every option that is added."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_width() - 2)


@cache
def _width() -> int:
    told = os.environ.get("COLUMNS", "")
    try:
        return int(told) if told.isdecimal() else os.get_terminal_size().columns or 80
    except OSError:
        return 80


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, **options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: fine; 1: findings or a difference; 2: it could not do its work; 3: a fault of ours."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(prog="ftmigrate", description="Linter and migration tool for fine-tuning configs.")
    parser.add_argument("--version", action="version", version=f"ftmigrate {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    asked = next((word for word in given if not word.startswith("-")), "")
    for name, text in COMMANDS.items():
        if asked in COMMANDS and name != asked:
            continue  # the others' parsers are not needed
        subparser = subparsers.add_parser(name, help=text, description=text.capitalize() + ".")
        if name == asked:
            module = importlib.import_module(f"ftmigrate.cli.{name}")
            module.configure(subparser)
            subparser.set_defaults(run=module.run)
    try:
        args = parser.parse_args(given)
    except SystemExit as stop:
        return int(stop.code or 0)
    if asked != "lint":  # which switches it on itself, for more than a few files
        gc.enable()
    return _guarded(args)


def _guarded(args: argparse.Namespace) -> int:
    try:
        status: int = args.run(args)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None and error.strerror else ""
        print(f"ftmigrate: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ftmigrate: interrupted", file=sys.stderr)
        return 2
    except Exception as error:
        return _failed(error, args)
    sys.stdout.flush()
    return status


def _failed(error: Exception, args: argparse.Namespace) -> int:
    """What could not be worked on is told with its place; anything else is a fault of ours."""
    from ftmigrate.document.model import DocumentError
    from ftmigrate.frameworks.registry import UnknownFramework
    from ftmigrate.launches import UnreadableError
    from ftmigrate.schema import UnknownRecipe, UnknownVersion

    if isinstance(error, DocumentError):
        found = error.diagnostic
        where = f"{getattr(args, 'path', '')}:{found.position.line}:{found.position.column}"
        print(f"{where}: {found.severity}: {found.message} [{found.code}]", file=sys.stderr)
        return 2
    if isinstance(error, UnreadableError | UnknownFramework | UnknownRecipe | UnknownVersion):
        print(f"ftmigrate: {error}", file=sys.stderr)
        return 2
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
    print(f"ftmigrate: a fault of ours: {type(error).__name__}: {error} ({place}); please report it with the"
          f" config at {REPORT}", file=sys.stderr)  # fmt: skip
    return 3
