"""What is found span by span, added up to what is said of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.model import kernels
from lamella.model.comparing import SPAN_ELEMENTS, Comparison
from lamella.model.difference import Histogram, Moved
from lamella.model.measures import Measures
from lamella.model.value_histogram import BINS, render

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

MAX_ROWS = 1 << 20
"""Rows of one tensor that are told apart, each a number in memory; the largest vocabularies have some 260,000."""


@dataclass(frozen=True, slots=True)
class SpanFound:
    """What one span said: sums of the rows that it touches, from `first_row` on, and counts of values, if asked for."""

    measures: Measures
    first_row: int
    rows: Array | None
    values: tuple[Array, Array] | None


def has_rows(comparison: Comparison) -> bool:
    """Say whether it means something which row of a tensor moved: it has several, of several elements."""
    return len(comparison.shape) > 1 and 1 < comparison.shape[0] <= MAX_ROWS and comparison.row_items > 1


def measure_span(
    comparison: Comparison, number: int, before: Buffer, after: Buffer, epsilon: float, *, histogram: bool
) -> SpanFound:
    """Measure one span of a comparison, by its number; this may run in any thread."""
    import numpy

    dtypes = comparison.before.dtype.name, comparison.after.dtype.name
    first = number * SPAN_ELEMENTS
    count = min(SPAN_ELEMENTS, comparison.count - first)
    first_row, rows, row_items, row_begin = 0, None, 0, 0
    if has_rows(comparison) and count:
        row_items = comparison.row_items
        first_row, row_begin = divmod(first, row_items)
        rows = numpy.zeros((row_begin + count - 1) // row_items + 1)
    found = kernels.measure(before, dtypes[0], after, dtypes[1], count, epsilon, rows, row_items, row_begin)
    values = None
    if histogram:
        values = numpy.zeros(BINS, numpy.uint64), numpy.zeros(BINS, numpy.uint64)
        for data, dtype, counts in zip((before, after), dtypes, values, strict=True):
            kernels.count_values(data, dtype, count, counts)
    return SpanFound(Measures(*found), first_row, rows, values)


class Total:
    """The sum of the spans of one comparison, which come in order."""

    def __init__(self, comparison: Comparison) -> None:
        import numpy

        self.row_count = comparison.shape[0] if has_rows(comparison) and comparison.count else 0
        self._row_items = comparison.row_items if self.row_count else 1
        self._sums = numpy.zeros(self.row_count)
        self._values: tuple[Array, Array] | None = None
        self.measures: Measures | None = None

    def add(self, found: SpanFound) -> None:
        """Add the next span."""
        self.measures = found.measures if self.measures is None else self.measures + found.measures
        if found.rows is not None:
            self._sums[found.first_row : found.first_row + len(found.rows)] += found.rows
        if self._values is None:
            self._values = found.values
        elif found.values is not None:
            for counts, more in zip(self._values, found.values, strict=True):
                counts += more

    def row_points(self, epsilon: float) -> int:
        """Return of how many rows the mean |b - a| exceeds epsilon."""
        return int((self._sums / self._row_items > epsilon).sum())

    def furthest(self, most: int) -> tuple[Moved, ...]:
        """Return the rows that moved furthest, at most so many; of rows that moved alike the first."""
        import numpy

        means = self._sums / self._row_items
        order = numpy.lexsort((numpy.arange(len(means)), -means))[:most]
        return tuple(Moved(int(row), float(means[row])) for row in order if means[row] > 0)

    def histogram(self) -> Histogram | None:
        """Return the histogram of both sides, if it was asked for and there are finite values."""
        return None if self._values is None else render(*self._values)
