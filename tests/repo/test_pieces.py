"""Tensors put together from pieces: which pieces make one up, and reading it across them."""

from __future__ import annotations

import time
from itertools import product
from unittest.mock import patch

import numpy
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIVIDED_AXES
from lamella.core.tensors import TensorSpec
from lamella.formats import strided
from lamella.formats.arrange import row_major
from lamella.formats.base import Box, TensorView
from lamella.formats.file import BytesFile
from lamella.repo.pieces import JoinedPieces, Piece, make_up

Extents = tuple[int, ...]
Boxes = list[tuple[Extents, Extents]]


class Held:
    """Arrays as the tensors of a file; those called `turned` lie column by column."""

    def __init__(self, arrays: dict[str, numpy.ndarray]) -> None:
        self.path = "held"
        self.arrays = arrays
        self.specs = {name: TensorSpec(name, DTYPES["f32"], array.shape) for name, array in arrays.items()}

    def locate(self, name: str) -> tuple[BytesFile, TensorView]:
        array, spec = self.arrays[name], self.specs[name]
        turned = name.startswith("turned")
        strides = tuple(reversed(row_major(TensorSpec("", spec.dtype, spec.shape[::-1])))) if turned else None
        data = array.tobytes("F" if turned else "C")
        box = Box((0,) * array.ndim, array.shape, 3, strides or row_major(spec))
        return BytesFile(b"abc" + data), TensorView(spec, (box,))

    def object_ids(self, names: list[str]) -> list[bytes]:
        return [blake3(self.arrays[name].tobytes()).digest() for name in names]


def cut(draw: st.DrawFn, origin: Extents, extents: Extents, depth: int) -> Boxes:
    """Cut a box along an axis, and the halves again."""
    axes = [axis for axis, n in enumerate(extents) if n]
    if not depth or not axes or draw(st.booleans()):
        return [(origin, extents)]
    axis = draw(st.sampled_from(axes))
    at = draw(st.integers(0, extents[axis]))
    first = (*extents[:axis], at, *extents[axis + 1 :])
    second = (*extents[:axis], extents[axis] - at, *extents[axis + 1 :])
    behind = (*origin[:axis], origin[axis] + at, *origin[axis + 1 :])
    return cut(draw, origin, first, depth - 1) + cut(draw, behind, second, depth - 1)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[Extents, Boxes]:
    """Return a shape, and boxes that make it up, in any order."""
    shape = tuple(draw(st.lists(st.integers(0, 7), max_size=4)))
    boxes = cut(draw, (0,) * len(shape), shape, 4)
    return shape, draw(st.permutations(list(dict.fromkeys(boxes))))


def piece(origin: Extents, extents: Extents, holder: object = None, name: str = "") -> Piece:
    return Piece(holder, name, origin, extents)


def counted(shape: Extents, boxes: Boxes) -> numpy.ndarray:
    """Return how many boxes have each element."""
    counts = numpy.zeros(shape, int)
    for origin, extents in boxes:
        counts[tuple(slice(start, start + n) for start, n in zip(origin, extents, strict=True))] += 1
    return counts


@given(tilings())
def test_boxes_that_were_cut_from_a_tensor_make_it_up(tiling):
    shape, boxes = tiling
    assert make_up(shape, [piece(*box) for box in boxes])


@given(tilings(), st.data())
def test_boxes_make_up_a_tensor_exactly_where_each_element_is_in_one(tiling, data):
    shape, boxes = tiling
    origin, extents = boxes[data.draw(st.integers(0, len(boxes) - 1))]
    other = [data.draw(st.integers(0, n)) for n in shape]
    change = data.draw(st.sampled_from(["drop", "repeat", "move"]))
    if change == "drop":
        boxes = [box for box in boxes if box != (origin, extents)]
    elif change == "repeat":
        boxes = [*boxes, (origin, extents)]
    else:
        moved = tuple(min(a, n - m) for a, n, m in zip(other, shape, extents, strict=True))
        boxes = [box for box in boxes if box != (origin, extents)] + [(moved, extents)]
    assert make_up(shape, [piece(*box) for box in boxes]) == bool((counted(shape, boxes) == 1).all())


