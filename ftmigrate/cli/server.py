"""`ftmigrate server`."""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--stdio", action="store_true", help="speak over standard input and output (it always does)")
    add("--framework", metavar="NAME[@VERSION]", help="the configs' framework (default: found out, file by file)")
    add("--recipe", help="the recipe the configs are for")
    add("--world-size", type=int, metavar="N", help="number of devices")
    add("--rows", type=int, metavar="N", help="number of training rows")


def run(args: argparse.Namespace) -> int:
    from ftmigrate.frameworks import registry
    from ftmigrate.frameworks.reader import Context
    from ftmigrate.linter.engine import Job

    for name in ("world_size", "rows"):
        if (number := getattr(args, name)) is not None and number < 1:
            print(f"ftmigrate: --{name.replace('_', '-')} is a number above 0, not {number}", file=sys.stderr)
            return 2
    if args.framework:
        registry.resolve(args.framework)
    try:
        import pygls  # noqa: F401
    except ImportError:
        print("ftmigrate: the language server needs pygls: pip install 'ftmigrate[server]'", file=sys.stderr)
        return 2
    from ftmigrate.server.protocol import serve

    serve(Job(args.framework, context=Context(args.recipe, args.world_size, args.rows)))
    return 0
