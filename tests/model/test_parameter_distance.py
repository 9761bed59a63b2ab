"""The distance of the parameters of two models."""

from __future__ import annotations

import numpy as np
import pytest

from lamella.model.parameter_distance import parameter_distance
from lamella.model.tensor_differences import tensor_differences
from tests.model.sources import by_name, raw, source


def test_tensors_count_by_their_elements_and_relative_change():
    before = source(a=np.ones(300, "f4"), b=np.ones(100, "f4"), c=np.zeros(50, "f4"), d=np.ones(550, "f4"))
    after = source(a=np.ones(300, "f4"), b=np.full(100, 1.5, "f4"), c=np.ones(50, "f4"), d=np.full(550, 9, "f4"))
    pairs = by_name("a", "b", "c", "d")
    found = list(tensor_differences(before, after, pairs, same=pairs[:1]))
    assert parameter_distance(found) == pytest.approx((0 * 300 + 0.5 * 100 + 50 + 550) / 1000)
    assert parameter_distance(found[:1]) == 0.0


def test_what_could_not_be_measured_is_left_out():
    blocks = raw("q4_0", (32,), bytes(18))
    assert parameter_distance(list(tensor_differences(blocks, blocks, by_name("w")))) is None
    assert parameter_distance([]) is None


def distance(before, after):
    pairs = by_name(*before)
    return parameter_distance(list(tensor_differences(source(**before), source(**after), pairs)))


def test_what_one_side_alone_has_is_as_far_as_can_be():
    grown = np.ones((6, 2), "f4")
    assert distance({"w": grown[:4]}, {"w": grown}) == pytest.approx(4 / 12)
    assert distance({"w": grown}, {"w": grown[:4]}) == pytest.approx(4 / 12)
    assert distance({"w": grown[:4]}, {"w": grown[:4] * 1.5}) == pytest.approx(0.5)
    lost = grown.copy()
    lost[0, 0] = np.nan
    assert distance({"w": grown}, {"w": lost}) == pytest.approx(1 / 12)


def test_the_state_of_an_optimizer_counts_only_alone():
    one, other = np.ones(10, "f4"), np.full(10, 2, "f4")
    assert distance({"w": one, "optimizer.m": one}, {"w": one, "optimizer.m": other}) == 0
    assert distance({"optimizer.m": one}, {"optimizer.m": other}) == 1
