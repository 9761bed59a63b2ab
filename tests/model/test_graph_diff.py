"""The difference of two graphs: exactly what was done to one is said of the other."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given

from lamella.core.dtypes import DTYPES
from lamella.core.graphs import NAMES, OPERATORS, Graph, Node, Port
from lamella.core.tensors import TensorSpec
from lamella.model.alignment import CONTENT, Pair
from lamella.model.graph_diff import graph_difference, telling_tensors
from lamella.model.graph_difference import (
    ADDED,
    CHANGED,
    MOVED,
    REMOVED,
    RENAMED,
    REWIRED,
    AttributeChange,
    GraphDifference,
    PortChange,
)
from tests.model.graphs import graphs
from tests.model.toy_graphs import Network, blocks, edited, renamed, tensors_of, transformer, with_ops

TWELVE = transformer(blocks(12))


def said(difference: GraphDifference) -> Counter[tuple[str, ...]]:
    return Counter(change.whats for change in difference.nodes)


def named(difference: GraphDifference, what: str) -> set[str | None]:
    return {change.after or change.before for change in difference.nodes if what in change.whats}


@given(graphs())
def test_a_graph_is_the_same_as_itself(graph):
    assert graph_difference(graph, graph) == GraphDifference(
        len(graph.nodes), len(graph.nodes), len(graph.nodes), (), ()
    )


@given(graphs(), graphs())
def test_every_node_is_matched_once_or_told(before, after):
    difference = graph_difference(before, after)
    added, removed = difference.count(ADDED), difference.count(REMOVED)
    assert difference.matched + removed == difference.nodes_before == len(before.nodes)
    assert difference.matched + added == difference.nodes_after == len(after.nodes)
    assert 0 <= difference.distance <= 1
    befores = [change.before for change in difference.nodes if change.before is not None]
    afters = [change.after for change in difference.nodes if change.after is not None]
    assert len(set(befores)) == len(befores)
    assert len(set(afters)) == len(afters)
    same = {node.name for node in before.nodes} - set(befores)
    assert same == {node.name for node in after.nodes} - set(afters)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("known", [True, False])
def test_where_all_is_renamed_all_is_matched(seed, known):
    after, tensors = renamed(TWELVE, seed)
    difference = graph_difference(TWELVE, after, tensors if known else None)
    assert difference.matched == len(TWELVE.nodes) == 183
    assert difference.distance == 0
    assert said(difference) == {(RENAMED,): 183}
    assert difference.interface == ()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("others", [True, False], ids=["renamed", "named as before"])
def test_twelve_activations_that_changed_are_twelve_changes(known, others):
    changed = with_ops(TWELVE, {"Gelu": "Tanh"})
    after, tensors = renamed(changed) if others else (changed, {name: name for name in tensors_of(TWELVE)})
    difference = graph_difference(TWELVE, after, tensors if known else None)
    assert difference.matched == 183
    changes = [change for change in difference.nodes if CHANGED in change.whats]
    assert [change.before for change in changes] == [f"h.{number}.act" for number in range(12)]
    assert {change.attributes for change in changes} == {(AttributeChange("op", "Gelu", "Tanh"),)}
    assert difference.count(REWIRED) == difference.count(MOVED) == 0
    assert difference.count(RENAMED) == (183 if others else 0)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("op", ["Dropout", "Gemm"])
def test_an_inserted_node_is_one_addition_and_rewires_what_takes_it(known, op):
    network = Network()
    network.add("embedding", "Gather", tensors="weight")
    for name in blocks(12):
        network.block(name)
        if name == "h.5":
            network.add("new", op, tensors="weight bias" if op == "Gemm" else "")
    network.add("norm", "LayerNormalization", tensors="scale bias", epsilon="1e-05")
    network.add("head", "MatMul", tensors="weight")
    tensors = {name: name for name in tensors_of(TWELVE)} if known else None
    difference = graph_difference(TWELVE, network.graph(), tensors)
    assert said(difference) == {(ADDED,): 1, (REWIRED,): 2}
    assert named(difference, ADDED) == {"new"}
    (first, second) = [change for change in difference.nodes if REWIRED in change.whats]
    assert (first.after, first.inputs_before, first.inputs_after) == ("h.6.norm1", ("h.5.sum2",), ("new",))
    assert (second.after, second.inputs_before[0], second.inputs_after[0]) == ("h.6.sum1", "h.5.sum2", "new")
    back = graph_difference(network.graph(), TWELVE, tensors)
    assert said(back) == {(REMOVED,): 1, (REWIRED,): 2}


def test_an_insertion_among_changed_activations_is_still_one():
    network = Network()
    network.add("embedding", "Gather", tensors="weight")
    for name in blocks(12):
        network.block(name, "Tanh")
        if name in ("h.5", "h.8"):
            network.add(f"{name}.new", "Dropout")
    network.add("norm", "LayerNormalization", tensors="scale bias", epsilon="1e-05")
    network.add("head", "MatMul", tensors="weight")
    after, tensors = renamed(network.graph())
    for known in (None, tensors):
        difference = graph_difference(TWELVE, after, known)
        assert (difference.count(ADDED), difference.count(REMOVED), difference.count(CHANGED)) == (2, 0, 12)
        assert difference.count(REWIRED) == 4


@pytest.mark.parametrize("seed", range(25))
def test_edits_are_told_as_they_were_made(seed):
    counts = seed % 6, seed % 4, seed * 7 % 5
    after = edited(TWELVE, *counts, seed)
    all_renamed, became = renamed(after, seed)
    same = {name: name for name in tensors_of(after)}
    for graph, tensors in ((after, None), (after, same), (all_renamed, became)):
        difference = graph_difference(TWELVE, graph, tensors)
        assert tuple(map(difference.count, (CHANGED, ADDED, REMOVED, MOVED))) == (*counts, 0)


def test_without_tensors_a_block_more_is_one_block_and_no_rewiring_elsewhere():
    difference = graph_difference(TWELVE, transformer(blocks(13)))
    assert (difference.count(ADDED), difference.count(REMOVED), difference.count(MOVED)) == (15, 0, 0)
    assert difference.count(REWIRED) <= 2


def test_a_block_that_was_inserted_is_told_by_the_tensors():
    """Its names are those of the block that it came before, as every block behind it has the next one's."""
    after = transformer(blocks(13))
    tensors = {}
    for name in tensors_of(TWELVE):
        head, number, *rest = name.split(".") if name.startswith("h.") else (name, "0", "")
        tensors[name] = name if head != "h" or int(number) < 7 else ".".join([head, str(int(number) + 1), *rest])
    difference = graph_difference(TWELVE, after, tensors)
    assert named(difference, ADDED) == {node.name for node in after.nodes if node.name.startswith("h.7.")}
    assert difference.count(REMOVED) == difference.count(MOVED) == difference.count(CHANGED) == 0
    assert named(difference, REWIRED) == {"h.8.norm1", "h.8.sum1"}
    assert difference.count(RENAMED) == 5 * 15


