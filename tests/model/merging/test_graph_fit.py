"""Whether a graph and the tensors of a merge belong together."""

from __future__ import annotations

from hypothesis import given

from lamella.core.dtypes import DTYPES
from lamella.core.graphs import LAYERS, Graph, Node
from lamella.core.tensors import TensorSpec
from lamella.model.merging.graph_fit import MOST_PROBLEMS, graph_problems
from tests.model.graphs import graphs


def dense(name, width, op="Dense"):
    return Node(name, op, parameters=(("kernel", f"{name}/kernel"),), shape=(None, width))


def graph(*nodes):
    return Graph(LAYERS, "keras", (), (), nodes)


def specs(**shapes):
    return [TensorSpec(f"{name}/kernel", DTYPES["f32"], shape) for name, shape in shapes.items()]


def test_a_graph_and_its_own_tensors_fit():
    assert graph_problems(graph(dense("a", 8), dense("b", 2)), specs(a=(4, 8), b=(8, 2), more=(1,))) == ()


def test_a_parameter_that_is_gone_is_told():
    (problem,) = graph_problems(graph(dense("a", 8), dense("b", 2)), specs(a=(4, 8)))
    assert problem == "b takes b/kernel as its kernel, which is gone"


def test_a_shape_that_the_output_contradicts_is_told():
    (problem,) = graph_problems(graph(dense("a", 8), dense("b", 2)), specs(a=(4, 9), b=(8, 2)))
    assert problem == "a gives 8 values, and its kernel a/kernel has the shape [4,9]"


def test_what_an_output_does_not_show_is_no_problem():
    assert (
        graph_problems(
            graph(dense("a", None), dense("b", "n"), dense("c", 3, "MatMul")), specs(a=(1, 2), b=(3, 4), c=(5, 6))
        )
        == ()
    )
    assert graph_problems(graph(dense("a", 8)), specs(a=(4,))) == ()


def test_many_problems_are_counted():
    found = graph_problems(graph(*(dense(f"n{number}", 1) for number in range(100))), [])
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1] == f"{100 - MOST_PROBLEMS} more parameters do not fit the graph"


@given(graphs())
def test_any_graph_with_all_its_tensors_lacks_none(found):
    names = {name for node in found.nodes for _, name in node.parameters}
    assert graph_problems(found, [TensorSpec(name, DTYPES["f32"], (1,)) for name in names]) == ()
