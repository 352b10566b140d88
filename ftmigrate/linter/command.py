"""The work of `ftmigrate lint`: which files, in how many processes, and what becomes of what was found."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ftmigrate.document.model import Severity
from ftmigrate.linter import engine, suppression
from ftmigrate.linter.diagnostic import RANK, Diagnostic
from ftmigrate.linter.engine import Job, Result
from ftmigrate.linter.formats import Report, text
from ftmigrate.schema import UnknownVersion

STDIN = "-"
_YOUNG = 50_000
_SEVERAL = 24  # with fewer files the processes cost more than they save


class Failed(Exception):
    """The command cannot do its work; the reason in words."""


class Item(NamedTuple):
    """A file to lint. named: the user named it, instead of a directory above it."""

    path: str
    named: bool


class Totals:
    """What is known after all files."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.files = 0
        self.repaired = 0
        self.failing = False
        self.unreadable = False
        self.faults: list[tuple[str, str]] = []
        self.versions: dict[str, int] = {}


def work(args: argparse.Namespace) -> Totals:
    """Lint all that is asked for and tell it. Raises Failed."""
    from ftmigrate.frameworks.registry import UnknownFramework

    try:
        return _work(args)
    except (UnknownFramework, UnknownVersion, suppression.BadProject) as error:
        raise Failed(str(error)) from None


def _work(args: argparse.Namespace) -> Totals:
    from ftmigrate.cli.common import Paint

    job = _job(args)
    totals = Totals()
    known = _baseline(args.baseline) if args.baseline else None
    fail_on = _fail_on(args)
    stream = args.format == "text" and not args.output_file and not args.statistics and not args.diff
    out = sys.stderr if STDIN in args.paths and (args.fix or args.unsafe_fixes) else sys.stdout
    paint = Paint(out)
    for result, named in _results(args, job):
        if result is None:
            if named:
                print(f"{named}: no training config of a framework known here; passed over", file=sys.stderr)
            continue
        if result.unreadable:
            print(f"ftmigrate: {result.path}: {result.unreadable}", file=sys.stderr)
            totals.unreadable = True
            continue
        totals.files += 1
        totals.repaired += result.repaired
        totals.faults += [(result.path, fault) for fault in result.faults]
        if result.framework:
            key = f"{result.framework} {result.version}"
            totals.versions[key] = totals.versions.get(key, 0) + 1
        _write(args, result)
        for one in result.diagnostics if known is None else _new(result.diagnostics, known):
            totals.failing = totals.failing or RANK[one.severity] >= RANK[fail_on]
            if stream:
                out.write(text.finding(one, paint))
            totals.diagnostics.append(one._replace(source="") if stream else one)
    _tell(args, totals, stream)
    return totals


def _tell(args: argparse.Namespace, totals: Totals, stream: bool) -> None:
    from ftmigrate.cli.common import Paint

    report = Report(totals.diagnostics, totals.files, totals.repaired)
    if args.diff:
        pass
    elif args.statistics:
        _out(args, text.statistics(report))
    elif args.format != "text":
        from ftmigrate.linter.formats import render

        _out(args, render(report, args.format))
    elif not stream:
        _out(args, "".join(text.finding(one, Paint(open(os.devnull))) for one in report.diagnostics))  # noqa: SIM115
    if args.format == "text":
        versions = ", ".join(
            f"{name} ({count})" if len(totals.versions) > 1 else name for name, count in totals.versions.items()
        )
        print(text.closing(report) + (f"; linted as {versions}" if versions else ""), file=sys.stderr)


def _out(args: argparse.Namespace, told: str) -> None:
    if args.output_file:
        from ftmigrate.files import write_atomically

        write_atomically(Path(args.output_file), told)
    else:
        sys.stdout.write(told)


