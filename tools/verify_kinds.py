"""Converts and verifies one config of every kind (fixtures/kinds/cases.yaml), with both frameworks' own programs.

    python tools/verify_kinds.py [CASE...]     # print what each level found, and write it into tests/kinds.json
    python tools/verify_kinds.py dpo_lora --levels plan,tokens --explain

The work is `ftmigrate verify`'s (ftmigrate.verify.pair): plan, tokens and train of each case, on a tiny model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

import verified  # noqa: E402

from ftmigrate.verify import rows  # noqa: E402
from ftmigrate.verify.pair import Config, Options, Pair  # noqa: E402
from ftmigrate.verify.probe import Probe  # noqa: E402
from ftmigrate.verify.results import PAIRED, Outcome, Result  # noqa: E402
from ftmigrate.verify.train_level import gap  # noqa: E402
from tests.conftest import CORPUS, FIXTURES, WHEEL  # noqa: E402

VERSIONS = {"torchtune": "0.6.1", "axolotl": "0.21.0"}
OUT = ROOT / "tests" / "kinds.json"


class Case(NamedTuple):
    """An entry of cases.yaml; config is None where it is not at hand."""

    name: str
    source: str
    config: Path | None
    recipe: str | None
    overrides: tuple[str, ...]
    ci: tuple[str, ...]

    @property
    def target(self) -> str:
        return next(name for name in VERSIONS if name != self.source)


def cases() -> dict[str, Case]:
    """All cases by name."""
    listed = yaml.safe_load((FIXTURES / "kinds" / "cases.yaml").read_text(encoding="utf-8"))
    found = {}
    for name, given in listed.items():
        config = FIXTURES / given["config"] if "config" in given else None
        if "wheel" in given and WHEEL is not None:
            config = WHEEL / f"{given['wheel']}.yaml"
        if "corpus" in given and CORPUS.is_dir():
            config = CORPUS / given["corpus"]
        found[name] = Case(name, given.get("from", "torchtune"), config, given.get("recipe"),
                           tuple(given.get("set", ())), tuple(given.get("ci", ())))  # fmt: skip
    return found


def sides(case: Case) -> tuple[Config, Config]:
    """A case's config and what we convert it into."""
    assert case.config is not None
    source, target = (f"{name}@{VERSIONS[name]}" for name in (case.source, case.target))
    return verified.converted(case.config, source, target, case.overrides, case.recipe, rows.COUNT, exact=False)


def run(
    case: Case, levels: Sequence[str], options: Options, running: Mapping[str, Probe]
) -> tuple[list[Result], list[str]]:
    """The levels of a case; where training differs, also the settings that by our reading may be the cause."""
    with Pair(*sides(case), options, running) as pair:
        results = [pair.level(level) for level in levels]
        differs = any(one.level == "train" and one.outcome is Outcome.DIFFERS for one in results)
        return results, [one.path for one in pair.suspects()] if differs else []


def line(results: list[Result], suspects: Sequence[str] = ()) -> dict[str, Any]:
    """The figures that are kept of a case."""
    found: dict[str, Any] = {one.level: str(one.outcome) for one in results}
    for one in results:
        if one.level == "train" and one.data:
            apart = gap(one.data["source"], one.data["target"])
            found |= {
                "steps": list(apart.counts),
                "loss": float(f"{apart.loss:.0e}"),
                "norm": float(f"{apart.norm:.0e}"),
            }
    found["because"] = sorted({str(d.setting) for one in results for d in one.differences})
    found["may explain training"] = sorted(suspects)
    found["not told"] = sorted({str(d.setting) for one in results for d in one.differences if not d.told})
    found["open"] = [one.details[0].splitlines()[0] for one in results if one.outcome == "could not run"]
    return {key: value for key, value in found.items() if value != []}


def told(results: list[Result]) -> None:
    for result in results:
        print(f"  {result.level}: {result.outcome}")
        for text in (*result.details, *(one.line() for one in result.differences)):
            print(f"    {text[:600]}", flush=True)


def main() -> int:
    known: Mapping[str, Case] = cases()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--levels", default=",".join(PAIRED))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--explain", action="store_true", help="switch settings until a difference goes")
    parser.add_argument("--show", action="store_true", help="only print what is converted into")
    given = parser.parse_args()
    table: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    whole = given.levels == ",".join(PAIRED) and not given.show
    with ExitStack() as stack:
        running = {} if given.show else verified.probes(stack, VERSIONS)
        for name in given.case or known:
            if known[name].config is None:
                print(f"{name}: SKIPPED, its config is not at hand")
                continue
            if given.show:
                print(sides(known[name])[1].document.text)
                continue
            options = Options(given.steps, explain=given.explain)
            found, suspects = run(known[name], given.levels.split(","), options, running)
            table[name] = line(found, suspects)
            print(f"{name}: {json.dumps(table[name])}")
            told(found)
            if whole:
                kept = {name: table[name] for name in known if name in table}
                OUT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
