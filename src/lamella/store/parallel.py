"""Many small tasks on few threads, results in order, a bounded number of them alive at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
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
    with ThreadPoolExecutor(threads, thread_name_prefix="lamella") as pool:
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
            for task in waiting:
                task.cancel()