@pytest.mark.parametrize("all_tell", [True, False])
def test_two_blocks_that_changed_places_moved(all_tell):
    """Also where the normalizations, all ones as before training, tell nothing."""
    order = blocks(12)
    order[3], order[4] = order[4], order[3]
    after = transformer(order)
    tensors = {name: name for name in tensors_of(TWELVE) if all_tell or "norm" not in name}
    difference = graph_difference(TWELVE, after, tensors)
    assert difference.matched == 183
    moved = named(difference, MOVED)
    assert len({name.split(".")[1] for name in moved}) == 1
    assert {"norm1", "q", "sum1", "up", "act", "down"} <= {name.split(".")[2] for name in moved}
    assert named(difference, REWIRED) == {f"h.{number}.{name}" for number in (3, 4, 5) for name in ("norm1", "sum1")}
    assert difference.count(CHANGED) == difference.count(RENAMED) == 0


def test_branches_that_stand_in_another_order_have_not_moved():
    before = transformer(blocks(2))
    nodes = list(before.nodes)
    nodes[2], nodes[3] = nodes[3], nodes[2]
    assert graph_difference(before, replace(before, nodes=tuple(nodes))).nodes == ()


def test_attributes_parameters_and_shapes_that_changed_are_told():
    before = Graph(OPERATORS, "onnx", (), (), (
        Node("a", "Conv", "", (("pads", "1"), ("strides", "2")), (), (("w", "w"), ("b", "b")), (1, "n", 3)),
        Node("b", "Relu", "", (), ("a",), (), (1, "n", 3)),
    ))  # fmt: skip
    after = replace(before, nodes=(
        Node("a", "Conv", "", (("group", "2"), ("strides", "1")), (), (("w", "w"),), (1, "m", 5)),
        Node("b", "Relu", "", (), ("a",), (), (1, "m", None)),
    ))  # fmt: skip
    (change,) = graph_difference(before, after).nodes
    assert change.whats == (CHANGED,)
    assert change.attributes == (
        AttributeChange("group", None, "2"),
        AttributeChange("pads", "1", None),
        AttributeChange("strides", "2", "1"),
        AttributeChange("parameters", "b, w", "w"),
        AttributeChange("shape", "[1,n,3]", "[1,m,5]"),
    )


