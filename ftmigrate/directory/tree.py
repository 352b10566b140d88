"""Going through a directory: the files in it, the names of their results, and the results one after another."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from ftmigrate.audit.causes import Cause, Groups
from ftmigrate.directory import pool
from ftmigrate.directory.progress import bar
from ftmigrate.directory.walk import candidates
from ftmigrate.directory.work import CONVERTED, Item, Job, Outcome, Result, examine, lost
from ftmigrate.document.codes import MEANING, Code
from ftmigrate.frameworks import registry

STATUS = {Outcome.REFUSED: 2, Outcome.UNREADABLE: 2, Outcome.FAULT: 3}


def items(root: Path, out: Path) -> list[Item]:
    """The files that may be configs, each with the path of its result: the same under `out`, ending in `.yaml`.

    Where `a.yaml` stands beside `a.yml`, the latter keeps its name.
    """
    inside = [out] if out.resolve() != root.resolve() else []
    found = list(candidates(root, inside))
    taken = {path.as_posix().casefold() for path in found if path.name.endswith(".yaml")}
    given: list[Item] = []
    for path in found:
        name = path
        if not path.name.endswith(".yaml"):
            name = path.with_suffix(".yaml")
            if name.as_posix().casefold() in taken:
                name = path
            taken.add(name.as_posix().casefold())
        given.append(Item(path.as_posix(), (out / name).as_posix()))
    return given


def results(job: Job, given: Sequence[Item], jobs: int | None) -> Iterator[tuple[Item, Result]]:
    """What became of each file, in order; what is no config is left out. A bar on a terminal."""
    registry.resolve(job.target)
    if job.source:
        registry.resolve(job.source)
    registry.check_recipe_of_any(job.source, job.context.recipe)
    work = functools.partial(_examine, job)
    with pool.stoppable(), closing(pool.each(work, given, jobs or pool.cores(), _lost)) as found:
        for item, result in bar(found, len(given)):
            if result is not None:
                yield item, result


def _examine(job: Job, item: Item) -> tuple[Item, Result | None]:
    return item, examine(job, item)


def _lost(item: Item) -> tuple[Item, Result | None]:
    return item, lost(item)


class Totals(Struct):
    """The counts over all files, and the causes they share."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    groups: Groups = field(default_factory=Groups)

    def add(self, result: Result) -> None:
        self.outcomes[result.outcome] += 1
        if result.outcome in CONVERTED:
            self.verdicts.update(result.summary)
        found = result.causes
        if result.outcome is Outcome.UNREADABLE and result.code:
            found = (Cause("unreadable", result.code, MEANING[Code(result.code)], result.reason),)
        elif result.outcome in (Outcome.UNREADABLE, Outcome.FAULT):
            found = (Cause(str(result.outcome), result.reason),)
        self.groups.add(result.path, found)

    @property
    def files(self) -> int:
        return self.outcomes.total()

    def status(self) -> int:
        """The exit status of the worst."""
        return max((STATUS.get(outcome, 0) for outcome in self.outcomes), default=0)

    @property
    def lossy(self) -> bool:
        return bool(self.outcomes[Outcome.DROPPED] or self.outcomes[Outcome.MANUAL])

    def json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "outcomes": {str(outcome): self.outcomes[outcome] for outcome in Outcome},
            "verdicts": dict(self.verdicts),
        }
