"""Numbers are written in one way, and a script can read them back."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.pages.diff_map import brief
from lamella.pages.numbers import counted, extents, figure, percent


@given(st.floats(-1e300, 1e300))
def test_a_figure_is_the_number_to_three_digits(value):
    assert float(figure(value)) == pytest.approx(value, rel=0.006)
    assert len(figure(value)) <= 10


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1.00"),
        (0.05, "0.0500"),
        (0.99999, "1.00"),
        (12.345, "12.3"),
        (1234.5, "1234"),
        (1.2345e-5, "1.23e-5"),
        (1e30, "1.00e30"),
        (nan, "NaN"),
        (inf, "Infinity"),
    ],
)
def test_figures(value, text):
    assert figure(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100%"), (0.99999, "99.9%"), (0.0, "0%"), (0.5, "50.0%"), (2e-9, "2.00e-7%"), (None, "–")]
)
def test_percentages(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e-6, "3e-6"), (0.0074, ".007"), (0.067, ".067"), (0.45, ".45"), (1.23, "1.2"), (93.2, "93"), (2.5e9, "2e9")],
)
def test_a_cell_says_two_digits(value, text):
    assert brief(value) == text


def test_nouns_agree():
    assert (counted(1, "tensor"), counted(2000, "entry", "entries")) == ("1 tensor", "2,000 entries")


@pytest.mark.parametrize(
    ("shape", "told"), [((), "scalar"), ((1024, 8), "1,024 × 8"), (("batch", None), "batch × ?"), ((1,) * 99, None)]
)
def test_a_shape_reads_as_people_write_it(shape, told):
    assert extents(shape) == told if told else extents(shape).count("×") == 63
