"""Making a derived object from its sources: any range, a bounded part of each source at a time.

What is transposed needs its source as a whole; those that were needed last are kept, so that the stripes of an object
share them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from lamella.codec.casts import CASTS
from lamella.core.limits import DERIVED_BATCH_NBYTES, MAX_TRANSPOSED_NBYTES
from lamella.store.recipe import COPY, FILL, Block, Piece, Recipe

if TYPE_CHECKING:
    import numpy

    Words = numpy.ndarray[Any, Any]


class Readable(Protocol):
    """A source: something that gives the bytes from `start` to `stop` of an object."""

    def part(self, start: int, stop: int) -> bytearray:
        """Return the bytes from `start` to `stop`, which lie within the object."""
        ...


class _Whole:
    """Parts of sources that are transposed: those of one object, as long as they are open, and never more in all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: WeakKeyDictionary[Readable, dict[tuple[int, int], bytearray]] = WeakKeyDictionary()

    def part(self, source: Readable, start: int, stop: int) -> bytearray:
        """Return a part of a source, read unless it is kept; who comes meanwhile waits."""
        with self._lock:
            found = self._kept.get(source, {}).get((start, stop))
            if found is None:
                held = sum(len(data) for kept in self._kept.values() for data in kept.values())
                if held + stop - start > MAX_TRANSPOSED_NBYTES:
                    self._kept.clear()
                found = source.part(start, stop)
                self._kept.setdefault(source, {})[start, stop] = found
            return found


_whole = _Whole()


def derive(recipe: Recipe, item_nbytes: int, sources: Sequence[Readable], start: int, stop: int) -> bytearray:
    """Return the bytes from `start` to `stop`, whole items, of the object that a checked recipe makes of `sources`.

    Raises what reading a source raises.
    """
    import numpy

    data = bytearray(stop - start)
    out = numpy.frombuffer(data, f"<u{item_nbytes}")
    first, last, position = start // item_nbytes, stop // item_nbytes, 0
    for block in recipe.blocks:
        low, high = max(first, position), min(last, position + block.items)
        if low < high:
            _make(block, sources, low - position, high - position, out[low - first : high - first])
        position += block.items
        if position >= last:
            break
    return data


def _make(block: Block, sources: Sequence[Readable], low: int, high: int, out: Words) -> None:
    """Fill `out` with the items of a block from number `low` to `high`."""
    made = 0
    for row, rows, column, columns in _rectangles(low, high, block.width):
        part = out[made : made + rows * columns].reshape(rows, columns)
        made += rows * columns
        begin = 0
        for piece in block.pieces:
            left, right = max(column, begin), min(column + columns, begin + piece.run)
            if left < right:
                target = part[:, left - column : right - column]
                _take(piece, block.rows, sources, row, left - begin, target)
            begin += piece.run


def _rectangles(low: int, high: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut consecutive items of rows into at most three rectangles: first row, rows, first column, columns."""
    row, column = divmod(low, width)
    if column:
        columns = min(width - column, high - low)
        yield row, 1, column, columns
        low, row = low + columns, row + 1
    rows, columns = divmod(high - low, width)
    if rows:
        yield row, rows, 0, width
    if columns:
        yield row + rows, 1, 0, columns


def _take(piece: Piece, all_rows: int, sources: Sequence[Readable], row: int, column: int, out: Words) -> None:
    """Fill `out` with a rectangle of a piece that begins at `row` and `column`."""
    if piece.transform == FILL:
        out[...] = piece.start
        return
    rows, columns = out.shape
    width = piece.width(out.itemsize)
    source = sources[piece.source]
    if piece.step > 1:
        data = _whole.part(source, piece.start * width, piece.stop(all_rows) * width)
        out[...] = _converted(piece, data, row * piece.stride + column * piece.step, (rows, columns), width)
        return
    batch = max(1, min(rows, DERIVED_BATCH_NBYTES // (piece.stride * width)))
    for at in range(0, rows, batch):
        count = min(batch, rows - at)
        first = piece.start + (row + at) * piece.stride + column
        last = first + (count - 1) * piece.stride + columns
        data = source.part(first * width, last * width)
        out[at : at + count] = _converted(piece, data, 0, (count, columns), width)


def _converted(piece: Piece, data: bytearray, first: int, shape: tuple[int, int], width: int) -> Words:
    """Return a rectangle whose first item is number `first` of `data`, as items of the derived object."""
    import numpy

    # Where there is one row, the stride may lead out of the data.
    strides = (piece.stride * width if shape[0] > 1 else 0, piece.step * width)
    words = numpy.ndarray(shape, f"<u{width}", data, first * width, strides)
    return words if piece.transform == COPY else CASTS[piece.transform].convert(words)