def test_boxes_outside_and_a_pinwheel():
    assert not make_up((4,), [piece((0,), (5,))])
    assert not make_up((4,), [piece((4,), (1,)), piece((0,), (4,))])
    pinwheel = [((0, 0), (1, 2)), ((0, 2), (2, 1)), ((1, 0), (2, 1)), ((2, 1), (1, 2)), ((1, 1), (1, 1))]
    assert make_up((3, 3), [piece(*box) for box in pinwheel])
    assert not make_up((3, 3), [piece(*box) for box in pinwheel[:-1]])
    assert make_up((), [piece((), ())])
    assert not make_up((), [piece((), ()), piece((), ())])


def test_pieces_of_too_many_axes_are_refused():
    def halves(axes: int) -> list[Piece]:
        return [piece(origin, (1,) * axes) for origin in product((0, 1), repeat=axes)]

    assert make_up((2,) * MAX_DIVIDED_AXES, halves(MAX_DIVIDED_AXES))
    with pytest.raises(FormatError, match="divided along"):
        make_up((2,) * (MAX_DIVIDED_AXES + 1), halves(MAX_DIVIDED_AXES + 1))


def test_many_pieces_are_checked_at_once():
    pieces = [piece((n, 0, 0), (1, 4, 4)) for n in range(100_000)]
    started = time.process_time()
    assert make_up((100_000, 4, 4), pieces)
    assert not make_up((100_001, 4, 4), pieces)
    assert time.process_time() - started < 10


def test_of_very_many_pieces_only_those_near_are_looked_at(monkeypatch):
    monkeypatch.setattr(strided, "GATHER_NBYTES", 1 << 16)

    class Zeros:
        nbytes = 1 << 40

        def read_at(self, offset: int, nbytes: int) -> bytes:
            return bytes(nbytes)

    spec = TensorSpec("w", DTYPES["f32"], (20_000, 1000))
    boxes = tuple(Box((n, 0), (1, 1000), n * 4000, (4000, 4)) for n in range(20_000))
    started = time.process_time()
    assert sum(map(len, strided.read_view(Zeros(), TensorView(spec, boxes)))) == spec.nbytes
    assert time.process_time() - started < 10


def joined(shape: Extents, boxes: Boxes, prefix: str) -> tuple[numpy.ndarray, JoinedPieces]:
    whole = numpy.random.default_rng(0).standard_normal(shape, numpy.float32)
    found = []
    for number, (origin, extents) in enumerate(boxes):
        where = tuple(slice(start, start + n) for start, n in zip(origin, extents, strict=True))
        name = f"{prefix} {number}"
        found.append(piece(origin, extents, Held({name: numpy.ascontiguousarray(whole[where])}), name))
    return whole, JoinedPieces("folder", {"w": (TensorSpec("w", DTYPES["f32"], shape), found)})


@pytest.mark.parametrize("prefix", ["plain", "turned"])
@given(tiling=tilings(), data=st.data())
def test_a_tensor_reads_as_if_it_were_whole(prefix, tiling, data):
    shape, boxes = tiling
    whole, tensors = joined(shape, boxes, prefix)
    nbytes = whole.nbytes
    start, stop = sorted(data.draw(st.integers(0, nbytes)) for _ in range(2))
    assert tensors.specs["w"].shape == shape
    with patch.object(strided, "GATHER_NBYTES", data.draw(st.sampled_from([8, 100, 1 << 24]))):
        assert tensors.read("w") == whole.tobytes()
        assert tensors.read("w", start, stop) == whole.tobytes()[start:stop]
        assert tensors.object_ids(["w"]) == [blake3(whole.tobytes()).digest()]


@pytest.mark.parametrize("axis", [0, 1])
def test_a_large_tensor_is_read_in_pieces_of_bounded_length(monkeypatch, axis):
    monkeypatch.setattr(strided, "GATHER_NBYTES", 1 << 12)
    shape = (256, 64)
    along = [((16 * n, 0), (16, 64)) for n in range(16)]
    boxes = along if axis == 0 else [((0, 4 * n), (256, 4)) for n in range(16)]
    whole, tensors = joined(shape, boxes, "plain")
    (pieces,) = tensors.stream(["w"])
    found = list(pieces)
    assert max(map(len, found)) <= 1 << 12
    assert b"".join(found) == whole.tobytes()
