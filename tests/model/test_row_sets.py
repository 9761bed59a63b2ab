"""Rows that two sets have in common are counted exactly while they fit, and estimated beyond."""

from __future__ import annotations

from collections import Counter

import numpy
from hypothesis import given
from hypothesis import strategies as st

from lamella.model.data_difference import TableDifference, column_changes, jaccard_distance, label_counts
from lamella.model.row_sets import RowSet, count_kept, digest_rows

ROWS = st.lists(st.integers(0, 12), max_size=60)


def row_set(rows, limit: int = 1000, batch: int = 7) -> RowSet:
    found = RowSet(limit)
    for start in range(0, len(rows), batch):
        found.add(digest_rows(b"%d" % row for row in rows[start : start + batch]))
    return found


@given(ROWS, ROWS)
def test_it_is_the_intersection_of_multisets(before, after):
    kept, old, new, shift = count_kept(row_set(before), row_set(after))
    assert (kept, old, new, shift) == (sum((Counter(before) & Counter(after)).values()), len(before), len(after), 0)


@given(ROWS)
def test_order_is_told(rows):
    assert row_set(rows, batch=3).order == row_set(rows, batch=11).order
    assert (row_set(rows).order == row_set(rows[::-1]).order) == (rows == rows[::-1])


def test_many_like_rows_are_not_cut_apart(monkeypatch):
    monkeypatch.setattr("lamella.model.row_sets._COUNTED_AT_ONCE", 4)
    before, after = [1] * 50 + [2] * 3 + list(range(10, 40)), [1] * 20 + [2] * 9 + list(range(20, 60))
    assert count_kept(row_set(before), row_set(after))[0] == 20 + 3 + 20


def test_beyond_the_limit_a_share_is_compared_which_is_the_same_on_both_sides():
    before, after = list(range(40_000)), list(range(10_000, 50_000))
    sets = row_set(before, 1000, 512), row_set(after, 30_000, 512)
    assert sets[0].shift > sets[1].shift > 0
    kept, old, new, shift = count_kept(*sets)
    assert max(old, new) <= 1000
    share = 0.5**shift
    assert abs(kept / share - 30_000) < 5 * numpy.sqrt(30_000 / share)
    assert sets[0].count == sets[1].count == 40_000
    kept, old, new, _ = count_kept(row_set(before, 1000), row_set(before[::-1], 1000))
    assert kept == old == new


def test_the_distance_is_that_of_jaccard():
    assert jaccard_distance(0, 0, 0) == 0
    assert jaccard_distance(4, 4, 2) == 1 - 2 / 6
    assert TableDifference(3, 3, 3).distance == 0
    assert TableDifference(3, 3, 3, compared=("a",)).distance == 1
    assert (TableDifference(5, 7, 4).added, TableDifference(5, 7, 4).removed) == (3, 1)


def test_columns_and_labels_are_compared():
    found = column_changes({"a": "integer", "b": "text", "c": ""}, {"a": "number", "c": "text", "d": "text"})
    assert [(one.name, one.what, one.before, one.after) for one in found] == [
        ("b", "removed", "text", None), ("d", "added", None, "text"), ("a", "retyped", "integer", "number"),
    ]  # fmt: skip
    counted = label_counts({"cat": 5, "dog": 3, "owl": 1}, {"cat": 5, "dog": 9, "fox": 1})
    assert [(one.value, one.before, one.after) for one in counted] == [("dog", 3, 9), ("fox", 0, 1), ("owl", 1, 0)]
