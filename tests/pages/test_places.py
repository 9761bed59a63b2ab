"""Names of tensors tell the block and the module."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.pages.places import block, place


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("h.3.attn.c_attn.weight", ("h", 3, "h.3", "attn.c_attn", "h.3.attn.c_attn.*")),
        (
            "model.layers.11.mlp.experts.7.w1.weight",
            ("model.layers", 11, "model.layers.11", "mlp.experts.*.w1", "model.layers.11.mlp.experts.*.w1.*"),
        ),
        ("layer1.0.conv1.weight", ("layer1", 0, "layer1.0", "conv1", "layer1.0.conv1.*")),
        ("encoder/layer_3/attn/kernel", ("encoder/layer_", 3, "encoder/layer_3", "attn", "encoder/layer_3/attn/*")),
        ("0.weight", ("", 0, "0", "weight", "0.weight")),
        ("fc2.bias", ("fc", 2, "fc2", "bias", "fc2.bias")),
    ],
)
def test_a_numbered_step_is_the_block(name, told):
    found = place(name)
    assert found is not None
    assert (found.stack, found.number, found.block, found.kind, found.inside) == told


@pytest.mark.parametrize("name", ["", "embed.weight", "weight", "lm_head/kernel", "h.3", "layer_3", "a.²³.b"])
def test_a_name_without_a_block_has_no_place(name):
    assert place(name) is None


@given(st.text(alphabet="a1._/\u0661²-\n", max_size=300))
def test_no_name_is_too_odd(name):
    found = place(name)
    assert found is None or name.startswith(found.block)
    block(name)


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("h.3.attn", "h.3"),
        ("h.3", "h.3"),
        ("embed.tokens.x", "embed.tokens"),
        ("/m/layers.2/mlp", "/m/layers.2"),
        ("", ""),
    ],
)
def test_a_module_is_part_of_a_block(module, part):
    assert block(module) == part
