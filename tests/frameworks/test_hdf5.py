"""HDF5 files of many kinds, through a repository and back into h5py."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lamella.formats.file import BytesFile
from lamella.formats.hdf5.reader import Hdf5Format
from lamella.formats.strided import read_view
from tests.frameworks.trip import folder_round_trip

PATTERNS = ("*.h5",)


@pytest.fixture
def bench(bench):
    (bench.root / "models").mkdir()
    return bench


def fill(file: h5py.File, seed: int) -> dict[str, np.ndarray]:
    """Write datasets of any shape, type and layout; return those that are tensors."""
    choices = np.random.default_rng(seed)
    written = {}
    for number in range(int(choices.choice([3, 30, 700]))):
        shape = tuple(int(n) for n in choices.integers(1, 9, choices.integers(0, 4)))
        dtype = str(choices.choice(["<f4", "<f2", ">f8", "<i8", ">i2", "u1", "?", "<c8"]))
        values = choices.integers(0, 2, shape).astype(dtype)
        options = {}
        if shape and choices.random() < 0.4:
            options["chunks"] = tuple(int(choices.integers(1, n + 1)) for n in shape)
            options["maxshape"] = tuple(int(n * choices.integers(1, 3)) for n in shape)
        path = f"group {number % 7}/part {number % 3}/tensor {number}"
        file.create_dataset(path, data=values, **options)
        file[path].attrs["note"] = "x" * int(choices.integers(0, 99))
        written[path] = values.astype(values.dtype.newbyteorder("<"))
    for number in range(int(choices.integers(0, 40))):
        file.attrs[f"attribute {number}"] = str(number)
    return written


def read(data: bytes) -> dict[str, bytes]:
    layout = Hdf5Format().layout(BytesFile(data))
    found = {one.spec.name: data[one.offset :][: one.spec.nbytes] for one in layout.tensors if not one.part}
    return found | {view.spec.name: b"".join(read_view(BytesFile(data), view)) for view in layout.views}


@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "v112", "latest"])
@pytest.mark.parametrize("seed", range(6))
def test_tensors_are_those_that_h5py_reads(tmp_path, seed, libver):
    with h5py.File(tmp_path / "x.h5", "w", libver=libver, track_order=seed % 2 == 1) as file:
        written = fill(file, seed)
    data = (tmp_path / "x.h5").read_bytes()
    assert read(data) == {path: values.tobytes() for path, values in written.items()}
    metadata = Hdf5Format().metadata(BytesFile(data))
    with h5py.File(tmp_path / "x.h5") as file:
        assert {key: value for key, value in metadata.items() if "@" not in key} == dict(file.attrs)


@pytest.mark.parametrize("rows", [1, 4, 5, 21, 100, 1500, 9000, 30_000])
def test_datasets_that_grow_without_end_are_read(tmp_path, rows):
    values = np.arange(rows * 2, dtype="<i4").reshape(rows, 2)
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        file.create_dataset("x", data=values, chunks=(1, 2), maxshape=(None, 2))
        file.create_dataset("y", data=values[:, :1], chunks=(3, 1), maxshape=(None, 5))
    assert read((tmp_path / "x.h5").read_bytes()) == {"x": values.tobytes(), "y": values[:, :1].tobytes()}


def test_files_come_back(bench):
    for seed, libver in enumerate(["earliest", "latest", "v110"]):
        with h5py.File(bench.root / "models" / f"{libver}.h5", "w", libver=libver) as file:
            written = fill(file, 10 + seed)
            large = np.random.default_rng(seed).standard_normal((300, 500)).astype("f4")
            file.create_dataset("large", data=large, chunks=(64, 64))
            file.create_dataset("compressed", data=large, compression="gzip")
    manifest = folder_round_trip(bench, "models", "models/v110.h5")
    assert "format hdf5" in manifest
    with h5py.File(bench.root / "models" / "v110.h5") as file:
        for path, values in written.items():
            np.testing.assert_array_equal(file[path][()], values)
        np.testing.assert_array_equal(file["large"][()], large)
        np.testing.assert_array_equal(file["compressed"][()], large)
