"""`ftmigrate lint`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ftmigrate.linter.formats import FORMATS

if TYPE_CHECKING:
    from ftmigrate.linter.command import Totals

FAIL_ON = ("error", "warning", "info")


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "paths",
        nargs="*",
        metavar="PATH",
        help="configs or directories (default: the current one); - for standard input",
    )
    add("--framework", metavar="NAME[@VERSION]", help="their framework (default: found out, file by file)")
    add("--select", action="append", default=[], metavar="CODES", help="only these rules: codes, prefixes or names")
    add("--ignore", action="append", default=[], metavar="CODES", help="all but these rules")
    add("--fix", action="store_true", help="repair what can be repaired safely")
    add("--unsafe-fixes", action="store_true", help="repair the rest too: look at what it did")
    add("--diff", action="store_true", help="show what --fix would do, and change nothing")
    add("--format", choices=FORMATS, default="text")
    add("--output-file", metavar="FILE", help="where to write instead of standard output")
    add("--fail-on", choices=FAIL_ON, help="the least severity that makes the exit status 1 (default: warning)")
    add("--baseline", metavar="FILE", help="a report of --format json: what stands in it is not told again")
    add("--statistics", action="store_true", help="how often each rule was broken, instead of the places")
    add("--stdin-filename", metavar="NAME", help="the name of what comes from standard input")
    add("--skip-others", action="store_true", help="pass over files that are no training config without a word")
    add("--isolated", action="store_true", help="without [tool.ftmigrate] of pyproject.toml")
    add("--recipe", help="the recipe the configs are for")
    add("--world-size", type=int, metavar="N", help="number of devices")
    add("--rows", type=int, metavar="N", help="number of training rows")
    add("--jobs", type=int, metavar="N", help="processes for many files (default: all cores)")


def run(args: argparse.Namespace) -> int:
    from ftmigrate.linter.command import Failed, work

    if args.fix and args.diff:
        print("ftmigrate: --diff shows what --fix would do; leave one of them out", file=sys.stderr)
        return 2
    for name in ("world_size", "rows", "jobs"):
        if (number := getattr(args, name)) is not None and number < 1:
            print(f"ftmigrate: --{name.replace('_', '-')} is a number above 0, not {number}", file=sys.stderr)
            return 2
    try:
        totals = work(args)
    except Failed as error:
        print(f"ftmigrate: {error}", file=sys.stderr)
        return 2
    return _status(args, totals)


def _status(args: argparse.Namespace, totals: Totals) -> int:
    if totals.faults:
        from ftmigrate.cli import REPORT

        for path, fault in totals.faults[:5]:
            print(f"ftmigrate: a fault of ours over {path}: {fault}; please report it with the config at {REPORT}",
                  file=sys.stderr)  # fmt: skip
        return 3
    if totals.unreadable:
        return 2
    return 1 if totals.failing else 0
