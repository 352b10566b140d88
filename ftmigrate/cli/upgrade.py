"""`ftmigrate upgrade`: `convert` to another version of the same framework, on the user's own text."""

from __future__ import annotations

import argparse
import os

from msgspec.structs import replace

from ftmigrate.cli.common import add_source_options
from ftmigrate.verify.results import ALONE


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="the config to upgrade; - for standard input")
    parser.add_argument("--to-version", required=True, metavar="VERSION", help="the version wanted")
    parser.add_argument("--from", dest="source", metavar="NAME[@VERSION]",
                        help="its framework and version (default: pinned beside it, else the newest that takes its keys)")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="OUT", help="file to write; - or nothing: standard output")
    parser.add_argument("-i", "--in-place", action="store_true", help="write the file itself")
    add_source_options(parser)
    parser.add_argument("--report", metavar="FILE", help="write the ledger, with each edit and its reason, as JSON")
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="json: the ledger on standard output (the config goes to OUT)")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="exit 1 if a setting is dropped or left to do by hand")
    parser.add_argument("--force", action="store_true", help="overwrite files")
    parser.add_argument("--verify", nargs="?", const="schema", choices=ALONE, metavar="LEVEL",
                        help="verify the result at once")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from ftmigrate import api
    from ftmigrate.cli.convert import convert_one
    from ftmigrate.conversion import upgrade
    from ftmigrate.frameworks import registry, versions

    if os.path.isdir(args.path):
        raise api.UnreadableError(f"{args.path} is a directory; convert takes one (--to NAME@{args.to_version})")
    if args.in_place:
        if args.path == api.STDIN or args.output is not None or args.overrides:
            raise api.UnreadableError("--in-place goes with a file alone, without -o and --set")
        args.output, args.force = args.path, True
    args.exact = False
    source = api.load(args.path, args.source, args.overrides)
    if source.framework.edit is None:
        anew = f"convert --to {source.framework.name}@{args.to_version} writes one anew"
        why = anew if source.framework.writes else "its older configs are read by version all the same (show, convert)"
        raise api.UnreadableError(f"{source.framework.title} configs are not upgraded yet: {why}")
    if source.version_from == versions.NEWEST:
        taken = upgrade.assumed(source.document, source.framework)
        if taken not in (None, source.version):
            source = replace(source, version=taken, version_from="the newest that takes all its keys; told with --from")
    target = registry.resolve(f"{source.framework.name}@{args.to_version}")
    return convert_one(args, source, target, args.path if args.output in (None, "-") else args.output)[0]
