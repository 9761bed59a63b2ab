"""Histograms of both sides: every finite value is in one, and edges lie where they are said to."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from lamella.model import kernels
from lamella.model.difference import Histogram
from lamella.model.value_histogram import BINS, DRAWN_BINS, render


def histogram(before: np.ndarray, after: np.ndarray) -> Histogram | None:
    sides = []
    for array in (before, after):
        counts = np.zeros(BINS, np.uint64)
        kernels.count_values(array.astype("f8").tobytes(), "f64", array.size, counts)
        sides.append(counts)
    return render(*sides)


def test_every_finite_value_is_counted_near_where_it_is():
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal(50_000), draw.standard_normal(40_000) * 2 + 1
    found = histogram(np.append(a, [np.nan, np.inf]), np.append(b, [-np.inf]))
    assert (sum(found.before), sum(found.after)) == (50_000, 40_000)
    assert len(found.edges) == len(found.before) + 1 == len(found.after) + 1 <= DRAWN_BINS + 3
    assert list(found.edges) == sorted(set(found.edges))
    assert found.edges[0] <= min(a.min(), b.min())
    assert max(a.max(), b.max()) <= found.edges[-1]
    for side, values in ((found.before, a), (found.after, b)):
        exact = np.histogram(values, found.edges)[0]
        assert abs(np.cumsum(side) - np.cumsum(exact)).max() < 400


def test_few_outliers_do_not_flatten_the_rest():
    values = np.append(np.random.default_rng(1).standard_normal(100_000), [1e6, -1e6])
    found = histogram(values, values)
    assert found.edges[0] <= -1e6
    assert found.edges[-1] >= 1e6
    assert abs(found.edges[1]) < 5
    assert found.edges[-2] < 5
    assert sum(count > 100 for count in found.before) > 40


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -3e38, 1e-45, 3.4028234e38])
def test_a_constant_is_in_one_bin(value):
    constant = np.full(1000, value)
    found = histogram(constant, constant)
    assert sum(found.before) == sum(found.after) == 1000
    assert found.edges[0] <= value <= found.edges[-1]


def test_values_of_bf16_are_counted_without_gaps():
    values = (np.random.default_rng(2).standard_normal(200_000) * 0.02).astype(ml_dtypes.bfloat16)
    found = histogram(values, values)
    inner = np.array(found.before[1:-1])
    widths = np.diff(found.edges)[1:-1]
    density = inner / widths
    assert (abs(np.diff(density)) < 0.25 * density.max()).all()


def test_without_finite_values_there_is_none():
    assert histogram(np.array([np.nan, np.inf]), np.array([])) is None
