"""Rules on the run: batches, steps, how long it is, when it is evaluated."""

from __future__ import annotations

from collections.abc import Iterator

from ftmigrate.document.model import Unresolved
from ftmigrate.linter.rules import INFO, Checks, Finding
from ftmigrate.linter.subject import Subject
from ftmigrate.run.model import Share

CHECKS = Checks()


def batches(subject: Subject) -> int | None:
    """Micro batches of one epoch on each device, where the number of rows is known."""
    rows = subject.context.rows if subject.context is not None else None
    size, world = subject.number("batch.micro_size"), subject.number("parallel.world_size") or 1
    if rows is None or not size or size < 0 or subject.get("sequence.packing"):
        return None
    return int(rows // (size * world))


def total(subject: Subject) -> float | None:
    """Optimizer steps of the whole run, where the file (or the told number of rows) says how many there are."""
    steps = subject.number("duration.max_steps")
    if steps is not None and steps > 0:
        return steps
    epochs, each = subject.number("duration.epochs"), subject.number("duration.epoch_steps")
    accumulation = subject.number("batch.accumulation") or 1
    found = batches(subject)
    if found is not None and accumulation > 0:
        limit = found // accumulation
        each = min(each, limit) if each is not None and each > 0 else limit
    return epochs * each if epochs and each is not None and each > 0 else None


@CHECKS("FT101")
def no_batch(subject: Subject) -> Iterator[Finding]:
    for setting, what in (
        ("batch.micro_size", "rows per device and forward pass"),
        ("batch.accumulation", "forward passes per optimizer step"),
    ):
        number = subject.number(setting)
        if number is not None and number <= 0:
            message = f"{number} {what}: there is no batch to train on. It is 1 or more."
            yield subject.finding("FT101", subject.said(setting), message)


@CHECKS("FT102", "FT132")
def warmup(subject: Subject) -> Iterator[Finding]:
    steps, whole = subject.number("schedule.warmup_steps"), total(subject)
    at = subject.said("schedule.warmup_steps")
    share = subject.get("schedule.warmup_steps")
    if isinstance(share, Share) and share.part >= 1 and at is not None:
        message = (
            f"The warmup takes {share.part:g} times all steps of the run: the learning rate never reaches its full height. "
            "It is a share, such as 0.05."
        )
        yield subject.finding("FT102", at, message)
    if steps is None or at is None:
        return
    if steps < 0:
        yield subject.finding("FT102", at, f"A warmup of {steps} steps is none; write 0 or more.")
    elif whole and steps >= whole:
        message = (
            f"The warmup takes {steps:g} steps, the run has {whole:g}: the learning rate never reaches "
            f"{subject.get('optimizer.learning_rate')}. Warm up for 3 to 10 % of the run."
        )
        yield subject.finding("FT102", at, message)
    elif whole and steps > whole / 2:
        message = f"The warmup takes {steps:g} of the run's {whole:g} steps; 3 to 10 % are usual."
        yield subject.finding("FT132", at, message)


@CHECKS("FT103")
def accumulation(subject: Subject) -> Iterator[Finding]:
    steps, found = subject.number("batch.accumulation"), batches(subject)
    if found is not None and steps is not None and steps > found:
        message = (
            f"{steps} batches make an optimizer step, but an epoch has {found} on each device: no step is ever completed "
            "within an epoch. Accumulate less, or use smaller batches."
        )
        yield subject.finding("FT103", subject.said("batch.accumulation"), message)


@CHECKS("FT137")
def in_vain(subject: Subject) -> Iterator[Finding]:
    data = subject.setting("evaluation.data")
    if data.value is not None and data.leaves and subject.get("evaluation.every") in ("no", "none"):
        message = (
            "Rows are kept back for evaluation, and nothing says when to evaluate: they are neither trained nor looked at. "
            "Say how often, or keep none back."
        )
        yield subject.finding("FT137", subject.said("evaluation.data"), message, key=True)


@CHECKS("FT104")
def evaluation(subject: Subject) -> Iterator[Finding]:
    """Keys that say how to evaluate, where no rows are set apart for it."""
    data = subject.setting("evaluation.data")
    if data.value is not None:
        return
    off = INFO if data.leaves else None  # said expressly: what is left over is no mistake
    for setting in ("evaluation.every", "evaluation.batch_size"):
        for entry in subject.reader.table.by_setting.get(setting, ()):
            for key in entry.keys:
                path = tuple(key.split("."))
                leaf = subject.document.leaves.get(path)
                if (
                    leaf is None
                    or not subject.reader.present(key)
                    or not leaf.value
                    or leaf.value in ("no", "none")
                    or isinstance(leaf.value, Unresolved)
                ):
                    continue
                message = f"`{key}` has no effect: no rows are set apart for evaluation, so none takes place."
                yield subject.finding("FT104", path, message, key=True, severity=off)
                return


@CHECKS("FT105")
def nothing(subject: Subject) -> Iterator[Finding]:
    """A run without a single step."""
    epochs, steps = subject.number("duration.epochs"), subject.number("duration.max_steps")
    each = subject.number("duration.epoch_steps")
    if epochs is not None and epochs <= 0 and not (steps and steps > 0):
        yield subject.finding("FT105", subject.said("duration.epochs"), f"{epochs:g} epochs: nothing is trained.")
    for number, setting in ((steps, "duration.max_steps"), (each, "duration.epoch_steps")):
        at = subject.said(setting)
        if number == 0 and at is not None and not (setting == "duration.max_steps" and each == 0):
            message = "0 steps: nothing is trained. Leave the limit out (or null) for all steps."
            yield subject.finding("FT105", at, message)
            return


@CHECKS("FT128")
def length(subject: Subject) -> Iterator[Finding]:
    longest = subject.number("sequence.max_length")
    at = subject.said("sequence.max_length")
    if longest is not None and longest <= 0:
        yield subject.finding("FT128", at, f"A sequence of {longest} tokens holds nothing; 512 and more are usual.")
    elif longest is not None and longest < 32 and at is not None:
        message = f"Rows are cut to {longest} tokens, which is less than most prompts have; 512 and more are usual."
        yield subject.finding("FT128", at, message)


@CHECKS("FT133")
def packed_pairs(subject: Subject) -> Iterator[Finding]:
    if subject.get("method.beta") is None or subject.get("sequence.packing") is not True:
        return
    at = subject.said("sequence.packing")
    if at is not None:
        message = f"Packing does not work with {subject.get('method.name')}: a pair of replies is compared row by row. Switch it off."
        yield subject.finding("FT133", at, message)
