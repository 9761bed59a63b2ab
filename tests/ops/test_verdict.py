"""When a model counts as bad, and how many evaluations it takes to be sure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import UsageError
from lamella.ops.evaluate import Evaluation
from lamella.ops.verdict import BAD, GOOD, SKIPPED, Criterion, Judge


def answering(values: Iterable[float] = (), statuses: Iterable[int] = ()):
    """Return an evaluation that answers with values, or statuses, one after the other."""
    answers: Iterator[Evaluation] = iter(
        [Evaluation(0, value, 1.0, ()) for value in values] + [Evaluation(status, None, 1.0, ()) for status in statuses]
    )
    return lambda: next(answers)


def judged(value: float, good: float = 0.93, **limits: float) -> str:
    return Judge(Criterion("m", **limits), (good,)).judge(answering([value])).what


def test_worse_by_more_than_the_drop_is_bad():
    assert judged(0.95, drop=0.01) == judged(0.925, drop=0.01) == GOOD
    assert judged(0.919, drop=0.01) == BAD
    assert 0.14 - 0.02 > 0.12
    assert judged(0.12, 0.14, drop=0.02) == GOOD, "0.14 - 0.02 is 0.12, whatever floats say"
    assert judged(0.92, drop=0.01) == GOOD
    assert judged(0.929, drop=0) == BAD
    assert judged(0.93, drop=0) == GOOD


def test_where_less_is_better_more_is_bad():
    assert judged(0.5, 2.0, rise=0.1) == judged(2.1, 2.0, rise=0.1) == GOOD
    assert judged(2.11, 2.0, rise=0.1) == BAD


@given(st.floats(-1e6, 1e6), st.floats(0, 1e3), st.floats(-1e6, 1e6))
def test_drop_and_rise_mirror_each_other(good, limit, value):
    assert judged(value, good, drop=limit) == judged(-value, -good, rise=limit)


def test_without_a_metric_the_status_decides():
    judge = Judge(Criterion())
    assert [judge.judge(answering(statuses=[status])).what for status in (0, 1, 124, 125, 2)] == [
        GOOD, BAD, BAD, SKIPPED, BAD
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("repeat", "statuses", "what", "evaluations"),
    [(3, [1, 1], BAD, 2), (3, [0, 0], GOOD, 2), (3, [0, 1, 1], BAD, 3), (5, [0, 1, 0, 0], GOOD, 4),
     (4, [0, 0], GOOD, 2), (4, [1, 0, 1, 1], BAD, 4), (2, [1, 0], GOOD, 2), (3, [0, 125], SKIPPED, 2)],
)  # fmt: skip
def test_the_majority_of_statuses_decides_as_early_as_it_can(repeat, statuses, what, evaluations):
    verdict = Judge(Criterion(repeat=repeat)).judge(answering(statuses=statuses))
    assert (verdict.what, len(verdict.statuses)) == (what, evaluations)
    assert verdict.seconds == evaluations


def test_the_good_model_is_measured_as_often_as_may_be():
    verdict = Judge(Criterion("m", drop=0.1, repeat=4)).measure(answering([1, 2, 3, 4]))
    assert verdict.values == (1, 2, 3, 4)
    assert (verdict.what, verdict.value) == (GOOD, 2.5)


def test_a_value_far_from_the_threshold_is_sure_at_once():
    judge = Judge(Criterion("m", drop=0.1, repeat=10), (0.90, 0.91, 0.89, 0.90))
    assert judge.judge(answering([0.5])).values == (0.5,)
    assert judge.judge(answering([0.95])).values == (0.95,)
    near = judge.judge(answering([0.79] * 10))
    assert len(near.values) > 1
    assert near.what == BAD


def test_what_is_never_sure_is_decided_by_the_mean_of_all():
    judge = Judge(Criterion("m", drop=0.1, repeat=4), (0.8, 1.0, 0.8, 1.0))
    verdict = judge.judge(answering([0.7, 0.9, 0.7, 0.89]))
    assert len(verdict.values) == 4
    assert (verdict.what, verdict.value) == (BAD, pytest.approx(0.7975))


def test_a_metric_without_noise_takes_one_evaluation():
    judge = Judge(Criterion("m", drop=0.1, repeat=10), (0.9,) * 10)
    assert len(judge.judge(answering([0.7])).values) == len(judge.judge(answering([0.9])).values) == 1


def test_noise_is_seldom_taken_for_a_difference():
    rng = random.Random(7)
    wrong = evaluations = 0
    for number in range(400):
        good = tuple(rng.gauss(0.9, 0.01) for _ in range(8))
        truth = GOOD if number % 2 else BAD
        mean = 0.9 if truth == GOOD else 0.86
        verdict = Judge(Criterion("m", drop=0.02, repeat=8), good).judge(
            answering([rng.gauss(mean, 0.01) for _ in range(8)])
        )
        wrong += verdict.what != truth
        evaluations += len(verdict.values)
    assert wrong <= 8
    assert evaluations < 400 * 7


@pytest.mark.parametrize(
    "given_options",
    [{"metric": "m"}, {"metric": "m", "drop": 0.1, "rise": 0.1}, {"drop": 0.1}, {"rise": 0.0},
     {"metric": "m", "drop": -0.1}, {"metric": "m", "rise": math.nan}, {"metric": "m", "drop": math.inf},
     {"repeat": 0}, {"repeat": 1001}],
)  # fmt: skip
def test_a_criterion_that_says_nothing_is_refused(given_options):
    with pytest.raises(UsageError):
        Criterion(**given_options)
