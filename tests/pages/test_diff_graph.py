"""Two graphs stand beside each other line by line, each node once, or twice where it moved."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lamella.core.graphs import OPERATORS, Graph, Node
from lamella.model.graph_difference import ADDED, CHANGED, MOVED, REMOVED, RENAMED, GraphDifference, NodeChange
from lamella.pages.diff_graph import MARKS, graph_rows
from tests.pages import believable


def rows_of(comparison, graphs=(None, None)):
    found = graph_rows(comparison, graphs)
    assert found is not None
    return [row for group in found["groups"] for row in group["rows"]]


def marks(row) -> set[str]:
    return {mark for bit, mark in enumerate(MARKS) if row[0] >> bit & 1}


def names(row) -> tuple[str | None, str | None]:
    left = row[1][1] if row[1] else None
    return left, left if row[2] == 1 else row[2][1] if row[2] else None


def simple(before: list[str], after: list[str], *changes: NodeChange):
    """Two graphs with nodes of these names in these orders."""
    difference = GraphDifference(len(before), len(after), 0, (), changes)
    graphs = tuple(
        Graph(OPERATORS, "test", (), (), tuple(Node(name, "Op") for name in side)) for side in (before, after)
    )
    return rows_of(replace(believable.comparison(), graph=difference), graphs)


def test_what_is_the_same_shares_a_line():
    assert [names(row) for row in simple(["a", "b"], ["a", "b"])] == [("a", "a"), ("b", "b")]


def test_what_was_added_or_removed_stands_alone():
    rows = simple(
        ["a", "x", "b"], ["a", "y", "b"], NodeChange("x", None, "Op", (REMOVED,)), NodeChange(None, "y", "Op", (ADDED,))
    )
    assert {names(row): marks(row) for row in rows} == {
        ("a", "a"): set(),
        ("x", None): {REMOVED},
        (None, "y"): {ADDED},
        ("b", "b"): set(),
    }


def test_a_name_that_was_taken_over_pairs_nothing():
    """b became a, and another a is gone."""
    rows = simple(["a", "b"], ["a"], NodeChange("a", None, "Op", (REMOVED,)), NodeChange("b", "a", "Op", (RENAMED,)))
    assert {names(row): marks(row) for row in rows} == {("a", None): {REMOVED}, ("b", "a"): {RENAMED}}


def test_what_moved_stands_where_it_was_and_where_it_is():
    rows = simple(["a", "b", "c"], ["b", "c", "a"], NodeChange("a", "a", "Op", (MOVED,)))
    assert [(names(row), marks(row)) for row in rows] == [
        (("a", None), {MOVED}),
        (("b", "b"), set()),
        (("c", "c"), set()),
        ((None, "a"), {MOVED}),
    ]


@given(st.permutations(list("abcdefgh")), st.permutations(list("abcdefgh")))
def test_every_node_stands_on_its_side_in_its_order(before, after):
    rows = simple(before, after)
    assert [left for left, _ in map(names, rows) if left] == before
    assert [right for _, right in map(names, rows) if right] == after


def test_a_transformer_shows_each_change_once():
    comparison = believable.comparison()
    found = graph_rows(comparison, believable.graphs())
    assert found is not None
    totals = [sum(group["counts"][bit] for group in found["groups"]) for bit in range(len(MARKS))]
    told = [sum(mark in change.whats for change in comparison.graph.nodes) for mark in MARKS]
    assert totals == told
    notes = [note for group in found["groups"] for row in group["rows"] if len(row) > 3 for note in row[3]]
    assert notes.count("op: Gelu → Tanh") == believable.BLOCKS


def test_without_graphs_the_changes_are_listed_and_the_rest_counted():
    comparison = believable.comparison()
    found = graph_rows(comparison, (None, None))
    assert found is not None
    assert sum(len(group["rows"]) for group in found["groups"]) == len(comparison.graph.nodes)
    kept = sum(change.before is not None and change.after is not None for change in comparison.graph.nodes)
    assert found["unlisted"] == comparison.graph.matched - kept


def test_without_any_graph_there_are_the_layers_of_the_names():
    rows = rows_of(replace(believable.comparison(), graph=None))
    assert len(rows) == 13 * 8
    assert sum(marks(row) == {ADDED} for row in rows) == 8
    assert sum(marks(row) == {RENAMED} for row in rows) == 7 * 8


def test_a_huge_graph_is_its_changes_and_counts():
    before = [f"n{n}" for n in range(30_000)]
    rows = simple(before, before, NodeChange("n7", "n7", "Op", (CHANGED,)))
    assert [row if isinstance(row, int) else names(row) for row in rows] == [7, ("n7", "n7"), 29_992]


def test_more_changes_than_a_page_holds_are_cut_and_told():
    before = [f"n{n}" for n in range(9000)]
    changes = tuple(NodeChange(name, name, "Op", (CHANGED,)) for name in before)
    comparison = replace(believable.comparison(), graph=GraphDifference(9000, 9000, 9000, (), changes))
    found = graph_rows(comparison, (None, None))
    assert found is not None
    assert found["beyond"] == 4000
