"""The levels that run both sides: plan, tokens, train. Each framework's own program on the same tiny model and rows."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ftmigrate.document.model import Document
from ftmigrate.document.model import Path as KeyPath
from ftmigrate.frameworks.registry import Framework
from ftmigrate.run import vocabulary
from ftmigrate.run.compare import Comparison, Verdict, losses
from ftmigrate.run.model import Run
from ftmigrate.verify import environments, measure, real_model, rows, tiny_model, trial
from ftmigrate.verify.plan_level import compare_plans
from ftmigrate.verify.probe import Probe, ProbeError
from ftmigrate.verify.results import Difference, Outcome, Result
from ftmigrate.verify.shapes_level import compare_shapes
from ftmigrate.verify.tokens_level import compare_tokens
from ftmigrate.verify.train_level import compare_training, gap

STEPS = 20
SCHEDULE = ("schedule.name", "schedule.warmup_steps", "schedule.cycles", "schedule.min_ratio", "duration.max_steps",
            "duration.epochs", "duration.epoch_steps")  # fmt: skip
ROWS = ("data.sources[", "sequence.max_length", "sequence.overlong", "tokenizer.")
PINNED = (
    "launch.",
    "data.order",
    "data.shuffle",
    "precision.",
    "adapter.dropout",
    "adapter.dtype",
    "seed.",
    "parallel.",
)
PART = 0.1
"""A switched setting explains a difference when less than this share of it is left."""
Say = Callable[[str], None]


class Config(Struct, frozen=True):
    """One side: what it is, and how it is read."""

    document: Document
    run: Run
    framework: Framework
    version: str


class Options(Struct, frozen=True):
    steps: int = STEPS
    rows: int = rows.COUNT
    explain: bool = True
    own_precision: bool = False
    say: Say = lambda _: None
    device: measure.Device | None = None
    """Where to train as configured; None: on the CPU, in fp32."""


class Pair:
    """Both probes, the tiny model and the rows; a context manager."""

    def __init__(
        self, source: Config, target: Config, options: Options, probes: Mapping[str, Probe] | None = None
    ) -> None:
        self.source, self.target, self.options = source, target, options
        self.given = probes or {}
        self.equal: set[str] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Pair:
        try:
            self.sides = tuple(self._side(one) for one in (self.source, self.target))
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ftmigrate-")))
            data = rows.sources([self.source.run, self.target.run], self.options.rows)
            self.counts = [len(one) for one in data]
            self.place = trial.workplace(folder / "w", trial.family_of(self.sides), data)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _side(self, config: Config) -> trial.Side:
        name = config.framework.name
        if name in self.given:
            return trial.Side(config.document, config.run, self.given[name])
        found = environments.find(name, config.version)
        if found is None:
            hint = f"make one: ftmigrate env create {name}@{config.version}"
            raise environments.EnvironmentProblem(f"no environment with {name} {config.version}; {hint}")
        self.options.say(f"starting {config.framework.title} {config.version}")
        return trial.Side(config.document, config.run, self._stack.enter_context(Probe(found.python, name)))

    def level(self, name: str) -> Result:
        """One level. What cannot run is said, and is no pass."""
        self.options.say(f"level {name}: {self.place.family}, {sum(self.counts)} rows")
        try:
            return {"shapes": self._shapes, "plan": self._plan, "tokens": self._tokens, "train": self._train,
                    "speed": self._speed}[name]()  # fmt: skip
        except (trial.TrialFailed, ProbeError) as error:
            return Result(name, Outcome.NOT_RUN, (str(error),))

    def _real(self) -> real_model.Real:
        both = (self.source, self.target)
        return real_model.of([(one.framework, one.version, one.document, one.run) for one in both])

    def _shapes(self) -> Result:
        real = self._real()
        place = real_model.workplace(self.place.folder / "real", real)
        first, second = (real_model.shapes(side, place) for side in self.sides)
        return compare_shapes(first, second, self.source.run, self.target.run, real)

    def _plan(self) -> Result:
        first, second = (side.trial("plan", self.place, steps=1) for side in self.sides)
        seen = first["observed"].keys() & second["observed"].keys()
        self.equal |= {path for path in seen if first["observed"][path] == second["observed"][path]}
        if first["rates"] == second["rates"]:
            self.equal |= {path for path in SCHEDULE if path in self.source.run.settings}
        return compare_plans(first, second, self.source.run, self.target.run)

    def _tokens(self) -> Result:
        count = sum(self.counts)
        first, second = (side.trial("tokens", self.place, samples=count) for side in self.sides)
        tokenizer = tiny_model.FAMILIES[self.place.family].tokenizer
        result = compare_tokens(first, second, self.source.run, self.target.run, tokenizer, self.counts)
        if result.outcome is Outcome.PASSED:
            self.equal |= {path for path in self.source.run.settings if path.startswith(ROWS)}
        return result

    def _speed(self) -> Result:
        device = self.options.device or measure.Device()
        return measure.speed(self.sides, self.place.folder / "speed", device, self._real())

    def _train(self) -> Result:
        if self.options.device is not None:
            adapted = self.source.run["adapter.method"] != "none"
            return measure.losses(self.sides, self.place, self.options.device, adapted)
        first = self._trained(self.sides[0])
        second = self._trained(self.sides[1])
        found = gap(first["steps"], second["steps"])
        explained: Sequence[Difference] = ()
        if not found.equal and self.options.explain:
            explained = list(self._explain(first, found.loss or found.norm))
        return compare_training(first, second, explained)

    def _trained(self, side: trial.Side) -> dict[str, Any]:
        start = self.place.folder / "start.safetensors"
        adapted = self.source.run["adapter.method"] != "none"
        more: dict[str, Any] = {}
        if adapted:
            more = {"start" if start.exists() else "keep": str(start)}
        if self.options.own_precision:
            more["precision"] = "own"
        if self.source.run["data.order"] == self.target.run["data.order"]:
            more["order"] = "own"
        return side.trial("train", self.place, steps=self.options.steps, **more)

    # --- which setting explains a difference ------------------------------------------------------------------------

    def _explain(self, wanted: Mapping[str, Any], size: float) -> Iterator[Difference]:
        """Settings of the target that, switched alone to what the source's conversion says, take the difference away.

        Where none does, those that our reading tells are named, not confirmed.
        """
        differing = self.suspects()
        references = [self._reference(exact) for exact in (False, True)]
        tried: list[Any] = []
        confirmed = False
        for one, better in ((one, better) for one in differing for better in references):
            document = None if better is None else switched(self.target.document, self.target.run, better, one.path)
            if document is None or document.tree in tried:
                continue
            tried.append(document.tree)
            self.options.say(f"switching {one.path}")
            try:
                got = self._trained(trial.Side(document, self.target.run, self.sides[1].probe))
            except trial.TrialFailed:
                continue
            left = gap(wanted["steps"], got["steps"])
            if left.equal or (left.loss or left.norm) < PART * size:
                yield Difference(one.path, one.note(), told=True, confirmed=True)
                confirmed = True
                if left.equal:
                    return
        if not confirmed:
            for one in differing:
                yield Difference(one.path, one.note(), told=True)

    def suspects(self) -> list[Comparison]:
        """The settings that differ by our reading and change training, but for those seen equal at another level, and
        those that a trial pins on both sides. What was left out comes first.
        """
        told = [one for one in losses(self.source.run, self.target.run)
                if vocabulary.spec(one.path).effect == "training" and one.path not in self.equal
                and not one.path.startswith(PINNED)]  # fmt: skip
        return sorted(told, key=lambda one: one.loss is not Verdict.DROPPED)

    def _reference(self, exact: bool) -> Config | None:
        """The source's conversion: where a setting's right keys are taken from."""
        from ftmigrate.conversion import convert
        from ftmigrate.frameworks.reader import Context

        context = Context(recipe=self.source.run.recipe, rows=sum(self.counts), world_size=1)
        target = (self.target.framework, self.target.version)
        made = convert(self.source.document, (self.source.framework, self.source.version), target, context, "reference",
                       exact=exact)  # fmt: skip
        if made.refused is not None or made.target is None:
            return None
        document = self.target.framework.parse(made.files["reference"].encode(), "reference", ())
        return Config(document, made.target, *target)


def switched(document: Document, run: Run, other: Config, path: str) -> Document | None:
    """The document with one setting's keys as another file of the framework has them; None where they are the same."""
    if path not in other.run.settings or path not in run.settings:
        return None
    tree = copy.deepcopy(trial.plain(document.tree))
    before = copy.deepcopy(tree)
    given = trial.plain(other.document.tree)
    for leaf in _leaves(run, path):
        _remove(tree, leaf)
    for leaf in _leaves(other.run, path):
        _put(tree, leaf, _at(given, leaf))
    return None if tree == before else replace(document, tree=tree)


