"""Paths of charts stay on their field and show the shares they are made from."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.model.difference import Histogram
from lamella.pages.charts import HEIGHT, WIDTH, bars, overlay

COUNTS = st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=300)


@given(COUNTS, st.floats(1e-30, 1e30))
def test_a_histogram_stays_on_the_field(counts, width):
    edges = tuple(n * width for n in range(len(counts) + 1))
    for path in overlay(Histogram(edges, tuple(a for a, _ in counts), tuple(b for _, b in counts))):
        assert all(0 <= int(y) <= HEIGHT for y in re.findall(r"V(-?\d+)", path))
        assert all(0 <= int(x) <= WIDTH for x in re.findall(r"H(-?\d+)", path))
        assert len(path) < 1000


def test_densities_and_not_counts_are_heights():
    before, after = overlay(Histogram((0.0, 1.0, 3.0), (100, 100), (0, 200)))
    assert before == "M0 100V0H133V50H400V100"
    assert after == "M0 100V100H133V0H400V100"


@pytest.mark.parametrize("edges", [(1.0, 1.0), (), (0.0, 0.0, 0.0)])
def test_a_histogram_without_width_is_flat(edges):
    empty = (3,) * max(0, len(edges) - 1)
    assert overlay(Histogram(edges, empty, empty))[0].startswith("M0 100")


@given(st.lists(st.floats(0, 1e300), max_size=200))
def test_bars_rise_from_the_ground(values):
    path = bars(values)
    assert path.count("Z") == sum(value > 0 for value in values[:64])
    assert all(0 <= int(y) <= HEIGHT for y in re.findall(r"V(-?\d+)", path))
