"""Reading views: elements that lie apart, gathered into row-major order in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from lamella.core.dtypes import dtype_named
from lamella.core.limits import GATHER_NBYTES, KIB
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import extent, row_major
from lamella.formats.base import Box, RandomAccess, TensorView

if TYPE_CHECKING:
    import numpy


_LEAST_RUN_NBYTES = 64 * KIB
_LEAST_SHARE = 4
"""A run is read as a whole where it is no longer than this, or than so many times what is wanted of it."""


def contiguous(spec: TensorSpec, offset: int) -> TensorView:
    """Return the tensor that lies whole from `offset` on; one whose elements share bytes is seen as its bytes."""
    if spec.dtype.bits % 8:
        spec = TensorSpec(spec.name, dtype_named("u8"), (spec.nbytes,))
    return TensorView(spec, (Box((0,) * len(spec.shape), spec.grid, offset, row_major(spec)),))


def read_view(file: RandomAccess, view: TensorView, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop` of a view's tensor, row-major and little-endian, some MiB at a time.

    Raises FormatError (file-truncated) where the file ends before them.
    """
    end = view.spec.nbytes if stop is None else min(stop, view.spec.nbytes)
    element_nbytes = view.spec.dtype.bits // 8
    # NumPy has no arrays of 65 axes, and steps along an axis of one element mean nothing.
    axes = [axis for axis, n in enumerate(view.spec.grid) if n > 1]
    boxes = [narrowed(box, axes) for box in view.boxes]
    at = 0
    near = Near(boxes)
    for origin, shape in slabs(tuple(view.spec.grid[axis] for axis in axes), element_nbytes) if start < end else ():
        following = at + prod(shape) * element_nbytes
        if start < following:
            made = _gathered(file, near.boxes(origin, shape), origin, shape, element_nbytes)
            if view.swapped:
                made = made.reshape(-1, view.spec.dtype.item_nbytes)[:, ::-1]
            yield made.tobytes()[max(0, start - at) : end - at]
        at = following
        if at >= end:
            return


def narrowed(box: Box, axes: Sequence[int]) -> Box:
    """Return a box with some of its axes only."""
    origin, shape, strides = (tuple(field[axis] for axis in axes) for field in (box.origin, box.shape, box.strides))
    return Box(origin, shape, box.offset, strides)


class Near:
    """The boxes that may have elements of a piece, where pieces ascend along the first axis: few of very many."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self._waiting = sorted(enumerate(boxes), key=lambda one: one[1].origin[:1], reverse=True)
        self._near: list[tuple[int, Box]] = []

    def boxes(self, origin: tuple[int, ...], shape: tuple[int, ...]) -> list[Box]:
        """Return those near a piece, in the order in which they were given."""
        first, last = (origin[0], origin[0] + shape[0]) if origin else (0, 1)
        while self._waiting and _along(self._waiting[-1][1])[0] < last:
            self._near.append(self._waiting.pop())
        self._near = sorted((one for one in self._near if _along(one[1])[1] > first), key=lambda one: one[0])
        return [box for _, box in self._near]


def _along(box: Box) -> tuple[int, int]:
    """Return where a box begins and ends on the first axis."""
    return (box.origin[0], box.origin[0] + box.shape[0]) if box.origin else (0, 1)


def slabs(shape: tuple[int, ...], element_nbytes: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield origin and shape of the pieces in which a tensor is gathered, in order.

    The first axes are gone through index by index, one in slabs, and the last are taken whole.
    """
    axis = 0
    while axis < len(shape) and prod(shape[axis + 1 :]) * element_nbytes > GATHER_NBYTES:
        axis += 1
    if axis == len(shape):
        yield (0,) * axis, shape
        return
    rows = max(1, GATHER_NBYTES // max(1, prod(shape[axis + 1 :]) * element_nbytes))
    for index in product(*(range(n) for n in shape[:axis])):
        for first in range(0, shape[axis], rows):
            count = min(rows, shape[axis] - first)
            whole = shape[axis + 1 :]
            yield (*index, first, *(0 for _ in whole)), (*(1 for _ in index), count, *whole)


def _gathered(
    file: RandomAccess, boxes: Sequence[Box], origin: tuple[int, ...], shape: tuple[int, ...], element_nbytes: int
) -> numpy.ndarray[Any, Any]:
    """Return the elements from `origin` on, `shape` of them on each axis."""
    import numpy

    made = numpy.zeros((*shape, element_nbytes), numpy.uint8)  # boxes that overlap leave gaps
    for box in boxes:
        found = overlap(box, origin, shape)
        if found is not None:
            part, where = found
            _read_into(file, part, made[where])
    return made


def overlap(box: Box, origin: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Box, tuple[slice, ...]] | None:
    """Return what a box has of the elements from `origin` on, and where these are among them; None for nothing."""
    starts = [max(a, b) for a, b in zip(origin, box.origin, strict=True)]
    stops = [min(a + n, b + m) for a, n, b, m in zip(origin, shape, box.origin, box.shape, strict=True)]
    if not all(start < stop for start, stop in zip(starts, stops, strict=True)):
        return None
    offset = box.offset + sum(
        (start - first) * step for start, first, step in zip(starts, box.origin, box.strides, strict=True)
    )
    extents = tuple(stop - start for start, stop in zip(starts, stops, strict=True))
    where = tuple(slice(start - first, stop - first) for start, stop, first in zip(starts, stops, origin, strict=True))
    return Box((), extents, offset, box.strides), where


def longest_run(wanted_nbytes: int) -> int:
    """Return how long a run may be to be gone through as a whole for what is wanted of it."""
    return max(_LEAST_RUN_NBYTES, _LEAST_SHARE * wanted_nbytes)


def _read_into(file: RandomAccess, box: Box, target: numpy.ndarray[Any, Any]) -> None:
    """Fill `target`, of the box's shape and an axis for the bytes of an element, with the box's elements."""
    import numpy

    element_nbytes = target.shape[-1]
    start, stop = extent(box, element_nbytes)
    if stop - start <= min(GATHER_NBYTES, longest_run(target.size)) or target.size == element_nbytes:
        data = numpy.frombuffer(file.read_at(start, stop - start), numpy.uint8)
        target[...] = numpy.lib.stride_tricks.as_strided(data, target.shape, (*box.strides, 1), writeable=False)
        return
    axis = max((n for n, extent in enumerate(box.shape) if extent > 1), key=lambda n: box.strides[n])
    half = box.shape[axis] // 2
    for first, last in ((0, half), (half, box.shape[axis])):
        shape = (*box.shape[:axis], last - first, *box.shape[axis + 1 :])
        where = (*(slice(None) for _ in range(axis)), slice(first, last))
        _read_into(file, Box((), shape, box.offset + first * box.strides[axis], box.strides), target[where])
