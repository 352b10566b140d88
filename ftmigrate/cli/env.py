"""`ftmigrate env`: isolated environments of the frameworks, for verify."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ftmigrate.verify import environments


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="build an environment, or name an interpreter that has the framework")
    create.add_argument("name", metavar="NAME[@VERSION]", help="a framework, and the version wanted")
    create.add_argument("--python", type=Path, metavar="PATH", help="an existing interpreter; nothing is built")
    create.add_argument("--source", type=Path, metavar="DIRECTORY",
                        help="a checkout of the framework, for a version that is no release (torchtune@main)")  # fmt: skip
    create.add_argument("--gpu", action="store_true", help="also install what only a GPU needs (verify --device cuda)")
    actions.add_parser("list", help="the environments that are there")
    remove = actions.add_parser("remove", help="delete an environment; a registered interpreter is only forgotten")
    remove.add_argument("name", metavar="NAME[@VERSION]", help="a framework; without a version all of its environments")


def run(args: argparse.Namespace) -> int:
    try:
        return {"create": _create, "list": _list, "remove": _remove}[args.action](args)
    except environments.EnvironmentProblem as error:
        print(f"ftmigrate: {error}", file=sys.stderr)
        return 2


def _create(args: argparse.Namespace) -> int:
    live = sys.stderr.isatty()

    def progress(line: str) -> None:
        print(f"\r\x1b[K{line[:100]}" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)

    framework, version = environments.parse_name(args.name)
    try:
        made = environments.create(
            framework, version, python=args.python, source=args.source, gpu=args.gpu, progress=progress
        )
    finally:
        if live:
            print(file=sys.stderr)
    print(_describe(made))
    return 0


def _list(_: argparse.Namespace) -> int:
    """Name, level, size and interpreter, separated by tabs."""
    for one in environments.list_():
        print(_describe(one))
    return 0


def _remove(args: argparse.Namespace) -> int:
    framework, version = environments.parse_name(args.name)
    gone = environments.remove(framework, version)
    for one in gone:
        print(f"removed {one.framework}@{one.version}\t{one.level}", file=sys.stderr)
    if not gone:
        raise environments.EnvironmentProblem(f"there is no environment {args.name}")
    return 0


def _describe(one: environments.Environment) -> str:
    size = f"{one.megabytes} MB" if one.megabytes is not None else one.origin.value
    return f"{one.framework}@{one.version}\t{one.level}\t{size}\t{one.python}"
