"""`ftmigrate convert DIR`: every config of a directory, with an index of what became of each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftmigrate.api import UnreadableError
from ftmigrate.cli.common import Paint, context
from ftmigrate.directory import index
from ftmigrate.directory.report import reports
from ftmigrate.directory.tree import Totals, items, results
from ftmigrate.directory.work import CONVERTED, WORDS, Job, Outcome, Result
from ftmigrate.files import write_atomically
from ftmigrate.frameworks import registry

COLOURS = {
    Outcome.ALREADY: "dim",
    Outcome.FULL: "green",
    Outcome.APPROXIMATE: "yellow",
    Outcome.DROPPED: "red",
    Outcome.MANUAL: "magenta",
    Outcome.REFUSED: "red",
    Outcome.UNREADABLE: "red",
    Outcome.FAULT: "red",
}


def run(args: argparse.Namespace) -> int:
    root = Path(os.path.normpath(args.path))
    out = _place(root, args)
    target, version = registry.resolve(args.target)
    given = items(root, out)
    taken = {(root / item.path).resolve() for item in given}
    for item in given:
        if Path(item.out).resolve() in taken:
            raise UnreadableError(f"{item.out} is a source itself; name another directory with -o")
    want_ledger = bool(args.report) or args.format == "json"
    job = Job(root.as_posix(), args.target, args.source, tuple(args.overrides), context(args), args.exact, want_ledger)
    totals = Totals()
    entries: list[dict[str, Any]] = []
    kept = 0
    stdout = sys.stdout if args.format == "json" else None
    with disk(), reports(Path(args.report) if args.report else None, stdout, args.force) as written:
        for item, result in results(job, given, args.jobs):
            left = [path for path, text in result.files.items() if not _write(Path(path), text, args.force)]
            kept += bool(left)
            totals.add(result)
            name = Path(item.out).relative_to(out).as_posix() if result.files else None
            entries.append(index.entry(result, name, bool(left)))
            for report in written:
                if result.ledger is not None:
                    report.add(result.ledger)
                elif result.outcome is not Outcome.ALREADY:
                    report.problem(result.json())
            _say(root, result, left)
        for report in written:
            report.end(totals.json())
        if not entries:
            raise UnreadableError(nothing(root, job))
        where = {"framework": target.name, "version": version}
        write_atomically(out / index.JSON_NAME, index.as_json(root.as_posix(), where, totals, entries))
        said = f"{target.title} {version}"
        write_atomically(out / index.TABLE_NAME, index.as_table(root.as_posix(), said, totals, entries))
    print_totals(totals)
    if kept:
        print(f"{kept} not written: other files stand there; --force overwrites them", file=sys.stderr)
    print(f"what became of each: {out / index.TABLE_NAME}", file=sys.stderr)
    status = max(totals.status(), 2 if kept else 0)
    return status or (1 if args.strict and totals.lossy else 0)


def nothing(root: Path, job: Job) -> str:
    known = job.source.partition("@")[0] if job.source else ", ".join(registry.names())
    return f"{root} holds no config of a framework known here ({known})"


def _place(root: Path, args: argparse.Namespace) -> Path:
    """OUTDIR. Raises UnreadableError where it cannot be used."""
    if args.output in (None, "-"):
        raise UnreadableError(f"{root} is a directory: name the one to write with -o OUTDIR")
    out = Path(os.path.normpath(args.output))
    if out.exists() and not out.is_dir():
        raise UnreadableError(f"{out} is no directory")
    if root.resolve().is_relative_to(out.resolve()):
        raise UnreadableError(f"{out} holds the sources; name another directory with -o")
    if args.verify:
        raise UnreadableError("--verify takes one file; convert the directory, then verify the files you train with")
    return out


def _write(path: Path, text: str, force: bool) -> bool:
    """Whether the file now says `text`."""
    try:
        write_atomically(path, text, force=force)
    except FileExistsError:
        return False
    return True


@contextmanager
def disk() -> Iterator[None]:
    """What the disk refuses is no fault of ours."""
    try:
        yield
    except FileExistsError as error:
        raise UnreadableError(str(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnreadableError(f"{error.filename or 'writing'}: {error.strerror}") from error


def _say(root: Path, result: Result, left: list[str]) -> None:
    """A line for a file that was not converted, or not written."""
    paint = Paint(sys.stderr)
    if result.outcome not in CONVERTED and result.outcome is not Outcome.ALREADY:
        line = f":{result.line}" if result.line else ""
        word = paint(WORDS[result.outcome], COLOURS[result.outcome])
        again = "; please report it with the config" if result.outcome is Outcome.FAULT else ""
        _line(f"{(root / result.path).as_posix()}{line}: {word}: {result.reason}{again}")
    for path in left:
        _line(f"{path}: {paint('not written', 'red')}: another file stands there")


def _line(text: str) -> None:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(clear + text, file=sys.stderr)


def print_totals(totals: Totals) -> None:
    paint = Paint(sys.stderr)
    counts = [(outcome, totals.outcomes[outcome]) for outcome in Outcome if totals.outcomes[outcome]]
    print(f"{totals.files} configs", file=sys.stderr)
    for outcome, count in counts:
        print(f"{count:6} {paint(WORDS[outcome], COLOURS[outcome])}", file=sys.stderr)
