"""What the names of tensors tell, as frameworks write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.model.tensor_names import family, is_optimizer_state, module_of, natural, steps


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("h.0.attn.weight", "h.0.attn"),
        ("h.0.attn.lora_A.weight", "h.0.attn.lora_A"),
        ("dense/kernel:0", "dense"),
        ("layers/dense/vars/0", "layers/dense"),
        ("model/layer.1/kernel/.ATTRIBUTES/VARIABLE_VALUE", "model/layer.1"),
        ("weight", ""),
        ("/vars/0", "/vars"),
        (".weight", ""),
        ("", ""),
    ],
)
def test_a_tensor_stands_in_a_module(name, module):
    assert module_of(name) == module


@given(st.lists(st.integers(0, 10**30), min_size=1))
def test_numbers_are_sorted_by_what_they_are_as_far_as_numbers_go(numbers):
    short = sorted({number for number in numbers if number < 10**18})
    assert sorted((f"h.{number}.w" for number in short), key=natural) == [f"h.{number}.w" for number in short]


@given(st.text("ab0.9/:", max_size=80))
def test_any_name_has_a_place_in_order_and_a_last_step(name):
    assert natural(name) <= natural(name + "a")
    assert steps(name)[-1] in name


def test_a_name_of_thousands_of_dots_has_few_steps():
    assert len(steps("a." * 10_000)) == 64


def test_what_differs_by_numbers_alone_is_one_family():
    assert family("h.0.up") == family("h.11.up") != family("h.0.down")


def test_an_encoder_that_follows_by_momentum_is_a_model():
    assert is_optimizer_state("momentum.conv.weight")
    assert not is_optimizer_state("momentum_encoder.conv.weight")
