"""Exact magnitudes by their rank: how far the k-th largest change of every side moved, by counting, in two passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from lamella.model import kernels
from lamella.model.measure_reference import BINS
from lamella.model.merging.strategy import Contents, Span

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


def places_of(share: float, count: int) -> int:
    """Return how many of `count` elements a share is: rounded, but one at least where the share is not 0."""
    return min(count, max(1, round(share * count))) if share > 0 else 0


def magnitudes_at(contents: Contents, places: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
    """Return for every side its magnitudes of change at its `places`, of which 1 is that of the largest.

    A magnitude is |side - base| rounded to f32, all those of the tensor being ranked. At place 0, and where it is NaN,
    it is infinite.
    """
    uppers = _Counting(contents, [(side, None) for side in range(contents.sides)]).counted()
    found = {(side, one): _bin_at(uppers[side, None], one) for side, asked in enumerate(places) for one in asked}
    prefixes = sorted({(side, prefix) for (side, _), (prefix, _) in found.items() if prefix < BINS})
    lowers = _Counting(contents, prefixes).counted()

    def magnitude(side: int, place: int) -> float:
        prefix, rest = found[side, place]
        return _number(prefix << 16 | _bin_at(lowers[side, prefix], rest)[0]) if prefix < BINS else math.inf

    return [tuple(magnitude(side, place) for place in asked) for side, asked in enumerate(places)]


class _Counting:
    """A pass that counts some sides' magnitudes, by their upper halves, or below a prefix by their lower ones.

    A thread takes a set of counters for a span, and gives it back: there are as many as run at once, and what is added
    up in the end does not depend on which span was counted where.
    """

    def __init__(self, contents: Contents, wanted: Sequence[tuple[int, int | None]]) -> None:
        self._contents, self._wanted = contents, wanted
        self._sets: list[Array] = []
        self._idle: list[Array] = []
        self._lock = Lock()

    def counted(self) -> dict[tuple[int, int | None], Array]:
        """Return the counters, uint64[65536], of all that is wanted."""
        import numpy

        for _ in self._contents.each(self._count) if self._wanted else ():
            pass
        total = sum(self._sets, numpy.zeros((len(self._wanted), BINS), numpy.uint64))
        return dict(zip(self._wanted, total, strict=True))

    def _count(self, span: Span) -> None:
        import numpy

        with self._lock:
            if not self._idle:
                self._idle.append(numpy.zeros((len(self._wanted), BINS), numpy.uint64))
                self._sets.append(self._idle[-1])
            counters = self._idle.pop()
        for (side, prefix), counts in zip(self._wanted, counters, strict=True):
            kernels.count_magnitudes(span.base, span.sides[side], span.dtype, span.count, prefix, counts)
        with self._lock:
            self._idle.append(counters)


def _bin_at(counts: Array, place: int) -> tuple[int, int]:
    """Return the bin of the element at a place, the highest bins first, and its place in there; BINS for place 0."""
    import numpy

    if place < 1:
        return BINS, 0
    reached = numpy.cumsum(counts[::-1])
    at = int(numpy.searchsorted(reached, place))
    before = int(reached[at - 1]) if at else 0
    return BINS - 1 - at, place - before


def _number(bits: int) -> float:
    import numpy

    found = float(numpy.array(bits, numpy.uint32).view(numpy.float32))
    return math.inf if math.isnan(found) else found
