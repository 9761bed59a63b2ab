"""Writing views: a tensor's elements, put to where they lie apart in a file, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.limits import GATHER_NBYTES
from lamella.formats.arrange import extent
from lamella.formats.base import Box, RandomAccess, TensorView
from lamella.formats.strided import Near, longest_run, narrowed, overlap, slabs

if TYPE_CHECKING:
    import numpy

Write = Callable[[Buffer, int], None]
"""Writes bytes to a file, from an offset on."""


def write_view(file: RandomAccess, write: Write, view: TensorView, pieces: Iterable[Buffer]) -> None:
    """Put the bytes of a view's tensor, row-major and little-endian, to where `read_view` finds them.

    What lies between its elements is read from `file` and written as it is.
    """
    import numpy

    element_nbytes = view.spec.dtype.bits // 8
    axes = [axis for axis, n in enumerate(view.spec.grid) if n > 1]
    near = Near([narrowed(box, axes) for box in view.boxes])
    waiting, rest = bytearray(), iter(pieces)
    if not view.spec.nbytes:
        return
    for origin, shape in slabs(tuple(view.spec.grid[axis] for axis in axes), element_nbytes):
        nbytes = prod(shape) * element_nbytes
        while len(waiting) < nbytes:
            waiting += memoryview(next(rest)).cast("B")
        data = numpy.frombuffer(bytes(waiting[:nbytes]), numpy.uint8)
        del waiting[:nbytes]
        if view.swapped:
            data = data.reshape(-1, view.spec.dtype.item_nbytes)[:, ::-1]
        made = data.reshape(*shape, element_nbytes)
        for box in near.boxes(origin, shape):
            found = overlap(box, origin, shape)
            if found is not None:
                part, where = found
                _write_from(file, write, part, made[where])


def _write_from(file: RandomAccess, write: Write, box: Box, source: numpy.ndarray[Any, Any]) -> None:
    """Write `source`, of the box's shape and an axis for the bytes of an element, to the box's elements."""
    import numpy

    element_nbytes = source.shape[-1]
    start, stop = extent(box, element_nbytes)
    if stop - start <= min(GATHER_NBYTES, longest_run(source.size)) or source.size == element_nbytes:
        data = numpy.frombuffer(bytearray(file.read_at(start, stop - start)), numpy.uint8)
        numpy.lib.stride_tricks.as_strided(data, source.shape, (*box.strides, 1))[...] = source
        write(data.data, start)
        return
    axis = max((n for n, extent in enumerate(box.shape) if extent > 1), key=lambda n: box.strides[n])
    half = box.shape[axis] // 2
    for first, last in ((0, half), (half, box.shape[axis])):
        shape = (*box.shape[:axis], last - first, *box.shape[axis + 1 :])
        where = (*(slice(None) for _ in range(axis)), slice(first, last))
        _write_from(file, write, Box((), shape, box.offset + first * box.strides[axis], box.strides), source[where])
