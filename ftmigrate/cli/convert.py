"""`ftmigrate convert`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftmigrate.cli.common import (
    Paint,
    add_command_option,
    add_jobs_option,
    add_source_options,
    context,
    print_json,
    print_warnings,
)
from ftmigrate.conversion.ledger import Entry, Ledger
from ftmigrate.files import write_atomically
from ftmigrate.run.compare import Verdict
from ftmigrate.verify.results import LEVELS

if TYPE_CHECKING:
    from ftmigrate.api import Input
    from ftmigrate.frameworks.registry import Framework

_COLOURS = {
    Verdict.MANUAL: "magenta",
    Verdict.DROPPED: "red",
    Verdict.APPROXIMATE: "yellow",
    Verdict.MADE_EXPLICIT: "blue",
    Verdict.ADAPTED: "green",
    Verdict.EXACT: "green",
    Verdict.INERT: "dim",
}
_LISTED = (Verdict.MANUAL, Verdict.DROPPED, Verdict.APPROXIMATE)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="the config to convert; - for standard input; a whole directory; a launch "
                             "command, or a script, notebook or Makefile that holds some")  # fmt: skip
    parser.add_argument("--from", dest="source", metavar="NAME[@VERSION]", help="its framework (default: found out)")
    parser.add_argument("--to", dest="target", metavar="NAME[@VERSION]", required=True, help="the framework wanted")
    parser.add_argument("-o", "--output", metavar="OUT",
                        help="file to write; - or nothing: standard output; for a directory or several commands, "
                             "the directory to write")  # fmt: skip
    add_source_options(parser)
    add_command_option(parser)
    parser.add_argument("--report", metavar="FILE", help="write the ledger as JSON")
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="json: the ledger on standard output (the config goes to OUT)")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="exit 1 if a setting is dropped or left to do by hand")
    parser.add_argument("--force", action="store_true", help="overwrite files")
    parser.add_argument("--exact", action="store_true", help="use odd means too where only they train the same")
    add_jobs_option(parser)
    parser.add_argument("--verify", nargs="?", const="schema", choices=LEVELS, metavar="LEVEL",
                        help=f"verify the result at once: {', '.join(LEVELS)} (default: schema)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if os.path.isdir(args.path):
        from ftmigrate.cli.convert_directory import run as run_directory

        return run_directory(args)
    from ftmigrate import api
    from ftmigrate.frameworks import registry

    target = registry.resolve(args.target)
    try:
        source = api.load(args.path, args.source, args.overrides, args.number)
    except api.SeveralCommands as several:
        if args.output in (None, "-"):
            raise
        from ftmigrate.cli.convert_commands import run as run_commands

        return run_commands(several, args, target)
    name = args.output
    if name in (None, "-") or os.path.isdir(name):
        name = os.path.join("" if name in (None, "-") else name,
                            api.default_name(args.path, target[0], source.document.launch))  # fmt: skip
    return convert_one(args, source, target, name)[0]


def convert_one(
    args: argparse.Namespace, source: Input, target: tuple[Framework, str], name: str
) -> tuple[int, Ledger]:
    """Convert one config and write it to `name` (with no -o to standard output); the exit status and the ledger."""
    from ftmigrate import api
    from ftmigrate.conversion import convert
    from ftmigrate.frameworks import registry

    registry.check_recipe(source.framework, source.version, args.recipe)
    print_warnings(source.document, launch=False)
    to_file = args.output not in (None, "-")
    result = convert(source.document, (source.framework, source.version), target, context(args), name, exact=args.exact)
    if args.report and to_file and os.path.realpath(args.report) in map(os.path.realpath, result.files):
        raise api.UnreadableError(f"{args.report} cannot hold both the config and the ledger")
    if not to_file and len(result.files) > 1:
        others = ", ".join(os.path.basename(path) for path in result.files if path != name)
        raise api.UnreadableError(f"{others} must stand beside the config; name the file to write with -o OUT")
    for path in [*(result.files if to_file else ()), *([args.report] if args.report else ())]:
        if Path(path).exists() and not args.force:
            raise api.UnreadableError(f"{path} exists already; --force overwrites it")
    if args.report:
        write_atomically(Path(args.report), json.dumps(result.ledger.json(), indent=2, ensure_ascii=False) + "\n")
    if args.format == "json":
        print_json(result.ledger.json())
    if result.refused is None:
        for path, text in result.files.items():
            if to_file:
                write_atomically(Path(path), text)
            elif args.format == "text":
                sys.stdout.write(text)
    said = f"{source.framework.title} {source.version} ({source.version_from})"
    print_summary(result.ledger, said, f"{target[0].title} {target[1]}", args.report)
    if result.refused is not None:
        return 2, result.ledger
    if args.verify:
        from ftmigrate.cli.verify import pairs, print_results
        from ftmigrate.verify.levels import status, verify

        assert result.target is not None
        document = target[0].parse(result.files[name].encode(), name, ())
        results = verify(document, result.target, *target, args.verify)
        results += pairs((source.document, result.source, source.framework, source.version),
                         (document, result.target, *target), args.verify)  # fmt: skip
        print_results(results)
        if status(results):
            return status(results), result.ledger
    lossy = any(entry.verdict in (Verdict.DROPPED, Verdict.MANUAL) for entry in result.ledger.entries)
    return (1 if args.strict and lossy else 0), result.ledger


def print_summary(ledger: Ledger, source: str, target: str, report: str | None) -> None:
    """The ledger for a person, on standard error: worst news first, then the counts."""
    paint = Paint(sys.stderr)
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    lines = [paint(f"{ledger.source['path']}: {source} to {target}", "bold")]
    if ledger.refused:
        lines.append(paint("not converted: ", "red", "bold") + ledger.refused)
    else:
        for verdict in _LISTED:
            alike: dict[str, list[Entry]] = {}
            for entry in ledger.entries:
                if entry.verdict is verdict:
                    alike.setdefault(entry.note, []).append(entry)
            for entries in alike.values():
                lines += _alike(entries, paint, width)
    if ledger.edits is not None:
        lines += [_edit(edit, paint) for edit in ledger.edits] or ["nothing in the text had to change"]
    counts = {word: count for word, count in reversed(ledger.summary().items()) if count}
    lines.append("; ".join(paint(f"{count} {word.replace('_', ' ')}", _colour(word)) for word, count in counts.items()))
    lines += [paint(note, "dim") for note in ledger.notes]
    if report:
        lines.append(f"the whole ledger is in {report}")
    elif not ledger.refused:
        lines.append(paint("the whole ledger, with every setting's note: --report FILE", "dim"))
    print("\n".join(lines), file=sys.stderr)


def _edit(edit: Mapping[str, Any], paint: Paint) -> str:
    to = f" to {edit['to']}" if "to" in edit else ""
    why = f": {edit['why']}" if edit["why"] else ""
    return f"  {paint(edit['kind'], 'blue')} {edit['path']}{to} (line {edit['line']}){why}"


def _colour(word: str) -> str:
    return _COLOURS[Verdict[word.upper()]]


def _alike(entries: list[Entry], paint: Paint, width: int) -> list[str]:
    """Entries with one verdict and one note: where they stand, then the note."""
    first, places = entries[0], ", ".join(_where(entry) for entry in entries)
    head = textwrap.wrap(
        places, width - 6 - len(first.verdict.word), subsequent_indent="      ", break_on_hyphens=False
    )
    head[0] = f"  {paint(first.verdict.word, _COLOURS[first.verdict])} {head[0]}"
    body = textwrap.wrap(first.note, width - 6) or [""]
    return [*head, *(f"      {line}" for line in body)]


def _where(entry: Entry) -> str:
    if entry.source_path is not None:
        where = entry.source_path
        if entry.line:
            where += f" ({entry.file}:{entry.line})" if entry.file else f" (line {entry.line})"
    else:
        where = ", ".join(entry.target_paths) or ", ".join(effect.setting for effect in entry.effects)
        where += " (said by no key of the source)"
    return where
