"""Computation graphs: the order of nodes, what references are to, and the texts that a builder lets in."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core import graph_builder
from lamella.core.errors import FormatError
from lamella.core.graph_builder import GraphBuilder, attribute_text
from lamella.core.graphs import OPERATORS, Node, in_order, node_of


def numbered(edges: dict[int, list[int]]) -> list[Node]:
    return [Node(str(one), "Op", inputs=tuple(map(str, needed))) for one, needed in edges.items()]


@given(st.permutations(range(12)), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11))))
def test_no_node_comes_before_what_it_needs(order, pairs):
    edges = {one: [low for low, high in pairs if high == one and low < high] for one in order}
    nodes = numbered(edges)
    found = in_order(nodes)
    assert sorted(found, key=nodes.index) == nodes
    places = {node.name: place for place, node in enumerate(found)}
    assert all(places[name] < places[node.name] for node in found for name in node.inputs)
    assert in_order(found) == found


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=10, max_size=10))
def test_an_order_is_kept_also_with_cycles(edges):
    found = in_order(numbered(dict(enumerate(edges))))
    assert sorted(int(node.name) for node in found) == list(range(10))
    assert in_order(found) == found
    reached = {node.name: set(map(str, edges[int(node.name)])) for node in found}
    for _ in range(10):
        reached = {name: to.union(*(reached[one] for one in to)) for name, to in reached.items()}
    places = {node.name: place for place, node in enumerate(found)}
    for name, to in reached.items():
        for one in to:
            assert places[one] < places[name] or name in reached[one]


def test_a_cycle_is_left_as_it_is():
    assert [node.name for node in in_order(numbered({3: [0], 0: [1], 1: [0], 2: [3]}))] == ["0", "1", "3", "2"]


def test_one_node_that_feeds_all_others_costs_little():
    nodes = numbered({one: [100_000] for one in range(100_000)} | {100_000: []})
    start = time.process_time()
    assert in_order(nodes)[0].name == "100000"
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("reference", "name"),
    [("a", "a"), ("a:1", "a"), ("a:b", "a:b"), ("@a", ""), ("@a:1", ""), ("", ""), ("a:b:2", "a:b")],
)
def test_what_a_reference_is_to(reference, name):
    assert node_of(reference) == name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("relu", "relu"),
        (1, "1"),
        (0.1, "0.1"),
        (True, "true"),
        (None, "null"),
        ([1, "é"], '[1, "é"]'),
        ({"b": 1, "a": (2,)}, '{"a": [2], "b": 1}'),
        ("two\nlines", '"two\\nlines"'),
        ("\ud800", '"\\ud800"'),
        (["\ud800"], '"[\\"\\ud800\\"]"'),
    ],
)
def test_attributes_are_one_line(value, text):
    assert attribute_text(value) == text


def test_long_attributes_are_told_apart_by_their_digest():
    one, other = attribute_text("x" * 5000 + "1"), attribute_text("x" * 5000 + "2")
    assert one != other
    assert one[:256] == "x" * 256
    assert len(one) < 300


def test_an_attribute_that_nests_too_deep_is_only_named():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert attribute_text(value) == "nested too deep to be shown"


@given(st.lists(st.text(max_size=6) | st.sampled_from(["a", "a#2", "a:1", "a_1", "@a", ""]), max_size=20))
def test_names_occur_once_and_are_no_references(wanted):
    builder = GraphBuilder(OPERATORS, "test")
    names = [builder.name(one) for one in wanted]
    assert len(set(names)) == len(names)
    assert all(name.isprintable() and name and node_of(name) == name for name in names)


def test_a_builder_refuses_more_than_it_holds(monkeypatch):
    builder = GraphBuilder(OPERATORS, "test")
    with monkeypatch.context() as patched, pytest.raises(FormatError):
        patched.setattr(graph_builder, "MAX_GRAPH_NODES", 3)
        for _ in range(4):
            builder.add(Node(builder.name("a"), "Op"))
    monkeypatch.setattr(graph_builder, "MAX_GRAPH_TEXT_LENGTH", 10)
    with pytest.raises(FormatError, match="longer values"):
        GraphBuilder(OPERATORS, "test").add(Node("a", "Operator", attributes=(("name", "value"),)))


def test_a_builder_cuts_and_orders():
    builder = GraphBuilder(OPERATORS, "test")
    given = builder.add_input("x\n")
    assert builder.add_input("x\n") != given
    builder.add(Node("b", "Op\n", "m\0", (("z", "1\n"), ("a", "2")), ("c",)))
    builder.add(Node("c", "Op", inputs=(given,)))
    builder.note("k\n", "v")
    builder.add_output("y\n", "b", "f32", (1, "n"))
    graph = builder.build()
    assert [node.name for node in graph.nodes] == ["c", "b"]
    assert graph.nodes[1] == Node("b", '"Op\\n"', '"m\\u0000"', (("a", "2"), ("z", '"1\\n"')), ("c",))
    assert graph.attributes == (('"k\\n"', "v"),)
    assert graph.outputs[0].name == '"y\\n"'


def test_a_builder_leaves_impossible_extents_open():
    builder = GraphBuilder(OPERATORS, "test")
    builder.add_input("x", None, (-1, 2, "n\n", None, 1 << 63))
    builder.add_input("y", None, (1,) * 65)
    builder.add(Node("a", "Op", attributes=(("k", "1"), ("k", "2")), shape=(0, -5)))
    builder.add_output("z", "a", None, (-1,))
    builder.add_output("z", "a")
    graph = builder.build()
    assert [port.shape for port in graph.inputs] == [(None, 2, '"n\\n"', None, None), None]
    assert (graph.nodes[0].shape, graph.nodes[0].attributes) == ((0, None), (("k", "2"),))
    assert [(port.name, port.shape) for port in graph.outputs] == [("z", (None,)), ("z#2", None)]
