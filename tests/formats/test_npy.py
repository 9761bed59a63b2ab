"""NumPy's files of one array: the suite, every array as NumPy has it, and headers that nobody should write."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lamella.core.errors import FormatError
from lamella.formats.base import TensorView
from lamella.formats.file import BytesFile
from lamella.formats.numpy.npy import NpyFormat
from lamella.repo.arrays import spec_of
from lamella.testing.formats import FormatSuite, check_spans, reassembled
from tests.formats.contents import values

FORMAT = NpyFormat()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "npy"
PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def file_of(text: str, data: bytes = bytes(24), *, major: int = 1, minor: int = 0, nbytes: int | None = None) -> bytes:
    header = text.encode("utf-8")
    length = (len(header) if nbytes is None else nbytes).to_bytes(2 if major == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([major, minor]) + length + header + data


class TestConformance(FormatSuite):
    format = FORMAT
    mutations = 300

    def files(self):
        arrays = [np.arange(6, dtype="f4").reshape(2, 3), np.asfortranarray(np.ones((3, 4))), np.arange(9, dtype=">i8")]
        return [*map(saved, arrays), saved(np.array(["text"])), file_of(PLAIN, major=2), file_of(PLAIN, major=3)]


@given(
    hnp.arrays(
        st.sampled_from(["?", "u1", "i1", "<u2", ">u2", "<i4", ">i8", "<f2", ">f4", "<f8", "<c8", ">c16"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    st.booleans(),
)
def test_arrays_are_what_numpy_saved(array, in_columns):
    array = np.asfortranarray(array) if in_columns else array
    data = saved(array)
    spec, whole = spec_of("array", array)
    assert values(FORMAT, data) == {"array": (spec.dtype.name, spec.shape, whole.tobytes())}
    layout = FORMAT.layout(BytesFile(data))
    check_spans(layout)
    assert reassembled(data, layout) == data


def test_columns_and_the_other_byte_order_are_views_of_one_part():
    for array in (np.asfortranarray(np.ones((200, 300))), np.ones(60_000, ">f8")):
        layout = FORMAT.layout(BytesFile(saved(array)))
        (view,), (part,) = layout.views, layout.tensors
        assert isinstance(view, TensorView)
        assert (part.part, part.spec.nbytes) == (True, array.nbytes)


@pytest.mark.parametrize("name", ["structured", "text", "dates", "objects"])
def test_what_is_no_number_is_no_tensor(name):
    layout = FORMAT.layout(BytesFile((GOLDEN / f"{name}.npy").read_bytes()))
    assert (layout.tensors, layout.views) == ((), ())
    assert "descr" in FORMAT.metadata(BytesFile((GOLDEN / f"{name}.npy").read_bytes()))["header"]


@pytest.mark.parametrize(
    "text",
    [
        "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
        "  {'descr':'<f4','fortran_order':False,'shape':(2,3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
    ],
)
def test_other_writers_are_understood(text):
    assert values(FORMAT, file_of(text))["array"][:2] == ("f32", (2, 3))


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|f4', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|V4', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2*3,), }",
        "{'descr': '<f4', 'fortran_order': (1,), 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': True, }",
        "{'descr': '<f4', 'fortran_order': False}",
        "{" * 60_000,
        "{'descr': " + "[" * 60_000,
        "{'descr': '<f4', 'fortran_order': " + "-" * 60_000 + "1, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 30_000 + "x)}",
    ],
    ids=lambda text: text[:60],
)
def test_a_header_that_is_not_understood_leaves_bytes(text):
    started = time.process_time()
    assert FORMAT.layout(BytesFile(file_of(text))).tensors == ()
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("header-malformed", b"\x93NUMPX" + bytes(20)),
        ("header-malformed", b"\x93NUMPY\1"),
        ("header-malformed", file_of(PLAIN, major=4)),
        ("header-malformed", file_of(PLAIN, minor=1)),
        ("header-malformed", file_of("__import__('os')")),
        ("header-malformed", file_of(PLAIN.replace("descr", "shape"))),
        ("header-malformed", file_of("{'shape': (1,), 'shape': (2,), 'descr': '<f4'}")),
        ("header-malformed", file_of(PLAIN.replace("(2, 3)", "(4294967296, 4294967296)"))),
        ("header-malformed", file_of(PLAIN.replace("(2, 3)", "(9999999999999999999, 0)"))),
        ("header-malformed", file_of(PLAIN.replace("(2, 3)", "(0, 9999999999999999999)"))),
        ("header-malformed", file_of(PLAIN.replace("(2, 3)", "(" + "1, " * 65 + ")"))),
        ("span-out-of-file", file_of(PLAIN, bytes(23))),
        ("file-truncated", file_of(PLAIN, b"", nbytes=200)),
        ("file-truncated", file_of(PLAIN, b"", major=2, nbytes=(1 << 32) - 1)),
        ("header-too-large", file_of(PLAIN.ljust(70_000), major=2)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_cannot_be_is_refused(kind, data):
    with pytest.raises(FormatError) as raised:
        FORMAT.layout(BytesFile(data))
    assert raised.value.kind == kind


def test_what_stands_behind_the_array_is_kept():
    data = saved(np.arange(3)) + saved(np.arange(4))
    layout = FORMAT.layout(BytesFile(data))
    assert len(layout.tensors) == 1
    assert reassembled(data, layout) == data
