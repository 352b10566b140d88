"""A trial: one side's own program on a tiny model and a few rows, watched by its probe."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from ftmigrate.document.model import Document, Unresolved
from ftmigrate.frameworks import registry
from ftmigrate.run.model import Run
from ftmigrate.verify import rows, tiny_model
from ftmigrate.verify.probe import Probe

SECONDS = 600.0
FALLBACK = "llama3"


class TrialFailed(Exception):
    """The framework's program ended with an error, or the trial cannot be set up; the text says where and why."""


class Side(Struct, frozen=True):
    """One config of a comparison with the probe of its framework."""

    document: Document
    run: Run
    probe: Probe

    @property
    def told(self) -> dict[str, Any]:
        """The config as a probe is told of it, with the files that it names."""
        beside = dict(registry.get(self.probe.framework).beside(self.document))
        config = {"config": plain(self.document.tree), "recipe": self.run.recipe}
        return config | {"beside": beside} if beside else config

    def trial(self, level: str, workplace: Workplace, **more: Any) -> dict[str, Any]:
        """What the framework's own program does. Raises TrialFailed, ProbeError."""
        return self.ask("trial", workplace, level, SECONDS, level=level, **more)

    def ask(
        self, operation: str, workplace: Workplace, folder: str, timeout: float, probe: Probe | None = None, **more: Any
    ) -> dict[str, Any]:
        """What the probe (else this one: `probe`) answers of this config in a folder of its own. Raises TrialFailed, ProbeError."""
        given = {"sizes": dict(workplace.sizes), "rows": row_files(workplace.sources), **self.told, **more}
        place = workplace.side(f"{self.probe.framework}-{folder}")
        answer = (probe or self.probe).request(operation, timeout=timeout, folder=str(place), **given)
        if not answer["ok"]:
            raise TrialFailed(f"{self.probe.framework}: {answer['error']['message']}")
        return answer


def row_files(sources: int) -> list[str]:
    return [f"rows{index}.jsonl" for index in range(sources)]


class Workplace(Struct, frozen=True):
    """The tiny model and the rows that all sides of a comparison share."""

    folder: Path
    family: str
    sizes: Mapping[str, Any]
    sources: int

    def side(self, name: str) -> Path:
        """A new folder for one trial, in which `model` and the rows lie."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "model").symlink_to(self.folder / "model", target_is_directory=True)
        for rows_file in row_files(self.sources):
            shutil.copy(self.folder / rows_file, place)
        return place


def workplace(folder: Path, family: str, data: Sequence[Sequence[Mapping[str, Any]]]) -> Workplace:
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model"
    sizes = tiny_model.sizes(family) if model.exists() else tiny_model.make(family, model)
    for index, source in enumerate(data):
        rows.write(source, folder / f"rows{index}.jsonl")
    return Workplace(folder.resolve(), family, sizes, len(data))


def family_of(sides: Sequence[Side]) -> str:
    """The family of model that the sides train: as their programs say, else by the model's name."""
    for side in sides:
        told = side.probe.request("family", config=plain(side.document.tree))
        if told["ok"] and told.get("family") in tiny_model.FAMILIES:
            return str(told["family"])
    for side in sides:
        found = tiny_model.family_of(str(side.run["model.base"]))
        if found:
            return found
    return FALLBACK


def plain(tree: Any) -> Any:
    """A config's tree in JSON's types; what only a run knows as the text it was written as."""
    if isinstance(tree, Unresolved):
        return tree.expression
    if isinstance(tree, Mapping):
        return {str(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(value) for value in tree]
    return tree if tree is None or isinstance(tree, bool | int | float | str) else copy.copy(str(tree))
