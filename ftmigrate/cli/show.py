"""`ftmigrate show`: what a config really does."""

from __future__ import annotations

import argparse
import sys

from ftmigrate.cli.common import Paint, add_command_option, add_source_options, context, print_json, print_warnings
from ftmigrate.document.model import format_path
from ftmigrate.run import vocabulary
from ftmigrate.run.display import to_json, to_text
from ftmigrate.run.model import ClaimKind, Origin, Run, Setting


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="the config, or a launch command; - for standard input")
    parser.add_argument("--from", dest="source", metavar="NAME[@VERSION]", help="its framework (default: found out)")
    add_source_options(parser)
    add_command_option(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--all", action="store_true", help="also settings that do not apply here")


def run(args: argparse.Namespace) -> int:
    from ftmigrate import api

    source = api.load(args.path, args.source, args.overrides, args.number)
    print_warnings(source.document)
    found = source.run(context(args))
    if args.format == "json":
        print_json(as_json(found))
        return 0
    recipe = f", recipe {found.recipe} ({found.recipe_from})" if found.recipe else ""
    print(f"{args.path}: {source.framework.title} {source.version} ({source.version_from}){recipe}", file=sys.stderr)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    paint = Paint(sys.stdout)
    parts: dict[str, list[str]] = {}
    for setting in found.settings.values():
        if setting.origin is Origin.NOT_APPLICABLE and not args.all:
            continue
        item, inside, _ = setting.path.partition("].")
        head = f"{item}]" if inside else item.split(".")[0]
        parts.setdefault(head, []).append(_line(setting, head, paint))
    lines = [line for head, listed in parts.items() for line in ("", paint(head, "bold"), *listed)]
    others = [(path, claim) for path, claim in found.claims.items() if claim.kind is not ClaimKind.SETTING]
    if others:
        lines += ["", paint("keys that say no setting", "bold")]
        lines += [f"  {format_path(path):36} {claim.kind}: {claim.why}" for path, claim in others]
    print("\n".join(lines[1:]))
    return 0


def _line(setting: Setting, head: str, paint: Paint) -> str:
    name = setting.path[len(head) + 1 :]
    unit = vocabulary.spec(setting.path).unit
    value = to_text(setting.value) + (f" {unit}" if unit and isinstance(setting.value, int | float) else "")
    origin = str(setting.origin)
    if setting.leaves:
        origin += ": " + ", ".join(format_path(path) for path in setting.leaves)
    if setting.why:
        origin += f" ({setting.why})"
    return f"  {name:26} {value:44} {paint(origin, 'dim')}"


def as_json(run: Run) -> dict[str, object]:
    """The whole run as JSON."""
    return {
        "framework": run.framework,
        "version": run.version,
        "recipe": run.recipe,
        "recipe_from": run.recipe_from,
        "path": run.name,
        "notes": list(run.notes),
        "settings": {
            setting.path: {
                "value": None if setting.origin is Origin.NOT_APPLICABLE else to_json(setting.value),
                "origin": str(setting.origin),
                "leaves": [format_path(path) for path in setting.leaves],
                "why": setting.why,
            }
            for setting in run.settings.values()
        },
        "keys": {
            format_path(path): {"kind": str(claim.kind), "why": claim.why, "settings": list(claim.settings)}
            for path, claim in run.claims.items()
        },
    }
