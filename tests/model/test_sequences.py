"""Common subsequences: as long as they can be, in both orders, and bounded in what they cost."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lamella.model.sequences import common, increasing

_items = st.lists(st.integers(0, 3), max_size=12)


def longest(before, after) -> int:
    """Return the length of a longest common subsequence, by its definition."""
    table = [[0] * (len(after) + 1) for _ in range(len(before) + 1)]
    for a in range(len(before)):
        for b in range(len(after)):
            same = before[a] == after[b]
            table[a + 1][b + 1] = table[a][b] + 1 if same else max(table[a][b + 1], table[a + 1][b])
    return table[-1][-1]


def agree(before, after, pairs) -> bool:
    rising = all(a < next_a and b < next_b for (a, b), (next_a, next_b) in pairwise(pairs))
    return rising and all(before[a] == after[b] for a, b in pairs)


@given(_items, _items)
def test_the_longest_is_found(before, after):
    pairs = common(before, after, 1_000)
    assert agree(before, after, pairs)
    assert len(pairs) == longest(before, after)


@given(_items, _items, st.integers(0, 40))
def test_what_is_found_within_few_steps_is_common(before, after, steps):
    assert agree(before, after, common(before, after, steps))


def test_items_that_occur_once_anchor_what_is_too_much_to_compare():
    before = [1, 0, 0, 2, 5, 5, 3]
    after = [4, 0, 1, 5, 2, 5, 6]
    assert common(before, after, 0) == [(0, 2), (3, 4), (4, 5)]


def test_a_hundred_thousand_items_take_seconds():
    before = [number % 7 for number in range(100_000)]
    after = [number * number % 11 for number in range(100_000)]
    begun = time.perf_counter()
    assert common(before, after, 1_000_000)
    assert common(before, list(before), 0) == [(place, place) for place in range(100_000)]
    assert time.perf_counter() - begun < 30


@given(st.lists(st.integers(0, 9), max_size=9))
def test_the_longest_increasing_is_found(numbers):
    places = increasing(numbers)
    assert all(numbers[a] < numbers[b] for a, b in pairwise(places))
    assert sorted(places) == places
    best = [0] * len(numbers)
    for at, number in enumerate(numbers):
        best[at] = 1 + max((best[below] for below in range(at) if numbers[below] < number), default=0)
    assert len(places) == max(best, default=0)
