"""`ftmigrate verify`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftmigrate import __version__
from ftmigrate.cli.common import Paint, add_command_option, add_source_options, context, print_warnings
from ftmigrate.files import write_atomically
from ftmigrate.frameworks.reader import Context
from ftmigrate.verify.levels import LEVELS, Outcome, Result, differences, included, ledger, status, verify
from ftmigrate.verify.results import APART, PAIRED

if TYPE_CHECKING:
    from ftmigrate.api import Input
    from ftmigrate.document.model import Document
    from ftmigrate.frameworks.registry import Framework
    from ftmigrate.run.model import Run

_COLOURS = {Outcome.PASSED: "green", Outcome.DIFFERS: "red", Outcome.NOT_RUN: "yellow"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="SOURCE", help="the config that was converted")
    parser.add_argument("other", metavar="TARGET", nargs="?", help="what it was converted to (level memory: optional)")
    parser.add_argument("--from", dest="source", metavar="NAME[@VERSION]", help="SOURCE's framework")
    parser.add_argument("--to", dest="target", metavar="NAME[@VERSION]", help="TARGET's framework")
    parser.add_argument("--level", choices=LEVELS, default=LEVELS[0], help="how deep (default: schema)")
    parser.add_argument(
        "--steps", type=int, default=20, metavar="N", help="optimizer steps of level train (default: 20)"
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: level train as configured, and memory and speed (default: cpu, in fp32)",
    )
    parser.add_argument("--row-length", type=int, metavar="N",
                        help="level memory: tokens of a row that is not packed (default: the longest allowed, or 2048)")  # fmt: skip
    parser.add_argument("--all-layers", action="store_true", help="level memory: trace all layers beside the few")
    add_source_options(parser)
    add_command_option(parser)
    parser.add_argument("--report", metavar="FILE", help="write what was found as JSON")
    parser.add_argument("--html", metavar="FILE", help="write what was found as one page")


def run(args: argparse.Namespace) -> int:
    from ftmigrate import api

    if args.other is None and args.level not in APART:
        print(f"level {args.level} compares two configs: name the TARGET", file=sys.stderr)
        return 2
    source = api.load(args.path, args.source, args.overrides, args.number)
    if args.other is None:
        return alone(args, source)
    target = api.load(args.other, args.target)
    for document in (source.document, target.document):
        print_warnings(document)
    if args.device == "cuda" and not has_gpu():
        print("--device cuda: there is no GPU that a CUDA driver sees on this machine", file=sys.stderr)
        return 2
    told = context(args)
    before = source.run(told)
    after = target.run(Context(world_size=args.world_size, rows=args.rows))
    sides = (
        (source.document, before, source.framework, source.version),
        (target.document, after, target.framework, target.version),
    )
    results = verify(target.document, after, target.framework, target.version, args.level)
    results += pairs(*sides, args.level, args.steps, args.row_length, args.all_layers, args.device)
    lost = differences(before, after)
    if args.report or args.html:
        report = {
            "ftmigrate": __version__,
            "source": {"path": args.path, "framework": before.framework, "version": before.version},
            "target": {"path": args.other, "framework": after.framework, "version": after.version},
            "levels": [result.json() for result in results],
            "differences": list(lost),
            "ledger": ledger(before, after),
        }
        write_report(report, args.report, args.html)
    print_results(results)
    if lost:
        print(
            f"{len(lost)} settings differ by our reading; see ftmigrate diff {args.path} {args.other}", file=sys.stderr
        )
    return status(results)


def alone(args: argparse.Namespace, source: Input) -> int:
    """A level that one config is enough for."""
    print_warnings(source.document)
    found = source.run(context(args))
    side = (source.document, found, source.framework, source.version)
    result = memory(side, row_length=args.row_length, all_layers=args.all_layers)
    if args.report or args.html:
        report = {
            "ftmigrate": __version__,
            "source": {"path": args.path, "framework": found.framework, "version": found.version},
            "target": None,
            "levels": [result.json()],
            "differences": [],
        }
        write_report(report, args.report, args.html)
    print_results([result])
    return status([result])


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def memory(
    *sides: tuple[Document, Run, Framework, str], row_length: int | None = None, all_layers: bool = False
) -> Result:
    """Level memory of one config, or of a source and its target."""
    from ftmigrate.verify.memory_level import Config, Options, check
    from ftmigrate.verify.trial import plain

    configs = [
        Config(plain(document.tree), run, framework, version, document.name, framework.beside(document))
        for document, run, framework, version in sides
    ]
    return check(configs, Options(row_length, all_layers, _say))


def pairs(
    source: tuple[Document, Run, Framework, str],
    target: tuple[Document, Run, Framework, str],
    level: str,
    steps: int = 20,
    row_length: int | None = None,
    all_layers: bool = False,
    device: str = "cpu",
) -> list[Result]:
    """The levels up to `level` that run both sides (on a GPU also memory and speed), or the one that stands apart."""
    if level in APART:
        return [memory(source, target, row_length=row_length, all_layers=all_layers)]
    wanted = [name for name in included(level) if name in PAIRED]
    if not wanted:
        return []
    from ftmigrate.verify.measure import Device
    from ftmigrate.verify.pair import Config, Options, compare

    on = Device(device, steps) if device != "cpu" else None
    wanted += ["speed"] if on is not None and "train" in wanted else []
    return compare(Config(*source), Config(*target), wanted, Options(steps=steps, say=_say, device=on))


def write_report(report: dict[str, Any], as_json: str | None, as_html: str | None) -> None:
    if as_json:
        write_atomically(Path(as_json), json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if as_html:
        from ftmigrate.verify.page import page

        write_atomically(Path(as_html), page(report))


def print_results(results: list[Result]) -> None:
    """A line a level, then what it found; on standard error, as every report for a person."""
    paint = Paint(sys.stderr)
    for result in results:
        print(f"{result.level:8} {paint(result.outcome, _COLOURS[result.outcome])}", file=sys.stderr)
        for detail in result.details:
            print(f"  {detail}", file=sys.stderr)
        for difference in result.differences:
            print(f"  {difference.line()}", file=sys.stderr)


def has_gpu() -> bool:
    """Whether the driver's own tool lists a GPU."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and "GPU" in done.stdout
