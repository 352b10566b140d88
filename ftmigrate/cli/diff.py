"""`ftmigrate diff`: two configs of any frameworks, compared by effect."""

from __future__ import annotations

import argparse
import sys

from ftmigrate.cli.common import Paint, add_command_option, add_source_options, context, print_json, print_warnings
from ftmigrate.frameworks.reader import Context
from ftmigrate.run.compare import Comparison, losses, private
from ftmigrate.run.display import to_json, to_text


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="A", help="the first config; - for standard input")
    parser.add_argument("other", metavar="B", help="the second config")
    parser.add_argument("--from", dest="source", metavar="NAME[@VERSION]", help="A's framework (default: found out)")
    parser.add_argument("--to", dest="target", metavar="NAME[@VERSION]", help="B's framework (default: found out)")
    add_source_options(parser)
    add_command_option(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    from ftmigrate import api

    source = api.load(args.path, args.source, args.overrides, args.number)
    print_warnings(source.document)
    first = source.run(context(args))
    second = api.load(args.other, args.target).run(Context(world_size=args.world_size, rows=args.rows))
    found = losses(first, second)
    own = [(args.path, private(first)), (args.other, private(second))]
    if args.format == "json":
        print_json(
            {
                "a": {"path": args.path, "framework": first.framework, "version": first.version},
                "b": {"path": args.other, "framework": second.framework, "version": second.version},
                "differences": [
                    {
                        "setting": item.path,
                        "a": to_json(item.source.value),
                        "b": to_json(item.target.value) if item.target else None,
                        "note": item.note(),
                    }
                    for item in found
                ],
                "private": {path: [{"path": key, "effect": why} for key, why in keys] for path, keys in own},
            }
        )
    else:
        _print(found, own, args)
    return 1 if found or any(keys for _, keys in own) else 0


def _print(found: list[Comparison], own: list[tuple[str, list[tuple[str, str]]]], args: argparse.Namespace) -> None:

    paint = Paint(sys.stdout)
    for item in found:
        print(paint(item.path, "bold"))
        print(f"  {args.path}: {to_text(item.source.value)}")
        print(f"  {args.other}: {to_text(item.target.value) if item.target else 'not there'}")
        print(paint(f"  {item.note()}", "dim"))
    for path, keys in own:
        for key, why in keys:
            print(f"{paint(key, 'bold')} (only {path}): {why}")
    count = len(found) + sum(len(keys) for _, keys in own)
    print(f"{count} differences" if count else "both describe the same run", file=sys.stderr)
