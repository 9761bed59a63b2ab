"""Many small tasks on few threads, results in order, a bounded number of them alive at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event, get_ident
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_AHEAD = 4
"""Tasks in flight for each thread: enough that none waits for the consumer, few enough to bound memory."""


def bundled(items: Iterable[Item], cost: Callable[[Item], int], enough: int) -> Generator[list[Item], None, None]:
    """Yield the items in order, as many together as cost `enough`; the last bundle may cost less."""
    bundle: list[Item] = []
    total = 0
    for item in items:
        bundle.append(item)
        total += cost(item)
        if total >= enough:
            yield bundle
            bundle, total = [], 0
    if bundle:
        yield bundle


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ending: Event | None = None
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item, in order, computed on `threads` threads.

    Items are taken only as results are consumed. The first exception is raised in its place, after the tasks under
    way have ended; no task runs once the iterator is closed. `ending` is set as soon as results are no longer wanted,
    for tasks that are long and can end early.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    workers: set[int] = set()
    pool = ThreadPoolExecutor(threads, "lamella", initializer=lambda: workers.add(get_ident()))
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= threads * TASKS_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        if ending is not None:
            ending.set()
        # Threads are not joined: an iterator that nobody closed may be collected at any moment in any thread, also in
        # one that is being started and holds the lock that joining takes, and in one of the pool's own.
        running = [task for task in waiting if not task.cancel()]
        pool.shutdown(wait=False)
        if get_ident() not in workers:
            wait(running)
