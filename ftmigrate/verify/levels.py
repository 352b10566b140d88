"""The levels of `verify`, cheapest first. A level that cannot run counts as not verified, never as passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftmigrate.document.model import Document, Unresolved, format_path
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.registry import Framework
from ftmigrate.run.compare import losses
from ftmigrate.run.display import to_text
from ftmigrate.run.model import Run
from ftmigrate.run.rendering import Rendering
from ftmigrate.run.sample_rows import PLAIN, samples
from ftmigrate.verify import environments
from ftmigrate.verify.load import check_load
from ftmigrate.verify.probe import Probe, ProbeError
from ftmigrate.verify.results import LEVELS as LEVELS
from ftmigrate.verify.results import Outcome as Outcome
from ftmigrate.verify.results import Result as Result
from ftmigrate.verify.results import included as included
from ftmigrate.verify.results import status as status
from ftmigrate.verify.schema_level import ValidatorMissing, check_schema


def verify(document: Document, run: Run, framework: Framework, version: str, level: str) -> list[Result]:
    """Check a config of a framework up to a level, as far as that looks at one file (each level includes those before it)."""
    wanted = included(level)
    results = [schema_level(document, run, framework, version)] if "schema" in wanted else []
    if "load" in wanted:
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
    beside = registry.get(probe.framework).beside(document)
    report = check_load(probe, document.text, written, gpus=gpus, rows=rows, beside=beside)
    details = [report.error] if report.error else []
    details += [f"{lost.path}: written as {lost.wrote!r}, the loader has {lost.resolved!r}" for lost in report.lost]
    details += report.notes if rows is not None else ()
    return Result("load", Outcome.PASSED if report.passed else Outcome.DIFFERS, tuple(details))


def differences(source: Run, target: Run) -> tuple[str, ...]:
    """The settings in which two configs differ, as our own readers see them."""
    return tuple(f"{found.path}: {found.note()}" for found in losses(source, target))


def ledger(source: Run, target: Run) -> list[dict[str, str]]:
    """The same, each value by itself: what a page shows as a table."""
    return [
        {
            "setting": found.path,
            "source": to_text(found.source.value),
            "target": to_text(found.target.value if found.target else None),
            "verdict": str(found.loss),
            "note": found.note(),
        }
        for found in losses(source, target)
    ]
