"""Many small tasks on few threads, results in order, a bounded number of them alive at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from threading import Event, get_ident
from typing import Generic, TypeVar

from lamella.core.limits import OBJECT_COST_NBYTES, STRIPE_NBYTES

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_AHEAD = 4
"""Tasks in flight for each thread: enough that none waits for the consumer, few enough to bound memory."""

MANY = 12
"""Items in one task that are too small for a thread: threads that take the interpreter from each other all the time
are slower than one."""


class _Here(Generic[Result]):
    """A task that runs in the thread that asks for its result."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self.result = work


def bundled_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    cost: Callable[[Item], int],
    threads: int,
    ending: Event | None = None,
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item as `ordered_map` does, items that cost little being put into one task.

    `cost` is in decoded bytes that take as long; what it takes to have an item at all comes on top of it.
    """
    if threads <= 1:
        yield from map(function, items)
        return

    def work(bundle: list[Item]) -> list[Result]:
        return [function(item) for item in bundle]

    bundles = bundled(items, lambda item: OBJECT_COST_NBYTES + cost(item), STRIPE_NBYTES)
    with closing(ordered_map(work, bundles, threads, ending, lambda bundle: len(bundle) >= MANY)) as done:
        for results in done:
            yield from results


def bundled(items: Iterable[Item], cost: Callable[[Item], int], enough: int) -> Generator[list[Item], None, None]:
    """Yield the items in order, as many together as cost `enough`, and one that does by itself alone."""
    bundle: list[Item] = []
    total = 0
    for item in items:
        price = cost(item)
        if bundle and price >= enough:
            yield bundle
            bundle, total = [], 0
        bundle.append(item)
        total += price
        if total >= enough:
            yield bundle
            bundle, total = [], 0
    if bundle:
        yield bundle


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    ending: Event | None = None,
    here: Callable[[Item], bool] = lambda _item: False,
    most: int | None = None,
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item, in order, computed on `threads` threads, or by the caller's where `here`.

    Items are taken only as results are consumed; at most TASKS_AHEAD for each thread are in flight, and at most `most`.
    The first exception is raised in its place, after the tasks under way have ended; no task runs once the iterator is
    closed. `ending` is set as soon as results are no longer wanted, for tasks that are long and can end early.
    """
    ahead = threads * TASKS_AHEAD if most is None else min(most, threads * TASKS_AHEAD)
    if threads <= 1 or ahead <= 1:
        yield from map(function, items)
        return
    workers: set[int] = set()
    pool = ThreadPoolExecutor(threads, "lamella", initializer=lambda: workers.add(get_ident()))
    waiting: deque[Future[Result] | _Here[Result]] = deque()
    try:
        for item in items:
            waiting.append(_Here(partial(function, item)) if here(item) else pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        if ending is not None:
            ending.set()
        # Threads are not joined: an iterator that nobody closed may be collected at any moment in any thread, also in
        # one that is being started and holds the lock that joining takes, and in one of the pool's own.
        running = [task for task in waiting if isinstance(task, Future) and not task.cancel()]
        pool.shutdown(wait=False)
        if get_ident() not in workers:
            wait(running)
