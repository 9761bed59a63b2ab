"""Tensors that point anywhere into a file: spans, views and parts, and reading views back."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core import limits
from lamella.core.dtypes import dtype_named
from lamella.core.errors import FormatError
from lamella.core.tensors import TensorSpec
from lamella.formats import arrange as arranging
from lamella.formats import scatter as writing
from lamella.formats import strided as reading
from lamella.formats.arrange import arrange, row_major, strided
from lamella.formats.base import Box, TensorSpan, TensorView
from lamella.formats.file import BytesFile
from lamella.formats.scatter import write_view
from lamella.formats.strided import read_view
from lamella.testing.formats import check_spans, reassembled

F32 = dtype_named("f32")
DTYPES = {"f32": "<f4", "f16": "<f2", "u8": "u1", "c64": "<c8"}


def spec(name, *shape, dtype="f32"):
    return TensorSpec(name, dtype_named(dtype), shape)


def viewed(data, view):
    return b"".join(read_view(BytesFile(data), view))


@st.composite
def strided_arrays(draw):
    """Draw a file, where an array lies in it, and the array."""
    dtype = draw(st.sampled_from(sorted(DTYPES)))
    base = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    size = int(np.prod(base))
    seed = draw(st.integers(0, 99))
    file = random.Random(seed).randbytes(size * np.dtype(DTYPES[dtype]).itemsize)
    array = np.frombuffer(file, DTYPES[dtype]).reshape(base)
    array = array.transpose(draw(st.permutations(range(len(base)))))
    cuts = tuple(slice(draw(st.integers(0, n - 1)), None, draw(st.integers(1, 2))) for n in array.shape)
    array = array[cuts]
    offset = array.__array_interface__["data"][0] - np.frombuffer(file, np.uint8).__array_interface__["data"][0]
    return file, offset, dtype, array


@given(strided_arrays(), st.sampled_from([1, 16, 1 << 20]))
def test_a_view_reads_as_numpy_does(drawn, gathered):
    file, offset, dtype, array = drawn
    found = strided(spec("x", *array.shape, dtype=dtype), offset, array.strides)
    boxes = (Box((0,) * array.ndim, array.shape, offset, array.strides),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "GATHER_NBYTES", gathered)
        assert viewed(file, TensorView(found.spec, boxes)) == array.tobytes()
    if isinstance(found, TensorSpan):
        assert file[offset : offset + array.nbytes] == array.tobytes()
    layout = arrange("test", len(file), [found])
    check_spans(layout)
    assert reassembled(file, layout) == file


@given(strided_arrays(), st.sampled_from([1, 16, 1 << 20]), st.booleans())
def test_a_view_is_written_where_numpy_writes_it(drawn, gathered, swapped):
    file, offset, dtype, array = drawn
    boxes = (Box((0,) * array.ndim, array.shape, offset, array.strides),)
    view = TensorView(spec("x", *array.shape, dtype=dtype), boxes, swapped)
    made, expected = bytearray(file), bytearray(file)
    held = random.Random(1).randbytes(array.nbytes)
    items = np.frombuffer(held, np.uint8).reshape(-1, view.spec.dtype.item_nbytes)
    lying = items[:, ::-1].tobytes() if swapped else held
    written = np.frombuffer(lying, array.dtype).reshape(array.shape)
    np.ndarray(array.shape, array.dtype, expected, offset, array.strides)[...] = written

    def write(data, at):
        made[at : at + len(data)] = data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "GATHER_NBYTES", gathered)
        patch.setattr(writing, "GATHER_NBYTES", gathered)
        write_view(BytesFile(made), write, view, [held[: len(held) // 3], held[len(held) // 3 :]])
    assert bytes(made) == bytes(expected)
    assert viewed(bytes(made), view) == held


def test_the_other_byte_order_is_a_view():
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    found = strided(spec("x", 2, 3), 0, row_major(spec("x", 2, 3)), swapped=True)
    assert isinstance(found, TensorView)
    assert viewed(array.tobytes(), found) == array.astype("<f4").tobytes()
    assert isinstance(strided(spec("x", 4, dtype="u8"), 0, (1,), swapped=True), TensorSpan)


def test_tiles_make_up_a_tensor():
    array = np.arange(24, dtype="<f4").reshape(4, 6)
    tiles = [array[i : i + 2, j : j + 3].copy() for i in (0, 2) for j in (0, 3)]
    origins = [(i, j) for i in (0, 2) for j in (0, 3)]
    boxes = tuple(Box(origin, (2, 3), 24 * n, (12, 4)) for n, origin in enumerate(origins))
    file = b"".join(tile.tobytes() for tile in tiles)
    view = TensorView(spec("x", 4, 6), boxes)
    assert viewed(file, view) == array.tobytes()
    assert arrange("test", len(file), [view]).views == (view,)


def test_a_scalar_and_an_element_that_repeats():
    file = np.arange(3, dtype="<f4").tobytes()
    assert viewed(file, TensorView(spec("x"), (Box((), (), 4, ()),))) == file[4:8]
    assert viewed(file, TensorView(spec("x", 2, 2), (Box((0, 0), (2, 2), 8, (0, 0)),))) == file[8:] * 4


def test_tied_tensors_are_one_span_and_views():
    spans = [TensorSpan(spec("a", 4), 0), TensorSpan(spec("b", 2, 2), 0), TensorSpan(spec("c", 2), 8)]
    layout = arrange("test", 20, [*spans, TensorSpan(spec("d", 1), 16)])
    assert [span.spec.name for span in layout.tensors] == ["a", "d"]
    assert [view.spec.name for view in layout.views] == ["b", "c"]


def test_blocks_are_tied_sliced_and_kept_whole(monkeypatch):
    monkeypatch.setattr(arranging, "LEAST_PART_NBYTES", 16)
    file = random.Random(0).randbytes(18 * 8)
    whole, tied = spec("a", 2, 96, dtype="q4_0"), spec("b", 64, dtype="q4_0")
    turned = strided(spec("c", 2, 32, dtype="q4_0"), 18 * 5, (18 * 2, 18))
    layout = arrange("test", len(file), [TensorSpan(whole, 0), TensorSpan(tied, 18 * 2), turned])
    assert [(span.spec.name, span.spec.shape, span.part) for span in layout.tensors] == [
        ("a", (2, 96), False), ("c", (64,), True),
    ]  # fmt: skip
    found = {view.spec.name: viewed(file, view) for view in layout.views}
    assert found == {"b": file[18 * 2 : 18 * 4], "c": file[18 * 5 : 18 * 6] + file[18 * 7 :]}
    assert isinstance(strided(whole, 0, row_major(whole)), TensorSpan)


def test_views_stand_in_the_order_given():
    turned = TensorView(spec("t", 2, 2), (Box((0, 0), (2, 2), 0, (4, 8)),))
    layout = arrange("test", 20, [TensorSpan(spec("z", 2), 8), TensorSpan(spec("a", 4), 0), turned])
    assert [view.spec.name for view in layout.views] == ["z", "t"]


def test_bytes_that_only_views_have_become_parts(monkeypatch):
    monkeypatch.setattr(arranging, "LEAST_PART_NBYTES", 16)
    turned = TensorView(spec("t", 4, 4), (Box((0, 0), (4, 4), 64, (4, 16)),))
    layout = arrange("test", 200, [TensorSpan(spec("a", 4), 64), turned, TensorSpan(spec("z", 2), 180)])
    assert [(span.spec.name, span.offset, span.spec.nbytes, span.part) for span in layout.tensors] == [
        ("a", 64, 16, False), ("t", 80, 48, True), ("z", 180, 8, False),
    ]  # fmt: skip
    check_spans(layout)


def test_few_bytes_of_views_stay_in_the_skeleton():
    turned = TensorView(spec("t", 4, 4), (Box((0, 0), (4, 4), 0, (4, 16)),))
    assert arrange("test", 64, [turned]).tensors == ()


def test_empty_tensors_lie_anywhere():
    layout = arrange("test", 16, [TensorSpan(spec("a", 4), 0), TensorSpan(spec("none", 0), 7)])
    check_spans(layout)
    assert {span.spec.name for span in layout.tensors} == {"a", "none"}


@pytest.mark.parametrize(
    ("kind", "tensors"),
    [
        ("name-duplicate", [TensorSpan(spec("a", 1), 0), TensorSpan(spec("a", 1), 4)]),
        ("span-out-of-file", [TensorSpan(spec("a", 3), 8)]),
        ("span-out-of-file", [TensorView(spec("a", 2), (Box((0,), (2,), 8, (8,)),))]),
        ("span-out-of-file", [TensorView(spec("a", 2), (Box((0,), (2,), 8, (-4,)),))]),
        ("span-overlap", [TensorView(spec("a", 2), (Box((0,), (1,), 0, (4,)),))]),
        ("span-overlap", [TensorView(spec("a", 1 << 40), (Box((0,), (1 << 40,), 0, (0,)),))]),
        ("span-overlap", [TensorSpan(spec("a", 4, dtype="f4_e2m1"), 0), TensorSpan(spec("b", 2, dtype="f4_e2m1"), 0)]),
    ],
)
def test_what_cannot_be_is_refused(kind, tensors):
    with pytest.raises(FormatError) as raised:
        arrange("test", 16, tensors)
    assert raised.value.kind == kind


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12), st.booleans()), max_size=12), st.integers(1, 40))
def test_any_claims_make_a_sound_layout(claims, least):
    tensors = []
    for number, (start, count, turned) in enumerate(claims):
        if turned and start + 8 * count <= 120:
            view = Box((0,), (count,), start, (8,)) if count else Box((0,), (0,), start, (8,))
            tensors.append(TensorView(spec(str(number), count, dtype="u8"), (view,)))
        else:
            tensors.append(TensorSpan(spec(str(number), count), start))
    data = random.Random(0).randbytes(120)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arranging, "LEAST_PART_NBYTES", least)
        layout = arrange("test", len(data), tensors)
    check_spans(layout)
    assert reassembled(data, layout) == data
    spans = {span.spec.name for span in layout.tensors if not span.part}
    assert spans | {view.spec.name for view in layout.views} == {str(number) for number in range(len(claims))}
    assert limits.LEAST_PART_NBYTES == 64 * limits.KIB


def test_elements_far_apart_are_gathered_in_little_time():
    array = np.arange(1 << 20, dtype="<f4")
    view = TensorView(spec("x", 1 << 16), (Box((0,), (1 << 16,), 0, (64,)),))
    began = time.process_time()
    assert viewed(array.tobytes(), view) == array[::16].tobytes()
    assert time.process_time() - began < 1


def test_a_tensor_without_elements_is_read_at_once_however_long_its_axes_are():
    assert viewed(b"", TensorView(spec("x", 1 << 62, 0), (Box((0, 0), (1 << 62, 0), 0, (0, 0)),))) == b""


def test_axes_of_one_element_may_be_as_many_as_a_tensor_may_have_and_step_anywhere():
    shape = (2, *(1 for _ in range(63)))
    strides = (8, *(1 << 70 for _ in range(63)))
    view = TensorView(spec("x", *shape), (Box((0,) * 64, shape, 0, strides),))
    assert viewed(bytes(range(12)), view) == bytes([0, 1, 2, 3, 8, 9, 10, 11])


def test_many_views_that_span_the_whole_file_are_refused(monkeypatch):
    monkeypatch.setattr(arranging, "LEAST_VIEWS_NBYTES", 1000)
    views = [TensorView(spec(str(n), 2, dtype="u8"), (Box((0,), (2,), 0, (999,)),)) for n in range(20)]
    assert arrange("test", 1000, views[:16]).views
    with pytest.raises(FormatError, match="far more bytes"):
        arrange("test", 1000, views)
