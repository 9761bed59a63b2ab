"""Graphs of PyTorch modules: exported, traced, and as one run calls them."""

from __future__ import annotations

import pytest
import torch

import lamella.torch
from lamella.core.errors import UsageError
from lamella.core.graphs import LAYERS, OPERATORS, Node, Port
from lamella.testing.formats import check_graph

IDS = torch.zeros(2, 3, dtype=torch.long)


class Block(torch.nn.Module):
    def __init__(self, activation=torch.nn.GELU):
        super().__init__()
        self.norm = torch.nn.LayerNorm(4)
        self.up = torch.nn.Linear(4, 8)
        self.activation = activation()
        self.down = torch.nn.Linear(8, 4)
        self.register_buffer("scale", torch.ones(4))
        self.register_buffer("hidden", torch.arange(4.0), persistent=False)

    def forward(self, x, factor=2.0):
        return x * self.scale + self.hidden + self.down(self.activation(self.up(self.norm(x)))) * factor


class Tied(torch.nn.Module):
    def __init__(self, blocks=2, activation=torch.nn.GELU):
        super().__init__()
        self.embed = torch.nn.Embedding(10, 4)
        self.blocks = torch.nn.ModuleList([Block(activation) for _ in range(blocks)])
        self.dropout = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        x = self.dropout(self.embed(ids))
        for block in self.blocks:
            x = block(x)
        first, second = torch.split(x, 2, -1)
        return {"logits": self.head(x), "parts": [first, second]}


class Branching(Tied):
    def forward(self, ids):
        x = self.embed(ids)
        if x.sum() > 1e9:
            x = self.blocks[0](x)
        return self.head(self.blocks[1](x))


def captured(module, example, **options):
    found = lamella.torch.capture(module, example, **options)
    check_graph(found)
    names = {name for node in found.nodes for _, name in node.parameters}
    assert names <= set(module.state_dict())
    return found, {node.name: node for node in found.nodes}


def test_an_exported_module():
    found, nodes = captured(Tied(), (IDS,))
    assert (found.level, found.source, found.attributes) == (OPERATORS, "torch.export", ())
    assert found.inputs == (Port("ids", "i64", (2, 3)),)
    assert found.outputs == (
        Port("logits", "f32", (2, 3, 10), "head.linear"),
        Port("parts.0", "f32", (2, 3, 2), "split"),
        Port("parts.1", "f32", (2, 3, 2), "split:1"),
    )
    assert nodes["blocks.0.up.linear"] == Node(
        "blocks.0.up.linear",
        "aten.linear",
        "blocks.0.up",
        (),
        ("blocks.0.norm.layer_norm", "", ""),
        (("weight", "blocks.0.up.weight"), ("bias", "blocks.0.up.bias")),
        (2, 3, 8),
    )
    assert dict(nodes["blocks.0.norm.layer_norm"].attributes)["normalized_shape"] == "[4]"
    assert dict(nodes["blocks.0.mul#2"].attributes) == {"other": "2.0"}


def test_tied_weights_are_called_as_the_module_calls_them():
    _, nodes = captured(Tied(), (IDS,))
    assert nodes["embed.embedding"].parameters == (("weight", "embed.weight"),)
    assert nodes["head.linear"].parameters == (("weight", "head.weight"),)


def test_a_buffer_that_is_not_saved_is_an_attribute():
    _, nodes = captured(Tied(), (IDS,))
    assert nodes["blocks.0.mul"].parameters == (("other", "blocks.0.scale"),)
    assert dict(nodes["blocks.0.add"].attributes)["other"].startswith("f32[4] blake3:")


def test_all_parameters_are_taken():
    module = Tied()
    for level in (OPERATORS, LAYERS):
        found, _ = captured(module, (IDS,), level=level)
        assert {name for node in found.nodes for _, name in node.parameters} == set(module.state_dict())


def test_the_same_module_has_the_same_graph_and_another_activation_only_that():
    one, other, tanh = (captured(Tied(12, kind), (IDS,))[0] for kind in 2 * [torch.nn.GELU] + [torch.nn.Tanh])
    assert one == other
    changed = [(node.op, after.op) for node, after in zip(one.nodes, tanh.nodes, strict=True) if node.op != after.op]
    assert changed == 12 * [("aten.gelu", "aten.tanh")]


def test_names_stay_where_a_block_is_added():
    few, many = captured(Tied(2), (IDS,))[1], captured(Tied(3), (IDS,))[1]
    assert set(few) < set(many)


def test_open_extents():
    batch = torch.export.Dim("batch", min=2, max=64)
    found, _ = captured(Tied(), (IDS,), dynamic_shapes={"ids": {0: batch}})
    assert isinstance(found.inputs[0].shape[0], str)
    assert found.inputs[0].shape[0] == found.outputs[0].shape[0]


def test_layers():
    found, nodes = captured(Tied(), IDS, level=LAYERS)
    assert (found.level, found.source, found.attributes) == (LAYERS, "torch.fx", ())
    assert found.inputs == (Port("ids", "i64", (2, 3)),)
    up = nodes["blocks.1.up"]
    assert (up.op, up.module, up.inputs) == ("Linear", "blocks.1", ("blocks.1.norm",))
    assert dict(up.attributes) == {"in_features": "4", "out_features": "8"}
    assert dict(up.parameters) == {"weight": "blocks.1.up.weight", "bias": "blocks.1.up.bias"}
    assert dict(nodes["blocks.0.activation"].attributes) == {"approximate": "none"}


def test_a_module_that_branches_on_values_is_observed():
    module = Branching()
    found, nodes = captured(module, (IDS,))
    assert (found.level, found.source) == (LAYERS, "torch.nn")
    assert dict(found.attributes)["export failed"]
    assert nodes["blocks.1.up"].inputs == ("blocks.1.norm",)
    assert found.outputs == (Port("output", "f32", (2, 3, 10), "head"),)
    assert not any(one._forward_hooks for one in module.modules())


def test_parameters_of_a_module_that_calls_no_other_are_its_own():
    module = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    found, nodes = captured(module, (torch.zeros(2, 3, 8),), level=LAYERS)
    assert found.source == "torch.nn"
    assert {name for node in found.nodes for _, name in node.parameters} == set(module.state_dict())
    attention = dict(nodes["layers.1.self_attn"].parameters)
    assert attention["out_proj.weight"] == "layers.1.self_attn.out_proj.weight"


def test_conditions_within():
    class Choice(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda y: y.sin(), lambda y: y.cos(), (x,))

    found, nodes = captured(Choice(), (torch.ones(3),))
    assert found.source == "torch.export"
    assert any("sin" in text for _, text in nodes["cond"].attributes)


def test_arguments_by_name():
    _, nodes = captured(Block(), (torch.zeros(2, 4),), named={"factor": 3.0})
    assert dict(nodes["mul#2"].attributes) == {"other": "3.0"}


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays(training):
    module = Tied().train(training)
    module.blocks[0].norm.train(not training)
    modes = [one.training for one in module.modules()]
    captured(module, (IDS,))
    assert [one.training for one in module.modules()] == modes


def test_an_example_that_does_not_fit_is_refused():
    with pytest.raises(UsageError) as raised:
        lamella.torch.capture(Branching(), (torch.zeros(2, 3), 5))
    assert raised.value.kind == "bad-argument"
    with pytest.raises(UsageError, match="no level"):
        lamella.torch.capture(Tied(), (IDS,), level="modules")
