"""The singular values of a difference: exact where the matrix is small, and the leading ones where it is large."""

from __future__ import annotations

import math
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from lamella.model import spectra
from lamella.model.difference import Spectrum
from lamella.model.tensor_differences import Measuring, tensor_differences
from tests.model.sources import by_name, source

SPECTRA = Measuring(spectra=True)


def spectrum(before: np.ndarray, after: np.ndarray) -> Spectrum | None:
    (found,) = tensor_differences(source(1 << 20, w=before), source(1 << 20, w=after), by_name("w"), how=SPECTRA)
    return found.spectrum


def low_rank(rows: int, columns: int, rank: int, scale: float, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    left, right = draw.standard_normal((rows, rank)), draw.standard_normal((rank, columns))
    return left @ right * (scale / math.sqrt(rank))


@pytest.mark.parametrize("shape", [(50, 30), (30, 50), (2, 2), (7, 5, 3, 3), (2000, 20)])
def test_small_matrices_have_all_their_values(shape):
    draw = np.random.default_rng(3)
    a, b = draw.standard_normal((2, *shape))
    found = spectrum(a, b)
    exact = np.linalg.svd((b - a).reshape(shape[0], -1), compute_uv=False)
    assert found.exact
    assert found.values == pytest.approx(exact[:64], rel=1e-6)
    shares = exact / exact.sum()
    assert found.effective_rank == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    energy = np.cumsum(exact**2) / (exact**2).sum()
    assert found.rank == int((energy < 0.99).sum()) + 1


@pytest.mark.parametrize("shape", [(300, 400), (400, 300)])
@pytest.mark.parametrize("limits", [(2000, 1 << 22), (100, 100)])
def test_a_low_rank_update_is_called_by_its_rank(monkeypatch, shape, limits):
    monkeypatch.setattr(spectra, "EXACT_SIDE", limits[0])
    monkeypatch.setattr(spectra, "EXACT_ELEMENTS", limits[1])
    before = np.random.default_rng(0).standard_normal(shape).astype("f4") * np.float32(0.02)
    update = low_rank(*shape, 16, 1e-3)
    found = spectrum(before.astype("f8"), before + update)
    assert (found.rank, found.distinct, found.exact) == (16, 16, limits[0] == 2000)
    assert found.effective_rank <= 16.1
    exact = np.linalg.svd(update, compute_uv=False)
    assert found.values[:16] == pytest.approx(exact[:16], rel=1e-4)


def test_rounding_to_bf16_does_not_hide_a_low_rank_update(monkeypatch):
    monkeypatch.setattr(spectra, "EXACT_SIDE", 100)
    before = (np.random.default_rng(0).standard_normal((400, 500)) * 0.02).astype(ml_dtypes.bfloat16)
    after = (before.astype("f8") + low_rank(400, 500, 16, 1e-4)).astype(ml_dtypes.bfloat16)
    found = spectrum(before, after)
    assert found.distinct == 16
    assert found.rank > 16


def test_noise_stands_out_of_nothing(monkeypatch):
    monkeypatch.setattr(spectra, "EXACT_SIDE", 100)
    draw = np.random.default_rng(1)
    a = draw.standard_normal((400, 500))
    b = a + draw.standard_normal(a.shape) * 1e-3
    found = spectrum(a, b)
    assert (found.distinct, found.exact) == (0, False)
    exact = np.linalg.svd(b - a, compute_uv=False)
    shares = exact / exact.sum()
    assert found.effective_rank == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=0.2)
    assert 250 < found.rank <= 400
    assert found.values[0] == pytest.approx(exact[0], rel=0.15)


def test_the_same_difference_has_the_same_spectrum(monkeypatch):
    monkeypatch.setattr(spectra, "EXACT_SIDE", 10)
    draw = np.random.default_rng(1)
    a, b = draw.standard_normal((2, 200, 300))
    found = spectrum(a, b)
    assert found is not None
    assert found == spectrum(a, b)


def test_what_is_no_matrix_or_did_not_change_has_no_spectrum():
    draw = np.random.default_rng(1)
    vector = draw.standard_normal(50)
    assert spectrum(vector, vector + 1) is None
    assert spectrum(vector.reshape(1, 50), vector.reshape(1, 50) + 1) is None
    matrix = draw.standard_normal((5, 6))
    assert spectrum(matrix, matrix) is None


def test_a_matrix_with_too_many_rows_has_no_spectrum(monkeypatch):
    monkeypatch.setattr(spectra, "EXACT_SIDE", 10)
    monkeypatch.setattr(spectra, "SKETCH_NUMBERS", 8 * 500 - 1)
    a, b = np.random.default_rng(1).standard_normal((2, 200, 300))
    assert spectrum(a, b) is None


def test_what_is_not_finite_is_taken_as_no_change():
    a = np.random.default_rng(1).standard_normal((20, 30))
    b = a + low_rank(20, 30, 1, 1.0)
    b[0, :] = a[0, :]
    exact = spectrum(a, b)
    b[0, 5], a[0, 7] = np.nan, np.inf
    assert spectrum(a, b) == exact


def test_memory_is_for_numbers_of_rows_and_columns_only(monkeypatch):
    monkeypatch.setattr(spectra, "EXACT_SIDE", 100)
    a = np.zeros((3000, 2000), "f4")
    b = low_rank(3000, 2000, 4, 1.0).astype("f4")
    sides = source(1 << 20, w=a), source(1 << 20, w=b)
    tracemalloc.start()
    (found,) = tensor_differences(*sides, by_name("w"), how=SPECTRA)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.spectrum.rank == 4
    assert peak < 3000 * 2000 * 8  # one side, in doubles


@pytest.mark.parametrize("exact_side", [1024, 4])
def test_differences_whose_squares_overflow_have_the_spectrum_of_smaller_ones(monkeypatch, exact_side):
    monkeypatch.setattr(spectra, "EXACT_SIDE", exact_side)
    draw = np.random.default_rng(2)
    step = draw.standard_normal((40, 2)) @ draw.standard_normal((2, 30))
    small, large = (spectrum(np.zeros((40, 30)), step * size) for size in (1.0, 2.0**520))
    assert (large.rank, large.distinct) == (small.rank, small.distinct)
    assert large.effective_rank == pytest.approx(small.effective_rank, rel=1e-9)
    assert large.values[:2] == pytest.approx([value * 2.0**520 for value in small.values[:2]], rel=1e-9)
