"""A tensor is examined in runs of any length, and the same is found as in one piece."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.model.examination import SAMPLED, Examination, Examined, effective_rank


def examined(array: numpy.ndarray, name: str = "w", cuts: tuple[int, ...] = (), dtype: str = "f32") -> Examined:
    """Examine an array, cut into runs behind these numbers of elements."""
    examination = Examination(TensorSpec(name, DTYPES[dtype], array.shape))
    flat = array.reshape(-1)
    factor = examination.count // max(1, array.size)
    for start, stop in zip((0, *cuts), (*cuts, array.size), strict=True):
        examination.take(examination.look(start * factor, flat[start:stop].tobytes()))
    return examination.result(None)


@given(st.integers(1, 40), st.integers(1, 50), st.lists(st.integers(0, 2000), max_size=4), st.integers(0, 2**32 - 1))
def test_cuts_change_nothing(rows, columns, cuts, seed):
    noise = numpy.random.default_rng(seed)
    array = noise.standard_normal((rows, columns)).astype("<f4")
    array[noise.integers(0, rows)] = 0
    array[:, noise.integers(0, columns)] = 0
    whole = examined(array)
    pieces = examined(array, cuts=tuple(sorted(cut for cut in cuts if cut <= array.size)))
    assert pieces.units == whole.units
    assert pieces.effective_rank == whole.effective_rank
    assert (pieces.sample is None) == (whole.sample is None) == (array.size < 1024)
    if whole.sample is not None:
        assert whole.sample.tolist() == pieces.sample.tolist()
    zero_rows = numpy.flatnonzero(~array.any(axis=1))
    assert whole.units[0].dead == len(zero_rows) if array.any() else whole.units == ()


def test_dead_units_are_rows_and_columns_and_of_kernels_the_last_axis():
    noise = numpy.random.default_rng(1)
    array = noise.standard_normal((300, 200)).astype("<f4")
    array[[7, 250]] *= 1e-8
    array[:, 3] = 0
    rows, columns = examined(array).units
    assert (rows.axis, rows.count, rows.dead, rows.first) == ("row", 300, 2, (7, 250))
    assert (columns.axis, columns.count, columns.dead, columns.first) == ("column", 200, 1, (3,))
    convolution = noise.standard_normal((3, 3, 16, 32)).astype("<f4")
    convolution[..., 5] = 0
    (columns,) = examined(convolution, "conv/kernel").units
    assert (columns.axis, columns.count, columns.first) == ("column", 32, (5,))
    (rows,) = examined(convolution, "conv.weight").units
    assert (rows.axis, rows.count, rows.dead) == ("row", 3, 0)


def test_the_real_and_imaginary_part_are_one_column():
    array = numpy.ones((8, 10), "<c8")
    array[:, 4] = 0
    _, columns = examined(array, dtype="c64", cuts=(13,)).units
    assert (columns.count, columns.first) == (10, (4,))


@pytest.mark.parametrize("rank", [1, 3, 10])
def test_the_effective_rank_of_orthogonal_rows_is_their_number(rank):
    noise = numpy.random.default_rng(2)
    basis = numpy.linalg.qr(noise.standard_normal((100, rank)))[0]
    mixed = numpy.linalg.qr(noise.standard_normal((100, rank)))[0]
    assert effective_rank(mixed @ basis.T) == pytest.approx(rank, abs=1e-6)


def test_the_effective_rank_of_nothing_is_not_known():
    assert effective_rank(numpy.zeros((9, 9))) is None
    assert examined(numpy.zeros((7, 100), "<f4")).effective_rank is None


def test_no_more_is_kept_than_a_sample():
    found = examined(numpy.arange(1_000_000, dtype="<f4").reshape(1000, 1000), cuts=(300_001,))
    assert len(found.sample) == SAMPLED
    assert found.ranked == 64
    assert len(numpy.unique(found.sample % 1000)) > 100
