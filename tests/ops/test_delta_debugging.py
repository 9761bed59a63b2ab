"""Delta debugging: what is found is bad, and no longer bad without any of its items, in as many tests as promised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.ops.delta_debugging import smallest_bad


class Counted:
    """A test of sets that remembers what it was asked for."""

    def __init__(self, is_bad: Callable[[frozenset[int]], bool]) -> None:
        self._is_bad = is_bad
        self.asked: list[tuple[int, ...]] = []

    def __call__(self, items: Sequence[int]) -> bool:
        self.asked.append(tuple(items))
        return self._is_bad(frozenset(items))


def holding(*guilty: int) -> Counted:
    return Counted(lambda items: items.issuperset(guilty))


def test_one_guilty_of_144_takes_at_most_nine_tests():
    counts = []
    for guilty in range(144):
        bad = holding(guilty)
        assert smallest_bad(range(144), bad) == (guilty,)
        counts.append(len(bad.asked))
    assert max(counts) == 9


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 65, 100])
def test_one_guilty_takes_a_test_for_each_halving_and_one(size):
    for guilty in range(size):
        bad = holding(guilty)
        assert smallest_bad(range(size), bad) == (guilty,)
        assert len(bad.asked) <= (size - 1).bit_length() + 1


@given(st.integers(1, 40), st.data())
def test_items_that_are_bad_only_together_are_found(size, data):
    guilty = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=4))
    bad = holding(*guilty)
    assert smallest_bad(range(size), bad) == tuple(sorted(guilty))
    assert len(bad.asked) <= size**2 + 3 * size + size.bit_length() + 1


@given(st.integers(1, 12), st.data())
def test_what_is_found_is_minimal_whatever_the_test_answers(size, data):
    answers: dict[frozenset[int], bool] = {frozenset(range(size)): True}
    bad = Counted(lambda items: answers.setdefault(items, data.draw(st.booleans())))
    found = smallest_bad(range(size), bad)
    assert answers[frozenset(found)]
    for smaller in combinations(found, len(found) - 1):
        assert not smaller or answers[frozenset(smaller)] is False
    assert len(bad.asked) == len(set(bad.asked))
    assert () not in bad.asked
    assert all(list(asked) == sorted(asked) for asked in bad.asked)
    assert len(bad.asked) <= size**2 + 3 * size + size.bit_length() + 1


@given(st.integers(2, 30), st.data())
def test_of_two_that_are_bad_by_themselves_one_is_found(size, data):
    guilty = data.draw(st.sets(st.integers(0, size - 1), min_size=2, max_size=2))
    bad = Counted(lambda items: bool(items & guilty))
    (found,) = smallest_bad(range(size), bad)
    assert found in guilty


def test_where_all_together_are_good_nothing_is_found():
    for size in (0, 1, 2, 9):
        bad = Counted(lambda _: False)
        assert smallest_bad(range(size), bad) == ()
        assert len(bad.asked) <= size.bit_length() + 2


def test_an_interaction_of_two_among_144_takes_few_tests():
    for guilty in ((30, 100), (0, 143)):
        bad = holding(*guilty)
        assert smallest_bad(range(144), bad) == guilty
        assert len(bad.asked) <= 50
