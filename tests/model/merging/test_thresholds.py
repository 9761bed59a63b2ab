"""Magnitudes by rank are those that sorting finds, to the last bit, however far apart or alike they are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.numpy_dtypes import numpy_dtype
from lamella.core.tensors import TensorSpec
from lamella.model.merging.contents import PlacedContents
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Compute, Place
from lamella.model.merging.strategy import Settings
from lamella.model.merging.thresholds import magnitudes_at, places_of
from lamella.testing.merging import Model, bits, weights


def contents(spec, base, sides, threads=1):
    models = Models(Model({"t": (spec, base)}), [Model({"t": (spec, side)}) for side in sides])
    action = Compute("ties", Settings({}, ()), Place(BASE, "t"), tuple(Place(n, "t") for n in range(len(sides))))
    return PlacedContents(spec, action, models, threads)


def ranked(spec, base, side):
    """Return the magnitudes of the changes, the largest first, and NaN as infinite."""
    dtype = numpy_dtype(spec.dtype.name)
    with np.errstate(all="ignore"):
        before, after = (np.frombuffer(data, dtype).astype(np.float64) for data in (base, side))
        moves = np.abs(after - before).astype(np.float32)
    width = f"u{dtype.itemsize}"
    moves[np.frombuffer(base, width) == np.frombuffer(side, width)] = 0
    return np.sort(np.where(np.isnan(moves), np.inf, moves))[::-1]


DTYPE_NAMES = st.sampled_from(["f32", "bf16", "f16", "f64", "f8_e5m2"])


@given(st.integers(0, 1 << 32), DTYPE_NAMES, st.integers(1, 300), st.data())
def test_they_are_those_of_a_sorted_list(seed, dtype, count, data):
    spec = TensorSpec("t", DTYPES[dtype], (count,))
    make = data.draw(st.sampled_from([bits, weights]))
    base, *sides = (make(spec, seed + n) for n in range(3))
    places = data.draw(st.lists(st.lists(st.integers(1, count), max_size=3), min_size=2, max_size=2))
    found = magnitudes_at(contents(spec, base, sides), places)
    for side, asked, magnitudes in zip(sides, places, found, strict=True):
        assert list(magnitudes) == [ranked(spec, base, side)[place - 1] for place in asked]


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_count_together(threads):
    spec = TensorSpec("t", DTYPES["f32"], (2000, 300))
    base, side = weights(spec, 1), weights(spec, 2)
    ((found, last),) = magnitudes_at(contents(spec, base, [side], threads), [[300_000, 600_000]])
    expected = ranked(spec, base, side)
    assert (found, last) == (expected[299_999], expected[-1])


def test_nothing_is_above_place_0():
    spec = TensorSpec("t", DTYPES["f32"], (3,))
    assert magnitudes_at(contents(spec, weights(spec, 1), [weights(spec, 2)]), [[0]]) == [(math.inf,)]


@pytest.mark.parametrize(
    ("share", "count", "places"),
    [(0, 10, 0), (1e-9, 10, 1), (0.29, 100, 29), (0.3, 10, 3), (0.7, 10, 7), (1, 7, 7), (1, 0, 0), (0.5, 0, 0)],
)
def test_a_share_is_so_many_elements(share, count, places):
    assert places_of(share, count) == places
