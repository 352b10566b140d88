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
from functools import partial
from itertools import islice
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4  # parcels handed out per process beyond what is done: enough to keep all busy, few enough to stop soon
_TOGETHER = 16  # items in a parcel: handing one over costs a third of what linting a file takes
_ROUNDS = 8  # parcels that each process gets at least, so that all end at about the same time
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
    size = max(1, min(_TOGETHER, len(items) // (jobs * _ROUNDS)))
    waiting = iter([items[at : at + size] for at in range(0, len(items), size)])
    all_of = partial(_all, work)
    while True:
        left: list[T] = []
        with ProcessPoolExecutor(jobs, initializer=_begin) as pool:
            open_: deque[tuple[Sequence[T], Future[list[R]]]] = deque()
            try:
                for some in islice(waiting, jobs * _AHEAD):
                    open_.append((some, _submit(pool, all_of, some)))
                while open_:
                    results = open_[0][1].result()
                    open_.popleft()
                    for some in islice(waiting, 1):
                        open_.append((some, _submit(pool, all_of, some)))
                    yield from results
                return
            except BrokenProcessPool:
                left = [item for some, _ in open_ for item in some]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        for item in left:
            yield _alone(work, item, lost)


def _all(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [work(item) for item in items]


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