def test_the_interface_is_told():
    before = replace(TWELVE, inputs=(*TWELVE.inputs, Port("mask", "i64", ("batch", 64)), Port("gone")))
    after = replace(
        TWELVE, inputs=(Port("x", "i64", ("N", 64)), Port("mask", "i32", ("N", 64)), Port("new", "f32", ()))
    )
    assert graph_difference(before, after).interface == (
        PortChange("input", "mask", "i64 [batch,64]", "i32 [N,64]"),
        PortChange("input", "gone", "? ?", None),
        PortChange("input", "new", None, "f32 []"),
    )


def test_what_holds_for_all_nodes_is_told():
    before, after = replace(TWELVE, attributes=(("opset", "17"),)), replace(TWELVE, attributes=(("opset", "20"),))
    difference = graph_difference(before, after)
    assert (difference.attributes, difference.nodes) == ((AttributeChange("opset", "17", "20"),), ())


def test_axes_that_are_open_are_not_all_the_same():
    before = replace(TWELVE, inputs=(Port("x", "i64", ("batch", "length")),))
    after = replace(TWELVE, inputs=(Port("x", "i64", ("batch", "batch")),))
    assert [change.name for change in graph_difference(before, after).interface] == ["x"]


def test_names_alone_are_matched_by_tensors_then_by_name():
    def names(*modules: str) -> Graph:
        nodes = tuple(Node(name, "matrix", "", (("w", "f32 [4,4]"),), (), (("w", f"{name}.w"),)) for name in modules)
        return Graph(NAMES, "names", (), (), nodes)

    before, after = names("h.0", "h.1", "h.2", "head", "old"), names("h.0", "h.1", "h.2", "head", "top")
    tensors = {"h.0.w": "h.0.w", "h.1.w": "h.2.w", "h.2.w": "h.1.w"}
    difference = graph_difference(before, after, tensors)
    assert [(change.before, change.after, change.whats) for change in difference.nodes] == [
        ("h.2", "h.1", (MOVED, RENAMED)),
        ("h.1", "h.2", (RENAMED,)),
        ("old", None, (REMOVED,)),
        (None, "top", (ADDED,)),
    ]
    assert said(graph_difference(before, after)) == {(RENAMED,): 1}


def test_two_graphs_with_nothing_in_common_share_nothing():
    other = Network()
    for number in range(40):
        other.add(f"conv{number}", "Conv", tensors="weight")
        other.add(f"relu{number}", "Relu")
    difference = graph_difference(TWELVE, other.graph(), {})
    assert (difference.matched, difference.distance) == (0, 1.0)
    assert (difference.count(REMOVED), difference.count(ADDED)) == (183, 80)
    empty = Graph(NAMES, "names", (), (), ())
    assert graph_difference(TWELVE, empty).distance == 1
    assert graph_difference(empty, empty).distance == 0


