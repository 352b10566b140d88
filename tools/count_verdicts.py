"""Count what becomes of real configs, and hold the counts against the committed ones: they may only get better.

    python tools/count_verdicts.py [--releases DIR] [--corpus DIR] [--write --why "reason"]

DIR of `--releases` holds unpacked releases (`torchtune-0.5.0`, ...), DIR of `--corpus` the folders of published
configs. Each collection's configs are converted in one go, as `ftmigrate audit` does. A collection that is not at hand
is said and passed over; if none is, the exit status is 2. `better` and `worse` are both written with `--write`; what is
worse needs a reason (a note that became truer, a setting told apart), which is kept in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ftmigrate.directory import tree
from ftmigrate.directory.work import Job, Outcome

COUNTS = Path(__file__).resolve().parent.parent / "tests" / "verdicts.json"
WORSE = ("refused", "unreadable", "fault", "manual", "dropped", "approximate")
"""What may not rise: files refused, unreadable or at fault, settings by hand, lost or approximate."""

Counts = dict[str, int]


class Collection(NamedTuple):
    """Published configs of one framework and version, in a folder of the releases or of the corpus."""

    source: str
    target: str
    root: str
    folder: str

    @property
    def name(self) -> str:
        return f"{self.source} to {self.target}, {self.folder}"


TORCHTUNE = ("0.2.1", "0.3.0", "0.3.1", "0.4.0", "0.5.0", "0.6.0", "0.6.1")
COLLECTIONS = (
    *(
        Collection(f"torchtune@{version}", "axolotl", "releases", f"torchtune-{version}/recipes/configs")
        for version in TORCHTUNE
    ),
    Collection("torchtune@main", "axolotl", "corpus", "torchtune-main"),
)


def count(found: Collection, folder: Path) -> Counts:
    """Files by outcome, entries of the converted ones by verdict."""
    job = Job(str(folder), found.target, found.source)
    totals = tree.Totals()
    for _, result in tree.results(job, tree.items(folder, Path("out")), None):
        totals.add(result)
    outcomes = {str(outcome): totals.outcomes[outcome] for outcome in Outcome if str(outcome) in WORSE[:3]}
    return {"files": totals.files, **outcomes, **dict(sorted(totals.verdicts.items()))}


def worse(committed: Mapping[str, int], counted: Mapping[str, int]) -> Iterator[str]:
    """What rose that may only fall, or files that are no longer found."""
    for name in WORSE:
        if counted.get(name, 0) > committed.get(name, 0):
            yield f"{name} rose from {committed.get(name, 0)} to {counted.get(name, 0)}"
    if counted["files"] < committed["files"]:
        yield f"files fell from {committed['files']} to {counted['files']}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Count verdicts over real configs.")
    parser.add_argument("--releases", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--write", action="store_true", help="write the counts down")
    parser.add_argument("--why", help="why what is worse is right")
    given = parser.parse_args()
    kept = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {"counts": {}, "worse because": []}
    committed: dict[str, Counts] = kept["counts"]
    rose: list[str] = []
    changed: list[str] = []
    at_hand = 0
    for found in COLLECTIONS:
        root: Path | None = getattr(given, found.root)
        folder = root / found.folder if root else None
        if folder is None or not folder.is_dir():
            print(f"{found.name}: NOT COUNTED, not at hand (--{found.root})")
            continue
        at_hand += 1
        counted = count(found, folder)
        before = committed.get(found.name, counted)
        print(f"{found.name}: " + ", ".join(f"{value} {name}" for name, value in counted.items() if value))
        rose += [f"{found.name}: {line}" for line in worse(before, counted)]
        if counted != committed.get(found.name):
            changed.append(found.name)
        committed[found.name] = counted
    if not at_hand:
        print("nothing to count", file=sys.stderr)
        return 2
    if given.write and (not rose or given.why):
        if rose:
            kept["worse because"].append({"why": given.why, "what": rose})
        COUNTS.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return 0
    for line in rose:
        print(f"worse: {line}", file=sys.stderr)
    if rose:
        print('repair it, or run again with --write --why "reason"', file=sys.stderr)
    elif changed:
        print(f"changed, none for the worse; run again with --write: {', '.join(changed)}", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
