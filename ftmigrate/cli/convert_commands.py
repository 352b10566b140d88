"""`ftmigrate convert` of a script with several launch commands: a file for each."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ftmigrate import __version__
from ftmigrate.api import STDIN, SeveralCommands, UnreadableError, launched
from ftmigrate.cli.common import print_json
from ftmigrate.cli.convert import convert_one
from ftmigrate.document.model import DocumentError
from ftmigrate.files import write_atomically
from ftmigrate.frameworks.registry import Framework


def run(several: SeveralCommands, args: argparse.Namespace, target: tuple[Framework, str]) -> int:
    """Convert each command into the directory OUT; the worst exit status. One that cannot be opened stops no other."""
    stem = "command" if args.path == STDIN else Path(several.name).stem
    folder = Path(args.output)
    if folder.exists() and not folder.is_dir():
        raise UnreadableError(f"{folder} is no directory; {several}")
    names = [str(folder / f"{stem}-{number}.{target[0].name}.yaml") for number in range(1, len(several.found) + 1)]
    for name in [*names, *([args.report] if args.report else ())]:
        if Path(name).exists() and not args.force:
            raise UnreadableError(f"{name} exists already; --force overwrites it")
    each = argparse.Namespace(**{**vars(args), "report": None, "format": "text"})
    status = 0
    ledgers = []
    for launch, name in zip(several.found, names, strict=True):
        try:
            source = launched(launch, several.name, args.source, args.overrides)
        except UnreadableError as error:
            print(f"ftmigrate: {error}", file=sys.stderr)
            status = 2
            continue
        except DocumentError as error:
            found = error.diagnostic
            print(f"{several.name}:{found.position.line}:{found.position.column}: {found.severity}: {found.message}"
                  f" [{found.code}]", file=sys.stderr)  # fmt: skip
            status = 2
            continue
        result, ledger = convert_one(each, source, target, name)
        status = max(status, result)
        ledgers.append(ledger.json())
    report = {"ftmigrate": __version__, "conversions": ledgers}
    if args.report:
        write_atomically(Path(args.report), json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if args.format == "json":
        print_json(report)
    return status
