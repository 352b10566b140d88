"""Trains the cases of fixtures/torchtune/parity/cases.yaml in torchtune and, converted, in Axolotl, and compares them.

    python tools/train_cases.py [CASE...]            # print the table; all cases: write tests/trained.json
    python tools/train_cases.py a --exact --steps 12

The work is `ftmigrate verify`'s (ftmigrate.verify.pair): plan, tokens and train of each case, on a tiny model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from ftmigrate import api  # noqa: E402
from ftmigrate.frameworks import registry  # noqa: E402
from ftmigrate.frameworks.reader import Context  # noqa: E402
from ftmigrate.verify import environments  # noqa: E402
from ftmigrate.verify.pair import Config, Options, compare  # noqa: E402
from ftmigrate.verify.probe import Probe  # noqa: E402
from ftmigrate.verify.results import PAIRED, Result  # noqa: E402
from ftmigrate.verify.train_level import gap  # noqa: E402

FIXTURES = ROOT / "fixtures" / "torchtune" / "parity"
SOURCE, TARGET = ("torchtune", "0.6.1"), ("axolotl", "0.21.0")
OUT = ROOT / "tests" / "trained.json"
ROWS = 48


class Case(NamedTuple):
    """An entry of cases.yaml."""

    name: str
    config: Path
    recipe: str
    rows: int
    overrides: tuple[str, ...]


def cases() -> dict[str, Case]:
    """All cases by name."""
    listed = yaml.safe_load((FIXTURES / "cases.yaml").read_text(encoding="utf-8"))
    return {
        name: Case(
            name,
            FIXTURES / given.get("config", "base.yaml"),
            given.get("recipe", "lora_finetune_single_device"),
            given.get("rows", ROWS),
            (*given["set"], *given.get("more", ())),
        )
        for name, given in listed.items()
    }


def run(case: Case, probes: Mapping[str, Probe], options: Options, exact: bool) -> list[Result]:
    """The levels of one case."""
    source = api.load(str(case.config), "@".join(SOURCE), case.overrides)
    context = Context(case.recipe, 1, case.rows)
    before = source.run(context)
    made = api.convert(str(case.config), "@".join(TARGET), "@".join(SOURCE), overrides=case.overrides,
                       recipe=case.recipe, world_size=1, rows=case.rows, exact=exact)  # fmt: skip
    assert made.target is not None
    target = registry.get(TARGET[0])
    (text,) = made.files.values()
    document = target.parse(text.encode(), "made.yaml", ())
    first = Config(source.document, before, source.framework, source.version)
    return compare(first, Config(document, made.target, target, TARGET[1]), PAIRED, options, probes)


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
    parser.add_argument("--exact", action="store_true", help="convert with --exact")
    parser.add_argument("--steps", type=int, default=20)
    told = parser.parse_args()
    table: dict[str, Any] = {}
    with ExitStack() as stack:
        probes = {}
        for name, version in (SOURCE, TARGET):
            found = environments.find(name, version)
            if found is None:
                raise SystemExit(f"no environment with {name} {version}: ftmigrate env create {name}")
            probes[name] = stack.enter_context(Probe(found.python, name))
        for name in told.case or known:
            table[name] = line(run(known[name], probes, Options(steps=told.steps, explain=False), told.exact))
            print(f"{name}: {json.dumps(table[name])}", flush=True)
    if not told.case and not told.exact:
        OUT.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
