"""Descriptions of arrays of Zarr: the boxes that chunks hold, and what is not read."""

from __future__ import annotations

import json

import pytest

from lamella.core.errors import FormatError
from lamella.formats.base import Box
from lamella.formats.zarr_array import read_array


def described(**changes) -> bytes:
    held = {
        "zarr_format": 2, "shape": [5, 3], "chunks": [2, 3], "dtype": "<f4", "order": "C", "fill_value": None,
        "compressor": {"id": "zstd", "level": 1}, "filters": None,
    }  # fmt: skip
    return json.dumps(held | changes).encode()


def test_chunks_at_the_edge_are_padded():
    array = read_array("a", described())
    assert (array.spec.shape, array.spec.dtype.name, array.chunk.nbytes) == ((5, 3), "f32", 24)
    assert list(array.chunks()) == [
        ("0.0", Box((0, 0), (2, 3), 0, (12, 4))),
        ("1.0", Box((2, 0), (2, 3), 24, (12, 4))),
        ("2.0", Box((4, 0), (1, 3), 48, (12, 4))),
    ]


def test_a_scalar_is_one_chunk_and_an_empty_array_none():
    assert list(read_array("a", described(shape=[], chunks=[])).chunks()) == [("0", Box((), (), 0, ()))]
    assert list(read_array("a", described(shape=[0, 3])).chunks()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dtype": "bfloat16"}, ("bf16", True, False, True)),
        ({"dtype": ">i2"}, ("i16", True, True, True)),
        ({"compressor": None}, ("f32", False, False, True)),
        ({"fill_value": 1.0}, ("f32", True, False, False)),
        ({"fill_value": -0.0}, ("f32", True, False, False)),
        ({"order": "F", "shape": [5], "chunks": [2]}, ("f32", True, False, True)),
    ],
)
def test_what_an_array_says_of_its_elements(changes, expected):
    array = read_array("a", described(**changes))
    assert (array.spec.dtype.name, array.compressed, array.swapped, array.zeros) == expected


def test_numbers_of_chunks_may_have_slashes_between_them():
    assert [key for key, _ in read_array("a", described(dimension_separator="/")).chunks()] == ["0/0", "1/0", "2/0"]


@pytest.mark.parametrize(
    "changes",
    [
        {"zarr_format": 3},
        {"order": "F"},
        {"filters": [{"id": "delta"}]},
        {"compressor": {"id": "blosc"}},
        {"compressor": "zstd"},
        {"dimension_separator": "-"},
        {"dtype": "int4"},
        {"dtype": [["a", "<f4"]]},
        {"shape": [5]},
        {"shape": [-1, 3]},
        {"shape": [5, 3.0]},
        {"shape": [True, 3]},
        {"shape": 5},
        {"chunks": [0, 3]},
        {"chunks": None},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": [1 << 40, 3]},
        {"shape": [1] * 65, "chunks": [1] * 65},
    ],
)
def test_what_is_not_understood_is_refused(changes):
    with pytest.raises(FormatError):
        read_array("a", described(**changes))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 100_000])
def test_what_is_no_description_is_refused(text):
    with pytest.raises(FormatError):
        read_array("a", text)
