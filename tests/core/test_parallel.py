"""Tasks run on several threads and their results come in order, few at a time, whatever goes wrong."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.limits import STRIPE_NBYTES
from lamella.core.parallel import MANY, TASKS_AHEAD, bundled, bundled_map, ordered_map
from tests.store.workers import no_worker_stays


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_order(threads):
    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    assert list(ordered_map(work, range(50), threads)) == [number * number for number in range(50)]
    assert no_worker_stays()


@pytest.mark.parametrize("most", [0, 1, 2, 100])
def test_no_more_are_in_flight_than_was_said(most):
    taken: list[int] = []
    results = ordered_map(str, (taken.append(number) or number for number in range(100)), 4, most=most)
    for consumed in range(1, 50):
        next(results)
        assert len(taken) <= consumed - 1 + max(1, min(most, 4 * TASKS_AHEAD))
    assert list(results) == [str(number) for number in range(49, 100)]
    assert no_worker_stays()


@pytest.mark.parametrize("threads", [1, 3])
def test_nothing_comes_of_nothing(threads):
    assert list(ordered_map(str, [], threads)) == []


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_items_are_taken_only_as_results_are_consumed(threads):
    taken = itertools.count()
    results = ordered_map(str, ((next(taken), number)[1] for number in itertools.count()), threads)
    for _ in range(10):
        next(results)
    results.close()
    assert next(taken) <= 10 + threads * TASKS_AHEAD


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("position", [0, 7, 19])
def test_the_exception_of_a_task_comes_in_its_place_and_ends_all(threads, position):
    def work(number: int) -> int:
        if number == position:
            raise RuntimeError("here")
        return number

    done = []
    with pytest.raises(RuntimeError, match="here"):
        for result in ordered_map(work, range(20), threads):
            done.append(result)
    assert done == list(range(position))
    assert no_worker_stays()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_exception_of_the_items_ends_all(threads):
    def items():
        yield from range(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(str, items(), threads))
    assert no_worker_stays()


@pytest.mark.parametrize("threads", [2, 4])
def test_no_task_runs_once_the_iterator_is_closed(threads):
    running = threading.Semaphore(0)
    finished = []

    def work(number: int) -> int:
        running.release()
        time.sleep(0.01)
        finished.append(number)
        return number

    with contextlib.closing(ordered_map(work, itertools.count(), threads)) as results:
        assert next(results) == 0
    count = len(finished)
    time.sleep(0.03)
    assert len(finished) == count
    assert no_worker_stays()


def test_a_long_task_is_told_that_its_result_is_not_wanted_any_more():
    ending = threading.Event()
    ended: list[bool] = []

    def work(number: int) -> int:
        if number:
            ended.append(ending.wait(30))
        return number

    with contextlib.closing(ordered_map(work, itertools.count(), 2, ending)) as results:
        assert next(results) == 0
        assert not ending.is_set()
    assert ended
    assert all(ended)


def test_maps_may_feed_each_other_and_fail_without_hanging():
    def fail_late(number: int) -> int:
        if number == 30:
            raise ValueError("late")
        return number

    for threads in (1, 2, 4):
        inner = ordered_map(fail_late, range(100), threads)
        outer = ordered_map(str, inner, threads)
        with contextlib.closing(inner), contextlib.closing(outer), pytest.raises(ValueError, match="late"):
            list(outer)
        assert no_worker_stays()


@pytest.mark.parametrize("threads", [2, 4])
def test_an_iterator_that_nobody_closed_is_collected_at_any_moment(threads):
    """Also in a thread that is being started, which holds the lock that joining another takes."""
    results = ordered_map(lambda number: number, range(100), threads)
    next(results)
    with getattr(threading, "_shutdown_locks_lock", contextlib.nullcontext()):
        del results
    assert no_worker_stays()


@pytest.mark.parametrize("threads", [2, 4])
def test_an_iterator_may_be_closed_by_one_of_its_own_threads(threads):
    given = threading.Event()
    results = None

    def work(number: int) -> int:
        if number == 1:
            given.wait()
            results.close()
        return number

    results = ordered_map(work, range(100), threads)
    next(results)
    given.set()
    assert no_worker_stays()
    assert list(results) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_small_is_done_together_by_the_thread_that_asks(threads):
    def work(cost: int) -> tuple[int, int]:
        return cost, threading.get_ident()

    costs = [STRIPE_NBYTES, *[1] * 100, STRIPE_NBYTES, 2 * STRIPE_NBYTES]
    done = list(bundled_map(work, costs, lambda cost: cost, threads))
    assert [cost for cost, _ in done] == costs
    assert {thread for _, thread in done[1 : 1 + MANY]} == {threading.get_ident()}
    assert {thread == threading.get_ident() for cost, thread in done if cost > 1} == {threads == 1}
    assert no_worker_stays()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_exception_of_a_small_task_comes_in_its_place(threads):
    def work(number: int) -> int:
        if number == 40:
            raise RuntimeError("here")
        return number

    done = []
    with pytest.raises(RuntimeError, match="here"):
        for result in bundled_map(work, range(100), lambda _: 0, threads):
            done.append(result)
    assert done == list(range(len(done)))
    assert len(done) <= 40
    assert no_worker_stays()


@given(st.lists(st.integers(0, 30)), st.integers(1, 20))
def test_bundles_hold_everything_in_order_and_none_is_larger_than_it_has_to_be(costs, enough):
    bundles = list(bundled(costs, lambda cost: cost, enough))
    assert [cost for bundle in bundles for cost in bundle] == costs
    for bundle in bundles:
        assert sum(bundle[:-1]) < enough
        assert len(bundle) == 1 or max(bundle) < enough