def _write(args: argparse.Namespace, result: Result) -> None:
    """The repaired text: into the file, as a diff, or to standard output for what came from standard input."""
    if args.diff:
        if result.fixed is not None:
            from difflib import unified_diff

            before, after = result.text.splitlines(True), result.fixed.removeprefix("\ufeff").splitlines(True)
            for line in unified_diff(before, after, result.path, result.path):
                sys.stdout.write(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    elif args.fix or args.unsafe_fixes:
        if _is_stdin(args, result.path):
            sys.stdout.write(result.text if result.fixed is None else result.fixed)
        elif result.fixed is not None:
            from ftmigrate.files import write_atomically

            write_atomically(Path(result.path), result.fixed)


def _is_stdin(args: argparse.Namespace, path: str) -> bool:
    return STDIN in args.paths and path == (args.stdin_filename or "<stdin>")


# --- options ----------------------------------------------------------------------------------------------------


def _job(args: argparse.Namespace) -> Job:
    context: Any = None
    if args.recipe or args.world_size or args.rows:
        from ftmigrate.frameworks.reader import Context

        context = Context(args.recipe, args.world_size, args.rows)
    wanted = args.fix or args.unsafe_fixes or args.diff
    fix = ("unsafe" if args.unsafe_fixes else "safe") if wanted else ""
    if args.framework:
        from ftmigrate.frameworks import registry

        registry.resolve(args.framework)
    return Job(args.framework, _codes(args.select), _codes(args.ignore), fix, context, args.isolated, args.diff)


def _codes(given: Sequence[str]) -> tuple[str, ...]:
    """Codes and prefixes, names of rules made codes. Raises Failed."""
    asked = [one.strip() for text in given for one in text.split(",") if one.strip()]
    if not asked:
        return ()
    from ftmigrate.linter.rules import every

    rules = [rule for rule, _ in every()]
    names = {rule.name: rule.code for rule in rules}
    found = []
    for one in asked:
        code = names.get(one, one.upper())
        if code != "ALL" and not any(rule.code.startswith(code) for rule in rules):
            from difflib import get_close_matches

            close = get_close_matches(one, [*names, *names.values()], 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise Failed(f"{one} is no rule, nor the beginning of one's code{hint} `ftmigrate rule` lists them.")
        found.append("" if code == "ALL" else code)
    return tuple(found)


def _fail_on(args: argparse.Namespace) -> Severity:
    if args.fail_on:
        return Severity(args.fail_on)
    project = None if args.isolated else suppression.project(Path.cwd())
    return Severity(project.fail_on) if project is not None and project.fail_on else Severity.WARNING


# --- baseline ---------------------------------------------------------------------------------------------------


def _baseline(name: str) -> dict[tuple[str, str, str], int]:
    """How often each finding stands in a report of --format json. Lines do not count: texts move."""
    import json

    try:
        found = json.loads(Path(name).read_text(encoding="utf-8"))["diagnostics"]
        keys = [(os.path.normpath(one["path"]), str(one["code"]), _without_lines(one["message"])) for one in found]
    except OSError as error:
        raise Failed(f"{name}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise Failed(f"{name} is no baseline: write one with --format json --output-file {name}") from None
    counts: dict[tuple[str, str, str], int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return counts


def _without_lines(message: str) -> str:
    import re

    return re.sub(r"\bline \d+", "line", message)


def _new(found: Sequence[Diagnostic], known: dict[tuple[str, str, str], int]) -> Iterator[Diagnostic]:
    for one in found:
        key = (os.path.normpath(one.path), one.code, _without_lines(one.message))
        if known.get(key, 0):
            known[key] -= 1
        else:
            yield one


# --- files ------------------------------------------------------------------------------------------------------


def _results(args: argparse.Namespace, job: Job) -> Iterator[tuple[Result | None, str]]:
    """Each file's result, and its name where the user named it and it should be said that it was passed over."""
    items: list[Item] = []
    for path in args.paths or ["."]:
        if path == STDIN:
            name = args.stdin_filename or "<stdin>"
            yield engine.lint(sys.stdin.buffer.read(), name, job), name
        elif os.path.isdir(path):
            items += _below(path)
        else:
            items.append(Item(path, not args.skip_others))
    if len(items) >= _SEVERAL:
        gc.enable()
        gc.set_threshold(_YOUNG)  # linting makes no cycles: collecting is for what may go wrong
    if len(items) < _SEVERAL or args.jobs == 1:
        for item in items:
            yield examine(job, item), item.path if item.named else ""
        return
    from contextlib import closing

    from ftmigrate.directory import pool
    from ftmigrate.directory.progress import bar

    jobs = args.jobs or pool.cores()
    with pool.stoppable(), closing(pool.each(partial(examine, job), items, jobs, _lost)) as found:
        for item, result in zip(items, bar(found, len(items)), strict=True):
            yield result, item.path if item.named else ""


def _below(folder: str) -> list[Item]:
    from ftmigrate.directory.walk import walk

    root = Path(folder)
    return [Item((root / path).as_posix(), False) for path in walk(root)]


def examine(job: Job, item: Item) -> Result | None:
    """Read and lint one file; nothing is written. None: no config of a framework known here."""
    try:
        with open(item.path, "rb") as stream:
            data = stream.read()
    except OSError as error:
        return Result(item.path, [], unreadable=error.strerror or str(error))
    found = engine.lint(data, item.path, job, named=item.named)
    return found if found is None or job.fix else found._replace(text="")


def _lost(item: Item) -> Result:
    return Result(item.path, [], faults=("the process that worked on it died",))
