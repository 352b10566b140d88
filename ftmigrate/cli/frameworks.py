"""`ftmigrate frameworks`."""

from __future__ import annotations

import argparse

from ftmigrate.cli.common import print_json
from ftmigrate.frameworks import registry


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    found = [registry.get(name) for name in registry.names()]
    if args.format == "json":
        print_json([
            {"name": f.name, "title": f.title, "versions": f.versions(), "reads": True, "writes": f.writes,
             "status": f.status} for f in found
        ])  # fmt: skip
        return 0
    for framework in found:
        does = "read and written" if framework.writes else "read"
        print(f"{framework.name:14} {does:18} {', '.join(framework.versions()):20} {framework.status}")
    return 0