def test_tensors_that_many_others_equal_tell_nothing():
    shapes = {
        "w": ("f32", (4, 4)),
        "scale": ("f32", ()),
        "one": ("f32", (1, 1)),
        "axes": ("i64", (4,)),
        "q": ("i8", (64,)),
    }
    specs = {name: TensorSpec(name, DTYPES[dtype], shape) for name, (dtype, shape) in shapes.items()}
    pairs = [Pair(name, f"new.{name}", CONTENT, 1.0) for name in specs]
    assert telling_tensors(pairs, specs.__getitem__) == {"w": "new.w", "q": "new.q"}


def test_circles_are_matched():
    def loop(names: str, op: str) -> Graph:
        a, b, c = names
        nodes = (Node(a, "Merge", "", (), ("@x", c)), Node(b, op, "", (), (a,)), Node(c, "NextIteration", "", (), (b,)))
        return Graph(OPERATORS, "tensorflow", (Port("x"),), (Port("y", value=b),), nodes)

    assert said(graph_difference(loop("abc", "Mul"), loop("bca", "Mul"))) == {(RENAMED,): 3}
    assert said(graph_difference(loop("abc", "Mul"), loop("abc", "Add"))) == {(CHANGED,): 1}


def large(count: int, kind: str, seed: int) -> Graph:
    if kind == "chain":
        nodes = [Node(f"a{n}", f"op{n * n % 7}", inputs=(f"a{n - 1}",) if n else ("@x",)) for n in range(count)]
    elif kind == "fan":
        nodes = [
            Node("root", "Split", inputs=("@x",)),
            *(Node(f"a{n}", "Relu", inputs=("root",)) for n in range(count - 1)),
        ]
    elif kind == "ring":
        nodes = [Node(f"a{n}", "Relu", inputs=(f"a{n - 1}",)) for n in range(count)]
        nodes[0] = Node("a0", "Relu", inputs=(f"a{count - 1}",))
    else:
        nodes = [
            Node(f"a{n}", f"op{n * (n + seed) % 13}", inputs=(f"a{n * 31 % n}", f"a{n // 2}") if n else ("@x",))
            for n in range(count)
        ]
    return Graph(OPERATORS, "onnx", (Port("x"),), (Port("y", value=nodes[-1].name),), tuple(nodes))


def test_a_hundred_thousand_nodes_take_seconds():
    before = large(100_000, "tree", 0)
    after, _ = renamed(before)
    begun = time.process_time()
    difference = graph_difference(before, after)
    assert difference.matched == 100_000
    assert said(difference)[RENAMED,] > 99_900, "what looks the same all around may be mistaken for each other"
    assert time.process_time() - begun < 40


@pytest.mark.parametrize("kind", ["chain", "fan", "ring"])
def test_graphs_that_are_unlike_cost_no_more(kind):
    before = large(10_000, kind, 0)
    begun = time.process_time()
    assert graph_difference(before, renamed(before)[0]).matched == 10_000
    assert graph_difference(before, large(10_000, "tree", 5)).nodes_after == 10_000
    assert time.process_time() - begun < 40


def test_a_node_that_very_many_take_beside_very_many_costs_no_more():
    source = Node("source", "source", inputs=("@x",))
    taken = [Node(f"a{n}", "a", inputs=("source",)) for n in range(30_000)]
    far = [Node("hub", "b", inputs=("source",)), *(Node(f"c{n}", "c", inputs=("hub",)) for n in range(30_000))]
    before, after = (Graph(OPERATORS, "onnx", (Port("x"),), (), (source, *nodes)) for nodes in (taken, far))
    begun = time.process_time()
    assert graph_difference(before, after).matched >= 1
    assert time.process_time() - begun < 15
