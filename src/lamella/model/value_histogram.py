"""Histograms of both sides of a tensor: counted by the bits of f32, drawn with edges at equal distances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamella.model.difference import Histogram

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

BINS = 1 << 16
"""The upper 16 bits of f32, a sign, 8 bits of exponent and 7 of mantissa: bins of less than a hundredth of a value."""

DRAWN_BINS = 64
TAIL = 0.0005
"""The share of the values, on either end, that lies in a bin of its own: few outliers would flatten all others."""


def render(before: Array, after: Array) -> Histogram | None:
    """Return counts by the upper half of the bits of f32 as a histogram; None where no value is finite.

    The outermost bins hold the tails of both sides, from the extremes on; all between are equally wide. Values are
    taken to be spread evenly within the bins in which they were counted, so a count may be off by what lies within a
    hundredth of an edge. The sum of the counts is exact.
    """
    import numpy

    order = _ascending()
    sides = [counts[order].astype(numpy.int64) for counts in (before, after)]
    both = sides[0] + sides[1]
    if not both.any():
        return None
    lows, highs = _bounds(order)
    edges = _edges(numpy.cumsum(both) / both.sum(), lows, highs, numpy.flatnonzero(both))
    limits = numpy.concatenate((lows[:1], highs))
    drawn = []
    for side in sides:
        below = numpy.concatenate(([0], numpy.cumsum(side)))
        at_edges = numpy.rint(numpy.interp(edges, limits, below)).astype(numpy.int64)
        at_edges[0], at_edges[-1] = 0, below[-1]
        drawn.append(tuple(int(count) for count in numpy.diff(at_edges)))
    return Histogram(tuple(float(edge) for edge in edges), drawn[0], drawn[1])


def _ascending() -> Array:
    """Return the codes of the bins of finite values, those of the least values first."""
    import numpy

    positive = numpy.arange(0x7F80)
    return numpy.concatenate((positive[::-1] + 0x8000, positive))


def _bounds(order: Array) -> tuple[Array, Array]:
    """Return between which values those of a bin lie."""
    import numpy

    near = (order.astype(numpy.uint32) << 16).view(numpy.float32).astype(numpy.float64)
    largest = float(numpy.finfo(numpy.float32).max)
    far = numpy.where((order & 0x7FFF) == 0x7F7F, numpy.copysign(largest, near), 0.0)
    inner = far == 0
    far[inner] = ((order[inner].astype(numpy.uint32) + 1) << 16).view(numpy.float32)
    return numpy.minimum(near, far), numpy.maximum(near, far)


def _edges(shares: Array, lows: Array, highs: Array, filled: Array) -> Array:
    import numpy

    first, last = lows[filled[0]], highs[filled[-1]]
    low = lows[int(numpy.searchsorted(shares, TAIL, side="right"))]
    high = highs[min(len(highs) - 1, int(numpy.searchsorted(shares, 1 - TAIL)))]
    inner = numpy.linspace(low, high, DRAWN_BINS + 1)
    return numpy.unique(numpy.concatenate(([first], inner, [last])))
