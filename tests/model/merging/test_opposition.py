"""Where the default stops: sides that go opposite ways as a whole and in most elements, and nobody said to go on."""

import numpy as np
import pytest

from lamella.model.merging import plan as words
from lamella.model.merging.rules import Choice, Rules
from lamella.testing.merging import merge, model


def sides(clashing, weight=1.0):
    """Return a base and two sides that moved 1,000 elements, so many of them apart, and these `weight` times as far."""
    ours = np.where(np.arange(1000) < clashing, weight, 1.0)
    theirs = np.where(np.arange(1000) < clashing, -ours, ours)
    base, one, other = (
        model(t=("f64", (1000,), array.astype("<f8").tobytes())) for array in (np.zeros(1000), ours, theirs)
    )
    return base, [one, other]


def conflict(rules, clashing, weight=1.0):
    base, both = sides(clashing, weight)
    return merge(base, both, rules).conflict("t")


@pytest.mark.parametrize(
    ("clashing", "weight", "opposed"),
    [(760, 1, True), (740, 1, False), (1000, 1, True), (630, 10, True), (620, 10, False), (1, 1000, False)],
)
def test_the_whole_and_most_signs_have_to_be_opposed(clashing, weight, opposed):
    assert conflict(Rules(), clashing, weight) == (words.OPPOSED if opposed else None)


@pytest.mark.parametrize(("clashing", "weight", "opposed"), [(610, 1, True), (590, 1, False), (560, 10, True)])
def test_the_bound_moves_both(clashing, weight, opposed):
    assert conflict(Rules(opposition=0.2), clashing, weight) == (words.OPPOSED if opposed else None)
    assert conflict(Rules(opposition=1.0), clashing, weight) is None


def test_a_strategy_that_somebody_chose_goes_on():
    assert conflict(Rules(Choice("ties")), 1000) is None
    assert conflict(Rules(choices=(("t", Choice("three-way")),)), 1000) is None
    assert conflict(Rules(resolutions={"t": Choice("three-way")}), 1000) is None


def test_changes_whose_squares_no_double_holds_have_no_score():
    base, both = sides(1000)
    huge = [side.with_changes(t=(np.frombuffer(side.tensors["t"][1]) * 1e200).tobytes()) for side in both]
    found = merge(base, huge, Rules())
    assert found.outcomes["t"].score is None
    assert found.conflict("t") is None


def test_two_of_many_sides_that_are_opposed_are_enough():
    base, (one, other) = sides(1000)
    further = one.with_changes(t=np.full(1000, 2.0).tobytes())
    assert merge(base, [one, further, other], Rules()).conflict("t") == words.OPPOSED
