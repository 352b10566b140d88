"""Remembering what a function made of arguments that cannot be hashed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def remember(size: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The last `size` results, found again by the arguments' texts (so 1, 1.0 and True are not the same).

    Only for functions whose arguments' `repr` says all there is to say, and whose results nobody changes.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        known: dict[str, R] = {}

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            text = repr((args, kwargs))
            result = known.pop(text) if text in known else function(*args, **kwargs)
            known[text] = result
            if len(known) > size:
                del known[next(iter(known))]
            return result

        return call

    return wrap
