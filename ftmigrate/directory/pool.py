"""The same work on many files: in as many processes as are wanted, results in order, memory flat."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 8  # items handed out per process beyond what is done: enough to keep all busy, few enough to stop soon
_FEW = 6  # with fewer items a process, starting it costs more than it saves


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(work: Callable[[T], R], items: Sequence[T], jobs: int, lost: Callable[[T], R]) -> Generator[R, None, None]:
    """`work` on each item, results in order. `lost` answers for an item whose process died over it."""
    jobs = min(jobs, max(1, len(items) // _FEW))
    if jobs == 1:
        yield from map(work, items)
        return
    waiting = iter(items)
    while True:
        left: list[T] = []
        with ProcessPoolExecutor(jobs, initializer=_begin) as pool:
            open_: deque[tuple[T, Future[R]]] = deque()
            try:
                for item in islice(waiting, jobs * _AHEAD):
                    open_.append((item, _submit(pool, work, item)))
                while open_:
                    item, future = open_[0]
                    result = future.result()
                    open_.popleft()
                    for new in islice(waiting, 1):
                        open_.append((new, _submit(pool, work, new)))
                    yield result
                return
            except BrokenProcessPool:
                left = [item for item, _ in open_]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        for item in left:
            yield _alone(work, item, lost)


def _submit(pool: ProcessPoolExecutor, work: Callable[[T], R], item: T) -> Future[R]:
    """A pool may break while it is given work: the item's future then says so when its turn comes."""
    try:
        return pool.submit(work, item)
    except BrokenProcessPool as error:
        failed: Future[R] = Future()
        failed.set_exception(error)
        return failed


def _alone(work: Callable[[T], R], item: T, lost: Callable[[T], R]) -> R:
    """In a process of its own, so that the one that kills it is known."""
    with ProcessPoolExecutor(1, initializer=_begin) as pool:
        try:
            return pool.submit(work, item).result()
        except BrokenProcessPool:
            return lost(item)


def _begin() -> None:
    """A worker leaves Ctrl-C to its parent, which ends it in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: workers ended, no half-written file."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
