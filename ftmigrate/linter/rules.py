"""Rules and the checks that find them: the shared ones, and those a framework brings along.

A `Rule` is a row: stable code, name, severity, whether it has a fix. A check is a function over a `Subject` that yields
findings of the codes it is registered for. What a rule means stands on its page (`pages/`, executed by the tests).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ftmigrate.document.model import Severity

if TYPE_CHECKING:
    from ftmigrate.document.model import Span
    from ftmigrate.linter.diagnostic import Fix
    from ftmigrate.linter.subject import Subject

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


class Rule(NamedTuple):
    """One kind of finding. fix: "" where there is none, else "safe", "unsafe" or "sometimes" (either, or none).

    over: rules that say the same less precisely, and are silent where this one tells.
    """

    code: str
    name: str
    severity: Severity
    fix: str = ""
    over: tuple[str, ...] = ()


class Finding(NamedTuple):
    """A rule broken at a place. severity: where it is another than the rule's."""

    code: str
    span: Span
    message: str
    fix: Fix | None = None
    severity: Severity | None = None


Check: TypeAlias = "Callable[[Subject], Iterable[Finding]]"


class Checks:
    """Checks in the order of their registration, each with the codes it may yield."""

    def __init__(self) -> None:
        self.found: list[tuple[tuple[str, ...], Check]] = []

    def __call__(self, *codes: str) -> Callable[[Check], Check]:
        def register(check: Check) -> Check:
            self.found.append((codes, check))
            return check

        return register

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], Check]]:
        return iter(self.found)


class RuleSet(NamedTuple):
    """What a framework brings along: its own rules, the checks that find them, the file of their pages.

    moved: the path that a component has now which an older release had elsewhere; empty where it has not moved.
    explained: top-level keys that its own rules tell of, so that nothing need be said of their being unknown.
    """

    rules: tuple[Rule, ...]
    checks: Checks
    pages: str = ""
    moved: Callable[[str], str] = lambda _: ""
    explained: frozenset[str] = frozenset()
    more_pages: tuple[str, ...] = ()


SHARED: tuple[Rule, ...] = (
    # the text
    Rule("FT001", "syntax", ERROR),
    Rule("FT002", "duplicate-key", ERROR, "sometimes"),
    Rule("FT003", "unreadable-text", ERROR),
    Rule("FT004", "unfilled-template", ERROR),
    Rule("FT005", "merge-conflict", ERROR),
    Rule("FT006", "no-config", ERROR),
    Rule("FT007", "odd-structure", ERROR),
    Rule("FT008", "broken-interpolation", ERROR),
    Rule("FT009", "unused-suppression", INFO, "safe"),
    # the schema
    Rule("FT010", "unknown-key", WARNING, "unsafe", over=("FT136",)),
    Rule("FT011", "misplaced-key", WARNING, over=("FT136",)),
    Rule("FT012", "foreign-key", WARNING, "sometimes"),
    Rule("FT013", "newer-key", WARNING, over=("FT136",)),
    Rule("FT014", "removed-key", WARNING, "sometimes", over=("FT136",)),
    Rule("FT015", "unread-key", WARNING),
    Rule("FT016", "deprecated-key", WARNING, "sometimes"),
    Rule("FT017", "wrong-type", ERROR, "sometimes"),
    Rule("FT018", "bad-value", ERROR, "unsafe"),
    Rule("FT019", "out-of-range", ERROR),
    Rule("FT020", "missing-key", ERROR, "sometimes"),
    Rule("FT021", "unknown-component", ERROR, "sometimes"),
    Rule("FT022", "unexpected-argument", ERROR, "unsafe"),
    Rule("FT023", "empty-leftovers", INFO),
    # what YAML makes of a text
    Rule("FT030", "number-as-text", WARNING, "safe"),
    Rule("FT031", "none-as-text", WARNING, "safe", over=("FT017",)),
    Rule("FT032", "word-as-boolean", WARNING, "unsafe", over=("FT017",)),
    Rule("FT033", "octal-number", WARNING, "unsafe"),
    Rule("FT034", "sexagesimal-number", WARNING, "unsafe"),
    Rule("FT035", "date-as-text", WARNING),
    # what should not stand in a file
    Rule("FT040", "secret", ERROR),
    Rule("FT041", "home-path", INFO),
    Rule("FT042", "remote-code", INFO),
    Rule("FT043", "unexpanded-path", WARNING),
    # the run
    Rule("FT101", "no-batch", ERROR),
    Rule("FT102", "warmup-outlasts-run", WARNING),
    Rule("FT103", "accumulation-outlasts-epoch", ERROR),
    Rule("FT104", "evaluation-without-data", WARNING),
    Rule("FT105", "no-training", ERROR),
    Rule("FT106", "no-effect", WARNING),
    Rule("FT107", "adapter-without-effect", ERROR),
    Rule("FT108", "adapter-rank", ERROR),
    Rule("FT109", "unknown-target", ERROR, "unsafe"),
    Rule("FT110", "packing-leaks", WARNING),
    Rule("FT111", "learning-rate", WARNING),
    Rule("FT112", "beyond-positions", WARNING),
    Rule("FT114", "prompt-trained", INFO),
    Rule("FT115", "contradiction", WARNING),
    Rule("FT116", "dropout-range", ERROR),
    Rule("FT117", "weight-decay", WARNING),
    Rule("FT118", "adam-range", ERROR),
    Rule("FT119", "preference-beta", ERROR),
    Rule("FT120", "gradient-norm", WARNING),
    Rule("FT121", "half-precision", WARNING),
    Rule("FT122", "overwrites-weights", ERROR),
    Rule("FT124", "row-counted-twice", WARNING),
    Rule("FT125", "adapter-scale", WARNING),
    Rule("FT126", "learning-rate-floor", ERROR),
    Rule("FT128", "short-sequence", WARNING),
    Rule("FT129", "quantised-full", ERROR),
    Rule("FT132", "warmup-most-of-run", WARNING),
    Rule("FT133", "packed-pairs", WARNING),
    Rule("FT135", "label-smoothing", ERROR),
    Rule("FT136", "unread-data-option", WARNING),
    Rule("FT137", "held-out-in-vain", WARNING),
)


@cache
def shared() -> RuleSet:
    """The rules of no framework in particular."""
    from ftmigrate.linter.checks import CHECKS

    return RuleSet(SHARED, CHECKS)


@cache
def of(framework: str) -> RuleSet:
    """What a framework brings along; empty for one without rules of its own."""
    from ftmigrate.frameworks import registry

    found = registry.get(framework).rules
    return RuleSet((), Checks()) if found is None else found()


@cache
def by_code(framework: str) -> dict[str, Rule]:
    """The rules that hold for a framework's configs."""
    return {rule.code: rule for rule in (*SHARED, *of(framework).rules)}


def every() -> list[tuple[Rule, str]]:
    """All rules with the framework they belong to ("" for the shared ones)."""
    from ftmigrate.frameworks import registry

    found = [(rule, "") for rule in SHARED]
    return found + [(rule, name) for name in registry.names() for rule in of(name).rules]


def selected(code: str, select: tuple[str, ...], ignore: tuple[str, ...]) -> bool:
    """Whether a code is wanted. Both are codes or their prefixes; the longest that fits decides, ignoring before."""
    wanted = max((len(one) for one in select if code.startswith(one)), default=-1 if select else 0)
    ignored = max((len(one) for one in ignore if code.startswith(one)), default=-1)
    return wanted >= 0 and ignored < wanted
