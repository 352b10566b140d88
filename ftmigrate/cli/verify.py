"""`ftmigrate verify`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ftmigrate import __version__
from ftmigrate.cli.common import Paint, add_command_option, add_source_options, context, print_warnings
from ftmigrate.files import write_atomically
from ftmigrate.frameworks.reader import Context
from ftmigrate.verify.levels import LEVELS, Outcome, Result, differences, status, verify

_COLOURS = {Outcome.PASSED: "green", Outcome.DIFFERS: "red", Outcome.NOT_RUN: "yellow"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="SOURCE", help="the config that was converted")
    parser.add_argument("other", metavar="TARGET", help="what it was converted to")
    parser.add_argument("--from", dest="source", metavar="NAME[@VERSION]", help="SOURCE's framework")
    parser.add_argument("--to", dest="target", metavar="NAME[@VERSION]", help="TARGET's framework")
    parser.add_argument("--level", choices=LEVELS, default=LEVELS[0], help="how deep (default: schema)")
    add_source_options(parser)
    add_command_option(parser)
    parser.add_argument("--report", metavar="FILE", help="write what was found as JSON")


def run(args: argparse.Namespace) -> int:
    from ftmigrate import api

    source = api.load(args.path, args.source, args.overrides, args.number)
    target = api.load(args.other, args.target)
    for document in (source.document, target.document):
        print_warnings(document)
    before = source.run(context(args))
    after = target.run(Context(world_size=args.world_size, rows=args.rows))
    results = verify(target.document, after, target.framework, target.version, args.level)
    told = differences(before, after)
    if args.report:
        report = {
            "ftmigrate": __version__,
            "source": {"path": args.path, "framework": before.framework, "version": before.version},
            "target": {"path": args.other, "framework": after.framework, "version": after.version},
            "levels": [result.json() for result in results],
            "differences": list(told),
        }
        write_atomically(Path(args.report), json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print_results(results)
    if told:
        print(
            f"{len(told)} settings differ by our reading; see ftmigrate diff {args.path} {args.other}", file=sys.stderr
        )
    return status(results)


def print_results(results: list[Result]) -> None:
    """A line a level, then what it found; on standard error, as every report for a person."""
    paint = Paint(sys.stderr)
    for result in results:
        print(f"{result.level:8} {paint(result.outcome, _COLOURS[result.outcome])}", file=sys.stderr)
        for detail in result.details:
            print(f"  {detail}", file=sys.stderr)