def _leaves(run: Run, path: str) -> list[KeyPath]:
    """The keys that feed a setting; of a data source all that feed any: its keys make sense together only."""
    paths = (
        [one for one in run.settings if one.startswith("data.sources[")] if path.startswith("data.sources[") else [path]
    )
    return list(dict.fromkeys(leaf for one in paths for leaf in run.settings[one].leaves))


def _at(tree: Any, path: KeyPath) -> Any:
    node = tree
    for key in path:
        node = node[key]
    return node


def _remove(tree: Any, path: KeyPath) -> None:
    node = tree
    for key in path[:-1]:
        inside = isinstance(node, list) and isinstance(key, int) and key < len(node)
        if not inside and not (isinstance(node, dict) and key in node):
            return
        node = node[key]
    if isinstance(node, dict):
        node.pop(path[-1], None)


def _put(tree: Any, path: KeyPath, value: Any) -> None:
    """Put a value in its place; mappings and lists on the way are made."""
    node = tree
    for key, following in pairwise(path):
        made: Any = [] if isinstance(following, int) else {}
        if isinstance(node, list):
            assert isinstance(key, int)
            node += [{} for _ in range(key + 1 - len(node))]
            node = node[key]
        else:
            if not isinstance(node.get(key), dict | list):
                node[key] = made
            node = node[key]
    last = path[-1]
    if isinstance(node, list):
        assert isinstance(last, int)
        node += [None] * (last + 1 - len(node))
        node[last] = value
    else:
        node[last] = value


def compare(
    source: Config, target: Config, levels: Sequence[str], options: Options | None = None,
    probes: Mapping[str, Probe] | None = None,
) -> list[Result]:  # fmt: skip
    """The named levels for two configs. Where they cannot be set up, each is said not to have run."""
    try:
        with Pair(source, target, options or Options(), probes) as pair:
            return [pair.level(name) for name in levels]
    except (environments.EnvironmentProblem, rows.NoRows, ProbeError) as error:
        return [Result(name, Outcome.NOT_RUN, (str(error),)) for name in levels]
