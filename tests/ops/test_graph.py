"""The report of a graph: what is counted, what does not fit the model, and what is folded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamella.core.graphs import NAMES, OPERATORS, Graph, Node
from lamella.model.graph_text import write_graph
from lamella.ops.graph import GraphReport, graph, local_name, node_tree
from lamella.repo.graphs import recorded_graph
from lamella.repo.targets import opened_model
from lamella.testing.models import model, spec
from tests.model.toy_graphs import blocks, tensors_of, transformer


@pytest.fixture
def reported(tmp_path):
    """Return a function that reports a graph recorded beside a model of these tensors, each of 24 elements."""

    def report(recorded: Graph | None, names: list[str]):
        (tmp_path / "model.safetensors").write_bytes(model([spec(name, 4, 6) for name in names]))
        if recorded is not None:
            (tmp_path / "model.graph.json").write_bytes(write_graph(recorded))
        with opened_model("model.safetensors", tmp_path) as found:
            return graph(found, recorded_graph("model.safetensors", tmp_path))

    return report


def drawn(branches, level: int = 0) -> list[str]:
    lines = []
    for branch in branches:
        lines.append(f"{'  ' * level}{branch.label} {branch.times}x{branch.count}")
        lines += drawn(branch.branches, level + 1)
    return lines


def in_modules(found: Graph) -> Graph:
    """Return a graph in which a node `h.0.q` is part of `h.0`."""
    nodes = (replace(node, module=".".join(node.name.split(".")[:-1])) for node in found.nodes)
    return replace(found, nodes=tuple(nodes))


def test_blocks_that_are_alike_are_one_and_operators_keep_their_order(reported):
    found = in_modules(transformer(blocks(4)))
    report = reported(found, tensors_of(found))
    assert (report.absent, report.unused, len(report.tensors)) == ((), (), len(tensors_of(found)))
    in_file = ["norm1", "q", "k", "v", "turned", "scores", "softmax", "mixed", "o", "sum1"]
    in_file += ["norm2", "up", "act", "down", "sum2"]
    assert drawn(node_tree(report)) == [
        "embedding 1x1", "h.[0-3]. 4x15", *(f"  {name} 1x1" for name in in_file), "norm 1x1", "head 1x1",
    ]  # fmt: skip
    assert len(drawn(node_tree(report, fold=False))) == 1 + 1 + 4 * 16 + 2
    changed = replace(found, nodes=tuple(replace(n, op="Tanh") if n.name == "h.2.act" else n for n in found.nodes))
    assert [line for line in drawn(node_tree(reported(changed, tensors_of(found)))) if not line.startswith("    ")] == [
        "embedding 1x1", "h. 1x60", "  [0-1,3]. 3x15", "  2. 1x15", "norm 1x1", "head 1x1",
    ]  # fmt: skip


def test_operators_are_one_only_where_they_follow_each_other():
    ops = ["Relu"] * 4 + ["Gelu", "Relu", "Relu", "Gelu"]
    nodes = tuple(Node(f"n{number}", op) for number, op in enumerate(ops))
    report = graph_report(Graph(OPERATORS, "onnx", (), (), nodes))
    assert drawn(node_tree(report)) == ["n[0-3] 4x1", "n4 1x1", "n[5-6] 2x1", "n7 1x1"]
    assert len(node_tree(report, fold=False)) == 8


def test_blocks_that_share_a_tensor_are_not_counted_twice(reported):
    nodes = tuple(Node(f"h.{number}.a", "Gemm", f"h.{number}", parameters=(("w", "tied"),)) for number in range(4))
    report = reported(Graph(OPERATORS, "onnx", (), (), nodes), ["tied"])
    assert sum(branch.times * branch.elements for branch in node_tree(report)) == report.elements == 24
    assert drawn(node_tree(report)) == ["h. 1x4", "  0.a 1x1", "  [1-3].a 3x1"]


def graph_report(found: Graph):
    return GraphReport("m", found, {})


def test_names_fold_as_tensors_do(reported):
    report = reported(None, [f"h.{number}.{name}" for number in range(3) for name in ("w", "b")] + ["top"])
    assert report.graph.level == NAMES
    assert drawn(node_tree(report)) == ["h.[0-2] 3x1", "top 1x1"]


def test_a_tensor_that_two_nodes_take_counts_once(reported):
    nodes = (
        Node("a", "Gather", parameters=(("w", "tied"),)),
        Node("b", "MatMul", parameters=(("w", "tied"), ("c", "gone"))),
    )
    report = reported(Graph(OPERATORS, "onnx", (), (), nodes), ["tied", "left"])
    assert (report.elements, report.nbytes) == (24, 96)
    assert (report.absent, report.unused) == (("gone",), ("left",))
    assert [branch.elements for branch in node_tree(report)] == [24, 0]


@pytest.mark.parametrize(
    ("name", "module", "local"),
    [
        ("h.0.q", "h.0", "q"),
        ("/h.0/q/MatMul", "h.0.q", "MatMul"),
        ("MatMul_3", "h.0", "MatMul_3"),
        ("h.0", "h.0", "h.0"),
        ("h.00", "h.0", "h.00"),
        ("h.0.", "h.0", "h.0."),
        ("a", "", "a"),
    ],
)
def test_a_node_is_called_less_its_module(name, module, local):
    assert local_name(Node(name, "op", module)) == local


def test_deep_modules_are_drawn():
    node = Node("x", "op", ".".join(["m"] * 5000))
    assert sum(branch.count for branch in node_tree(graph_report(Graph(OPERATORS, "onnx", (), (), (node,))))) == 1
