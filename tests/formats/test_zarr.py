"""Zarr's chunks: of every dtype and order, and descriptions that lie."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.zarr import ZarrFormat
from tests.formats.beside import beside, contents

FORMAT = ZarrFormat()


def description(**changes: object) -> bytes:
    plain = {"zarr_format": 2, "shape": [5, 7], "chunks": [2, 3], "dtype": "<f4", "compressor": None, "filters": None}
    return json.dumps({**plain, "order": "C", "fill_value": 0, **changes}).encode()


def layout_of(data: bytes, described: bytes, name: str = "0.1"):
    return FORMAT.layout(BytesFile(data), beside(name, {".zarray": described, name: data}))


@pytest.mark.parametrize("code", ["<f4", ">f4", "|b1", "<i8", ">u2", "|i1", "<c8", ">c16", "<f2", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_chunk_of_any_dtype_and_order_is_one_tensor(code, order):
    values = np.arange(24).astype(code).reshape(2, 3, 4)
    described = description(shape=[2, 3, 4], chunks=[2, 3, 4], dtype=code, order=order)
    data = values.tobytes(order)
    little = values.astype(values.dtype.newbyteorder("<"))
    plain = description(shape=[24], chunks=[24], dtype=little.dtype.str)
    found = contents(data, layout_of(data, described, "0.0.1"))["0.0.1"]
    expected = contents(little.tobytes(), layout_of(little.tobytes(), plain, "0"))["0"]
    assert found == [expected[0], [2, 3, 4], expected[2]]


def test_a_scalar_and_a_named_dtype_are_read():
    (span,) = layout_of(bytes(2), description(shape=[], chunks=[], dtype="bfloat16"), "0").tensors
    assert (span.spec.name, span.spec.dtype.name, span.spec.shape) == ("0", "bf16", ())


@pytest.mark.parametrize(
    "described",
    [
        description(compressor={"id": "zstd", "level": 1}),
        description(filters=[{"id": "delta"}]),
        description(dtype="|S4"),
        description(dtype=[["a", "<f4"]]),
        description(dtype="int4"),
        description(dtype="<f16"),
    ],
)
def test_what_is_encoded_is_not_described(described):
    assert layout_of(bytes(24), described) is None


@pytest.mark.parametrize("name", ["model.bin", ".zattrs", "0.", "0.a", "-1.0", "\u0661.0", ""])
def test_a_file_that_is_no_chunk_is_not_described(name):
    assert layout_of(bytes(24), description(), name) is None
    assert FORMAT.layout(BytesFile(b""), beside("0.0", {"0.0": b""})) is None


@pytest.mark.parametrize(
    ("described", "kind"),
    [
        (b"", "header-malformed"),
        (b"[" * 60_000, "header-malformed"),
        (b"\xff\xfe", "header-malformed"),
        (b"[]", "header-malformed"),
        (b" " * 70_000 + description(), "header-too-large"),
        (description(zarr_format=3), "header-malformed"),
        (description(chunks=None), "header-malformed"),
        (description(chunks=[2]), "header-malformed"),
        (description(chunks=[2, -3]), "header-malformed"),
        (description(chunks=[2, 3.0]), "header-malformed"),
        (description(chunks=[2**40, 2**40]), "header-malformed"),
        (description(chunks=[2, 2]), "header-malformed"),
    ],
)
def test_a_description_that_lies_is_refused(described, kind):
    with pytest.raises(FormatError) as caught:
        layout_of(bytes(24), described)
    assert caught.value.kind == kind
