"""Rules on the run: learning rate, schedule, optimizer, precision, loss."""

from __future__ import annotations

from collections.abc import Iterator

from ftmigrate.linter.rules import ERROR, Checks, Finding
from ftmigrate.linter.subject import Subject
from ftmigrate.run.methods import PREFERENCE

CHECKS = Checks()
_ADAM = ("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adam")
_LOWEST = 1e-8


@CHECKS("FT111")
def rate(subject: Subject) -> Iterator[Finding]:
    number = subject.number("optimizer.learning_rate")
    at = subject.said("optimizer.learning_rate")
    if number is None or at is None:
        return
    if number <= 0:
        what = "Weights do not move" if number == 0 else "Weights move away from what they should learn"
        yield subject.finding("FT111", at, f"The learning rate is {number:g}. {what}.", severity=ERROR)
        return
    if subject.get("optimizer.name") not in _ADAM:
        return
    adapted = subject.get("adapter.method") not in ("none", None)
    pairs = subject.get("method.name") in PREFERENCE
    highest, usual = (5e-4, "5e-7 to 5e-5") if pairs else (2e-2, "1e-5 to 5e-4") if adapted else (2e-3, "1e-6 to 1e-4")
    what = "preference training" if pairs else "adapters" if adapted else "a full fine-tune"
    if number > highest:
        message = f"A learning rate of {number:g} is far above what {what} can take; usual with Adam: {usual}."
        yield subject.finding("FT111", at, message)
    elif number < _LOWEST:
        message = f"A learning rate of {number:g} moves nothing in the precision of the weights; usual: {usual}."
        yield subject.finding("FT111", at, message)


@CHECKS("FT126")
def floor(subject: Subject) -> Iterator[Finding]:
    number = subject.number("schedule.min_ratio")
    if number is not None and not 0 <= number <= 1:
        message = f"The learning rate would end at {number:g} times its peak; the share lies between 0 and 1."
        yield subject.finding("FT126", subject.said("schedule.min_ratio"), message)


@CHECKS("FT117")
def decay(subject: Subject) -> Iterator[Finding]:
    number = subject.number("optimizer.weight_decay")
    at = subject.said("optimizer.weight_decay")
    if number is None or at is None:
        return
    if number < 0:
        yield subject.finding(
            "FT117", at, f"A weight decay of {number:g} lets weights grow without end.", severity=ERROR
        )
    elif number > 1:
        message = (
            f"A weight decay of {number:g} is far above the usual 0 to 0.1: weights shrink faster than they learn."
        )
        yield subject.finding("FT117", at, message)


@CHECKS("FT118")
def adam(subject: Subject) -> Iterator[Finding]:
    for setting, name in (("optimizer.beta1", "first"), ("optimizer.beta2", "second")):
        number = subject.number(setting)
        if number is not None and not 0 <= number < 1:
            message = f"Adam's decay of the {name} moment is {number:g}; it lies between 0 and 1, 1 excluded."
            yield subject.finding("FT118", subject.said(setting), message)
    number = subject.number("optimizer.epsilon")
    at = subject.said("optimizer.epsilon")
    if number is not None and at is not None and (number < 0 or number > 0.01):
        message = f"Adam's epsilon is {number:g}; it is a tiny number such as 1e-8 that keeps a division from failing."
        yield subject.finding("FT118", at, message)


@CHECKS("FT119", "FT135")
def preference(subject: Subject) -> Iterator[Finding]:
    beta = subject.number("method.beta")
    if beta is not None and beta <= 0 and subject.said("method.beta") is not None:
        message = f"beta is {beta:g}: nothing holds the model to the reference. Usual: 0.01 to 0.5."
        yield subject.finding("FT119", subject.said("method.beta"), message)
    smoothing = subject.number("method.label_smoothing")
    if smoothing is not None and not 0 <= smoothing < 0.5:
        message = (
            f"A label smoothing of {smoothing:g} takes that share of pairs as swapped; from 0.5 on the rejected reply is learnt. "
            "It lies between 0 and 0.5."
        )
        yield subject.finding("FT135", subject.said("method.label_smoothing"), message)


@CHECKS("FT120")
def clipping(subject: Subject) -> Iterator[Finding]:
    number = subject.number("gradient.max_norm")
    at = subject.said("gradient.max_norm")
    if number is None or at is None:
        return
    if number <= 0:
        message = f"Gradients are scaled to a norm of {number:g}: nothing is learnt. Write null to switch clipping off."
        yield subject.finding("FT120", at, message, severity=ERROR)
    elif number < 1e-3:
        message = f"Gradients are scaled down to a norm of {number:g}; 0.3 to 1 is usual."
        yield subject.finding("FT120", at, message)


@CHECKS("FT121")
def half(subject: Subject) -> Iterator[Finding]:
    if subject.get("precision.weights") == "fp16" and subject.get("precision.autocast") == "none":
        message = (
            "The weights themselves are fp16: small updates vanish and large activations become inf. "
            "Use bf16, or fp32 weights with mixed precision."
        )
        yield subject.finding("FT121", subject.said("precision.weights"), message)
