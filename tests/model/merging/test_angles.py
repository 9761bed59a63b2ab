"""Sines and angles are those of the mathematical library, up to a few units in the last place."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.model.merging.angles import arc_cosine, cosine, sine

NEAR = 1e-15
GOLDEN = [
    *("0x1.aed548f090ceep-1", "0x1.326af0dcfcaafp-1", "0x1.14a280fb5068cp-1", "-0x1.fae04be85e5d3p-1"),
    *("0x1.787b22ce3f590p+0", "0x1.586476251e745p+1", "0x1.cf69d216bd74cp-7"),
]


@given(st.floats(0, math.pi))
def test_sines_and_cosines_are_right(angle):
    assert math.isclose(sine(angle), math.sin(angle), rel_tol=NEAR, abs_tol=2e-16)
    assert math.isclose(cosine(angle), math.cos(angle), rel_tol=NEAR, abs_tol=4e-16)


@given(st.floats(-1, 1))
def test_angles_are_right(value):
    assert math.isclose(arc_cosine(value), math.acos(value), rel_tol=NEAR, abs_tol=1e-300)


@pytest.mark.parametrize(("value", "angle"), [(1.0, 0.0), (0.0, math.pi / 2), (-0.0, math.pi / 2), (-1.0, math.pi)])
def test_the_ends_are_exact(value, angle):
    assert arc_cosine(value) == angle


def test_the_bits_are_these_on_every_machine():
    found = [sine(1.0), sine(2.5), cosine(1.0), cosine(3.0), arc_cosine(0.1), arc_cosine(-0.9), arc_cosine(0.9999)]
    assert [number.hex() for number in found] == GOLDEN
