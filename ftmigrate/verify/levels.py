"""The levels of `verify`, cheapest first. A level that cannot run counts as not verified, never as passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ftmigrate.document.model import Document, Unresolved, format_path
from ftmigrate.frameworks.registry import Framework
from ftmigrate.run.compare import losses
from ftmigrate.run.model import Run
from ftmigrate.run.rendering import PLAIN, Rendering, samples
from ftmigrate.verify import environments
from ftmigrate.verify.load import check_load
from ftmigrate.verify.probe import Probe, ProbeError
from ftmigrate.verify.schema_level import ValidatorMissing, check_schema

LEVELS = ("schema", "load")


class Outcome(StrEnum):
    PASSED = "passed"
    DIFFERS = "differs"
    NOT_RUN = "could not run"


@dataclass(frozen=True, slots=True)
class Result:
    """What one level found; `details` in the user's words."""

    level: str
    outcome: Outcome
    details: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        return {"level": self.level, "outcome": str(self.outcome), "details": list(self.details)}


def verify(document: Document, run: Run, framework: Framework, version: str, level: str) -> list[Result]:
    """Check a config of a framework up to a level (each level includes those before it)."""
    results = [schema_level(document, run, framework, version)]
    if level == "load":
        results.append(load_level(document, run, framework, version))
    return results


def schema_level(document: Document, run: Run, framework: Framework, version: str) -> Result:
    """The file against the pinned schema, by an independent validator."""
    try:
        found = check_schema(document.tree, framework.name, version, run.recipe)
    except ValidatorMissing as error:
        return Result("schema", Outcome.NOT_RUN, (str(error),))
    details = tuple(f"{finding.path}: {finding.message}" for finding in found)
    return Result("schema", Outcome.DIFFERS if details else Outcome.PASSED, details)


def load_level(document: Document, run: Run, framework: Framework, version: str) -> Result:
    """The framework's own loader takes the file, and every key survives with the value our reader gives it."""
    try:
        environment = environments.find(framework.name, version)
    except environments.EnvironmentProblem as error:
        return Result("load", Outcome.NOT_RUN, (str(error),))
    if environment is None:
        hint = (
            f"no environment with {framework.name} {version}; make one: ftmigrate env create {framework.name}@{version}"
        )
        return Result("load", Outcome.NOT_RUN, (hint,))
    world = run["parallel.world_size"]
    gpus = world if isinstance(world, int) else 1 if run["parallel.strategy"] == "single" else 2
    try:
        with Probe(environment.python, framework.name) as probe:
            return loaded(probe, document, gpus, rows(run))
    except ProbeError as error:
        return Result("load", Outcome.NOT_RUN, (str(error),))


def rows(run: Run) -> list[list[Mapping[str, object]]]:
    """Rows with the columns that each data source reads; none for a source that is not known."""
    found: list[list[Mapping[str, object]]] = []
    for index in range(run.sources):
        texts = [run[f"data.sources[{index}].{name}"] for name in ("text", "rejected")]
        known = [text for text in texts if isinstance(text, Rendering)]
        told = samples(*known) if known and not isinstance(texts[0], Unresolved) else []
        found.append([row for kind, row in told if kind == PLAIN])
    return found


def loaded(
    probe: Probe, document: Document, gpus: int, rows: Sequence[Sequence[Mapping[str, object]]] | None = None
) -> Result:
    """Level load through a probe that is already running."""
    written: Mapping[str, object] = {format_path(path): leaf.value for path, leaf in document.leaves.items()}
    report = check_load(probe, document.text, written, gpus=gpus, rows=rows)
    details = [report.error] if report.error else []
    details += [f"{lost.path}: written as {lost.wrote!r}, the loader has {lost.resolved!r}" for lost in report.lost]
    details += report.notes if rows is not None else ()
    return Result("load", Outcome.PASSED if report.passed else Outcome.DIFFERS, tuple(details))


def differences(source: Run, target: Run) -> tuple[str, ...]:
    """The settings in which two configs differ, as our own readers see them."""
    return tuple(f"{found.path}: {found.note()}" for found in losses(source, target))


def status(results: list[Result]) -> int:
    """0 passed, 1 a level found a difference, 2 a level could not run."""
    if any(result.outcome is Outcome.DIFFERS for result in results):
        return 1
    return 2 if any(result.outcome is Outcome.NOT_RUN for result in results) else 0
