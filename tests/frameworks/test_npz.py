"""NumPy's files, with arrays of NumPy, ml_dtypes and SciPy: kept, restored bit for bit, and loaded again."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse

from tests.frameworks.trip import folder_round_trip

PATTERNS = ("*.npz", "*.npy")


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, shape).astype(np.float32)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_an_archive_comes_back(bench, write):
    arrays = {
        "layer.weight": weights(0, 300, 200), "layer.turned": weights(1, 300, 200).T,
        "big": weights(2, 1000).astype(">f4"), "brain": weights(3, 64, 64).astype(ml_dtypes.bfloat16),
        "none": np.empty((0, 3)), "steps": np.array(7),
    }  # fmt: skip
    write(bench.root / "model.npz", **arrays)
    manifest = folder_round_trip(bench, ".", "model.npz")
    assert "format npz" in manifest
    assert ("layer.turned f32 [200,300]" in manifest) == (write is np.savez)
    with np.load(bench.root / "model.npz") as loaded:
        assert set(loaded) == set(arrays)
        for name, array in arrays.items():
            assert loaded[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("code", ["?", "u1", "<i2", ">i4", "i8", "f2", ">f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("order", "CF")
def test_an_array_comes_back(bench, code, order):
    array = np.asarray(weights(0, 40, 30, 20) * 1000, order=order).astype(code, order=order)
    np.save(bench.root / "array.npy", array)
    manifest = folder_round_trip(bench, ".", "array.npy")
    assert "format npy" in manifest
    assert " [40,30,20]" in manifest
    np.testing.assert_array_equal(np.load(bench.root / "array.npy"), array)


def test_what_is_no_tensor_comes_back(bench):
    objects = np.array([{"a": 1}, None], object)
    np.save(bench.root / "objects.npy", objects)
    np.save(bench.root / "rows.npy", np.zeros(5, [("a", "<f4"), ("b", "<M8[s]")]))
    assert "array" not in folder_round_trip(bench, ".", "objects.npy")
    assert np.load(bench.root / "objects.npy", allow_pickle=True)[0] == {"a": 1}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_sparse_matrix_comes_back(bench, compressed):
    matrix = scipy.sparse.random(300, 200, 0.1, "csr", np.float32, np.random.default_rng(0))
    scipy.sparse.save_npz(bench.root / "matrix.npz", matrix, compressed=compressed)
    manifest = folder_round_trip(bench, ".", "matrix.npz")
    assert ("indptr i32 [301]" in manifest) == (not compressed)
    assert (scipy.sparse.load_npz(bench.root / "matrix.npz") != matrix).nnz == 0
