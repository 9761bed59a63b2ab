"""The graph that names show: who owns a tensor, and no more said than is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.graphs import NAMES
from lamella.core.tensors import TensorSpec
from lamella.model.graph_names import names_graph, owner_of
from lamella.model.graph_text import parse_graph, write_graph


def spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, DTYPES["f32"], shape)


@pytest.mark.parametrize(
    ("name", "module", "role"),
    [
        ("h.0.attn.weight", "h.0.attn", "weight"),
        ("params/Dense_0/kernel", "params/Dense_0", "kernel"),
        ("a.b/c.d/kernel:0", "a.b/c.d", "kernel"),
        ("layers/dense/vars/0", "layers/dense", "0"),
        ("/vars/0", "/vars", "0"),
        ("w", "w", "w"),
        (".w", ".w", ".w"),
        ("", "", ""),
        ("a.", "a", ""),
        ("h.0.q.lora_A.weight", "h.0.q", "lora_A.weight"),
        ("h.0.q.lora_B.default.weight", "h.0.q", "lora_B.default.weight"),
        ("lora_A.weight", "lora_A", "weight"),
        ("conv.parametrizations.weight.original0", "conv", "parametrizations.weight.original0"),
        ("model/layer-0/kernel/.ATTRIBUTES/VARIABLE_VALUE", "model/layer-0", "kernel"),
    ],
)
def test_a_tensor_is_its_modules(name, module, role):
    assert owner_of(name) == (module, role)


def test_modules_are_nodes_that_say_what_their_tensors_are():
    graph = names_graph(
        [
            spec("h.10.w.weight", 4, 8),
            spec("h.2.w.bias", 4),
            spec("h.2.w.weight", 4, 8),
            spec("norm.weight", 4),
            spec("norm.bias", 4),
            spec("conv.weight", 4, 3, 2, 2),
            spec("bn.weight", 4),
            spec("bn.running_var", 4),
            spec("q.qweight", 4, 4),
            spec("scale"),
        ]
    )
    assert (graph.level, graph.source, graph.inputs, graph.outputs) == (NAMES, "names", (), ())
    assert [(node.name, node.op, node.module) for node in graph.nodes] == [
        ("bn", "normalization", ""),
        ("conv", "kernel", ""),
        ("h.2.w", "matrix", "h.2"),
        ("h.10.w", "matrix", "h.10"),
        ("norm", "vector", ""),
        ("q", "quantized matrix", ""),
        ("scale", "vector", ""),
    ]
    assert graph.nodes[2].attributes == (("bias", "f32 [4]"), ("weight", "f32 [4,8]"))
    assert graph.nodes[2].parameters == (("bias", "h.2.w.bias"), ("weight", "h.2.w.weight"))
    assert graph.nodes[6].parameters == (("scale", "scale"),)


def test_the_order_of_the_file_does_not_count():
    specs = [spec(f"h.{number}.w", 2) for number in range(12)]
    assert names_graph(specs) == names_graph(specs[::-1])


@given(st.lists(st.text("ab./@:1", max_size=6), unique=True, max_size=8))
def test_any_names_make_a_graph_with_every_tensor_in_it(names):
    graph = names_graph([spec(name, 2) for name in names])
    assert parse_graph(write_graph(graph)) == graph
    assert sorted(name for node in graph.nodes for _, name in node.parameters) == sorted(names)
