"""A progress bar on a terminal; nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")
_WIDTH = 30


def bar(items: Iterable[T], total: int, stream: TextIO | None = None) -> Iterator[T]:
    """The items, with a bar on standard error while they come; drawn a hundred times at most, and wiped at the end."""
    out = stream or sys.stderr
    if not total or not out.isatty() or os.environ.get("TERM") == "dumb":
        yield from items
        return
    drawn = -1
    try:
        for done, item in enumerate(items):
            share = done * 100 // total
            if share != drawn:
                drawn = share
                full = share * _WIDTH // 100
                out.write(f"\r{'█' * full}{'░' * (_WIDTH - full)} {done}/{total} files")
                out.flush()
            yield item
    finally:
        out.write("\r\x1b[K")
        out.flush()
