"""Trains the cases of fixtures/torchtune/parity/cases.yaml in torchtune and, converted, in Axolotl, and compares them.

    python tools/train_cases.py [CASE...]            # plain and with --exact; the figures go to tests/trained.json
    python tools/train_cases.py a --mode exact --steps 12 --dry

The work is `ftmigrate verify`'s (ftmigrate.verify.pair): plan, tokens and train of each case, on a tiny model. There are
twice the rows that the case names, so that a run has 20 optimizer steps and more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from msgspec.structs import replace

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

import verified  # noqa: E402

from ftmigrate.verify.pair import Options, compare  # noqa: E402
from ftmigrate.verify.probe import Probe  # noqa: E402
from ftmigrate.verify.results import PAIRED, Result  # noqa: E402
from ftmigrate.verify.train_level import gap  # noqa: E402

FIXTURES = ROOT / "fixtures" / "torchtune" / "parity"
SOURCE, TARGET = ("torchtune", "0.6.1"), ("axolotl", "0.21.0")
OUT = ROOT / "tests" / "trained.json"
ROWS, TIMES = 48, 2
MODES = ("exact", "plain")


class Case(NamedTuple):
    """An entry of cases.yaml."""

    name: str
    config: Path
    recipe: str
    rows: int
    overrides: tuple[str, ...]
    data: Path | None
    own_precision: bool


class Once(Probe):
    """A probe that runs a trial once: of a case's source there is one, of its conversions there are two."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.known: dict[str, tuple[dict[str, Any], bytes | None]] = {}

    def request(self, operation: str, *, timeout: float | None = None, **what: Any) -> dict[str, Any]:
        if operation != "trial":
            return super().request(operation, timeout=timeout, **what)
        place = Path(what["folder"])
        rows = [(place / name).read_text(encoding="utf-8") for name in what["rows"]]
        mark = json.dumps({**what, "folder": "", "keep": bool(what.get("keep")), "rows": rows}, default=str)
        kept = Path(what["keep"]) if "keep" in what else None
        if mark not in self.known:
            answer = super().request(operation, timeout=timeout, **what)
            self.known[mark] = (answer, kept.read_bytes() if kept is not None and kept.exists() else None)
        answer, start = self.known[mark]
        if kept is not None and start is not None:
            kept.write_bytes(start)
        return answer


def cases() -> dict[str, Case]:
    """All cases by name."""
    listed = yaml.safe_load((FIXTURES / "cases.yaml").read_text(encoding="utf-8"))
    return {
        name: Case(
            name,
            FIXTURES / given.get("config", "base.yaml"),
            given.get("recipe", "lora_finetune_single_device"),
            given.get("rows", ROWS),
            (*given["set"], *given.get("more", ()), *_data(given)),
            FIXTURES / given["data"] if "data" in given else None,
            given.get("own_precision", False),
        )
        for name, given in listed.items()
    }


def _data(given: Mapping[str, Any]) -> list[str]:
    return [f"dataset.data_files={FIXTURES / given['data']}"] if "data" in given else []


def run(case: Case, probes: Mapping[str, Probe], options: Options, exact: bool) -> list[Result]:
    """The levels of one case."""
    rows = case.rows * TIMES
    source, target = verified.converted(case.config, "@".join(SOURCE), "@".join(TARGET), case.overrides, case.recipe,
                                        rows, exact)  # fmt: skip
    options = replace(options, rows=rows // source.run.sources, own_precision=case.own_precision)
    return compare(source, target, PAIRED, options, probes)


def line(results: list[Result]) -> dict[str, Any]:
    """The figures that are kept of a case."""
    found: dict[str, Any] = {one.level: str(one.outcome) for one in results}
    train = next(one for one in results if one.level == "train")
    if train.data:
        apart = gap(train.data["source"], train.data["target"])
        found |= {"steps": list(apart.counts), "loss": float(f"{apart.loss:.1e}"), "norm": float(f"{apart.norm:.1e}")}
    found["because"] = sorted({str(d.setting) for one in results for d in one.differences})
    found["open"] = [
        detail.splitlines()[0] for one in results if one.outcome == "could not run" for detail in one.details
    ]
    return {key: value for key, value in found.items() if value != []}


def main() -> int:
    known = cases()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--mode", choices=MODES, help="only this one (default: both)")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--dry", action="store_true", help="print the figures, keep them nowhere")
    told = parser.parse_args()
    table: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    with ExitStack() as stack:
        probes = verified.probes(stack, dict((SOURCE, TARGET)), {SOURCE[0]: Once})
        for mode, name in product([told.mode] if told.mode else MODES, told.case or known):
            figures = line(run(known[name], probes, Options(steps=told.steps, explain=False), mode == "exact"))
            table.setdefault(name, {})[mode] = figures
            print(f"{name} {mode}: {json.dumps(figures)}", flush=True)
            if not told.dry:
                ordered = {name: table[name] for name in known if name in table}
                OUT.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
