"""`ftmigrate schema`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ftmigrate import schema
from ftmigrate.cli.common import print_json
from ftmigrate.frameworks import registry
from ftmigrate.json_schema import DRAFTS, Json, UnknownRecipe, export
from ftmigrate.schema_changes import Change, Kind, compare, describe

TITLES = {
    Kind.ADDED: "added",
    Kind.REMOVED: "removed",
    Kind.RENAMED: "renamed",
    Kind.DEPRECATED: "deprecated",
    Kind.REQUIRED: "required or no longer",
    Kind.DEFAULT: "default changed",
    Kind.TYPE: "type changed",
    Kind.VALUES: "allowed values changed",
    Kind.LIMITS: "limits changed",
}
SHOWN = 6


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME[@VERSION]", help="a framework, at its newest release without a version")
    parser.add_argument("--draft", choices=DRAFTS, default=DRAFTS[0], help="draft of JSON Schema (%(default)s)")
    parser.add_argument("--recipe", help="one recipe's schema alone, where the framework has recipes")
    parser.add_argument("--output-file", metavar="FILE", help="where to write it instead of standard output")
    parser.add_argument("--modeline", nargs="+", metavar="CONFIG", default=[],
                        help="with --output-file: name it in these configs, in a comment for the YAML language server")  # fmt: skip
    parser.add_argument("--diff", nargs=2, metavar=("V1", "V2"), help="what changed between two versions instead")
    parser.add_argument("--drift", action="store_true", help="with --diff: the changed defaults only")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="form of --diff")


def run(args: argparse.Namespace) -> int:
    if args.diff:
        return _diff(args)
    if args.modeline and not args.output_file:
        print("ftmigrate: --modeline names a file: say with --output-file where the schema goes", file=sys.stderr)
        return 2
    if args.drift:
        print("ftmigrate: --drift needs --diff V1 V2", file=sys.stderr)
        return 2
    framework, version = registry.resolve(args.name)
    try:
        found = export(schema.load(framework.name, version), framework.layout, args.draft, args.recipe)
    except UnknownRecipe as error:
        print(f"ftmigrate: {error}", file=sys.stderr)
        return 2
    if args.output_file is None:
        print_json(found)
        return 0
    return _write(found, Path(args.output_file), [Path(config) for config in args.modeline])


def _write(found: Json, file: Path, configs: Sequence[Path]) -> int:
    """The schema into a file, which configs may name."""
    import json

    from ftmigrate.document.model import DocumentError
    from ftmigrate.files import write_atomically
    from ftmigrate.json_schema import modeline

    write_atomically(file, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    for config in configs:
        try:
            modeline.write(config, file)
        except DocumentError as error:
            print(f"ftmigrate: {config}: {error}", file=sys.stderr)
            return 2
    return 0


def _diff(args: argparse.Namespace) -> int:
    if "@" in args.name or args.recipe:
        what = "--recipe" if args.recipe else "@VERSION"
        print(f"ftmigrate: --diff names its two versions and compares all of it: leave out {what}", file=sys.stderr)
        return 2
    framework = registry.get(args.name)
    old, new = (schema.load(framework.name, version) for version in args.diff)
    changes = compare(old, new)
    if args.drift:
        changes = [change for change in changes if change.kind is Kind.DEFAULT]
    if args.format == "json":
        print_json({
            "framework": framework.name,
            "from": old.version,
            "to": new.version,
            "changes": [
                {"kind": change.kind, "section": change.section, "key": change.key or None, "before": change.before,
                 "after": change.after, "replacement": change.replacement} for change in changes
            ],
        })  # fmt: skip
        return 0
    print(f"{framework.name} {old.version} to {new.version}, changes: {len(changes)}")
    for kind in Kind:
        _print(kind, [change for change in changes if change.kind is kind])
    return 0


def _print(kind: Kind, changes: Sequence[Change]) -> None:
    """One kind of change; the same change in several sections is told once."""
    if not changes:
        return
    print(f"\n{TITLES[kind]}")
    for change in changes:
        if not change.key:
            print(f"  {change.section}{describe(change)}")
    grouped: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        if change.key:
            grouped.setdefault((change.key, describe(change)), []).append(change.section)
    for (_, text), sections in sorted(grouped.items()):
        print(f"  {text}")
        more = f" and {len(sections) - SHOWN} more" if len(sections) > SHOWN else ""
        print(f"      in {', '.join(sections[:SHOWN])}{more}")
