"""`ftmigrate audit`: what of a directory converts, and what blocks. Nothing is written but the page asked for."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ftmigrate import __version__
from ftmigrate.api import UnreadableError
from ftmigrate.audit.causes import Group
from ftmigrate.audit.page import Page, page
from ftmigrate.cli.common import Paint, add_jobs_option, add_source_options, context, print_json
from ftmigrate.cli.convert_directory import COLOURS, disk, nothing
from ftmigrate.directory.tree import Totals, items, results
from ftmigrate.directory.work import WORDS, Job, Outcome
from ftmigrate.frameworks import registry

_KINDS = {
    "refused": "not convertible",
    "unreadable": "cannot be read",
    "fault": "a fault of ours",
    "manual": "work by hand",
    "dropped": "lost",
    "approximate": "approximate",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="DIR", help="the directory")
    parser.add_argument("--from", dest="source", metavar="NAME[@VERSION]", help="only configs of this framework")
    parser.add_argument("--to", dest="target", metavar="NAME[@VERSION]", required=True, help="the framework wanted")
    add_source_options(parser)
    parser.add_argument("--exact", action="store_true", help="use odd means too where only they train the same")
    parser.add_argument("--html", metavar="FILE", help="write one page that holds everything (replaced if it is there)")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a file does not convert, or not without loss")
    add_jobs_option(parser)


def run(args: argparse.Namespace) -> int:
    root = Path(os.path.normpath(args.path))
    if not root.is_dir():
        raise UnreadableError(f"{root}: no such directory")
    target, version = registry.resolve(args.target)
    overrides = tuple(args.overrides)
    job = Job(root.as_posix(), args.target, args.source, overrides, context(args), args.exact, page=bool(args.html))
    given = items(root, root)
    totals = Totals()
    files: list[dict[str, Any]] = []
    head = {
        "ftmigrate": __version__,
        "path": root.as_posix(),
        "target": {"framework": target.name, "version": version},
    }
    with disk(), ExitStack() as stack:
        shown: Page | None = stack.enter_context(page(Path(args.html))) if args.html else None
        for _, result in results(job, given, args.jobs):
            totals.add(result)
            files.append(result.json())
            if shown is not None:
                shown.add(result)
        if not files:
            raise UnreadableError(nothing(root, job))
        blockers, nearly = totals.groups.blockers(), totals.groups.approximations()
        if shown is not None:
            shown.end({**head, "title": f"{target.title} {version}", "summary": totals.json()}, blockers, nearly)
    if args.format == "json":
        found = {
            **head,
            "summary": totals.json(),
            "blockers": [group.json() for group in blockers],
            "approximations": [group.json() for group in nearly],
            "files": files,
        }
        print_json(found)
    else:
        _print(f"{root} to {target.title} {version}", files, totals, blockers, nearly)
    if args.html:
        print(f"the page: {args.html}", file=sys.stderr)
    if totals.outcomes[Outcome.FAULT]:
        return 3
    return 1 if args.strict and (totals.status() or totals.lossy) else 0


def _print(title: str, files: list[dict[str, Any]], totals: Totals, blockers: list[Group], nearly: list[Group]) -> None:
    """The whole audit on standard output: files, causes, totals last, where the eye is."""
    paint = Paint(sys.stdout)
    lines = [paint(title, "bold"), ""]
    for item in files:
        outcome = Outcome(item["outcome"])
        counts = [f"{item['summary'][word]} {word}" for word in ("manual", "dropped", "approximate")
                  if outcome is not Outcome.REFUSED and item["summary"].get(word)]  # fmt: skip
        where = item["path"] + (f":{item['line']}" if item["line"] else "")
        about = item["reason"] or ", ".join(counts)
        lines.append(f"{where}: {paint(WORDS[outcome], COLOURS[outcome])}" + (f" ({about})" if about else ""))
    lines += _groups(
        "what blocks: files that have it, that it alone frees, that are free with all above", blockers, paint, free=True
    )
    lines += _groups("what is only approximate", nearly, paint, free=False)
    lines += ["", paint(f"{totals.files} configs", "bold")]
    for outcome in Outcome:
        if totals.outcomes[outcome]:
            lines.append(f"{totals.outcomes[outcome]:6} {paint(WORDS[outcome], COLOURS[outcome])}")
    print("\n".join(lines))


def _groups(title: str, groups: list[Group], paint: Paint, *, free: bool) -> list[str]:
    if not groups:
        return []
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    columns = f"{'files':>6}{'frees':>7}{'in all':>8}  " if free else f"{'files':>6}  "
    lines = ["", paint(title, "bold"), paint(columns + "cause", "dim")]
    for group in groups:
        counts = f"{len(group.files):6}" + (f"{group.frees:7}{group.freed:8}" if free else "") + "  "
        kind = f"{_KINDS[group.kind]}: " if free else ""
        said = f"{kind}{group.name}" + (f", {group.meaning}" if group.meaning else "")
        if group.examples and group.kind != "refused":
            said += f" ({'; '.join(group.examples)})"
        lines += textwrap.wrap(said, width, initial_indent=counts, subsequent_indent=" " * len(counts))
    return lines
