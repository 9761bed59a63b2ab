"""The elements of spans as NumPy arrays: their bits, their values, how far they moved, and how results are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES
from lamella.model import kernels
from lamella.model.measure_reference import parts
from lamella.model.merge_reference import special
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Span

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


def codes(data: Buffer, dtype: str) -> Array:
    """Return the bits of elements as unsigned integers that share the buffer."""
    import numpy

    found: Array = numpy.frombuffer(data, f"<u{DTYPES[dtype].bits // parts(dtype) // 8}")
    return found


def values(data: Buffer, dtype: str, count: int) -> Array:
    """Return the elements as float64."""
    import numpy

    found = numpy.empty(count, numpy.float64)
    kernels.decode(data, dtype, count, found)
    return found


def changes(span: Span, side: Buffer) -> Array:
    """Return side - base as float64, 0 where the bits are the same."""
    import numpy

    assert span.base is not None
    with numpy.errstate(all="ignore"):
        found = values(side, span.dtype, span.count) - values(span.base, span.dtype, span.count)
    found[codes(side, span.dtype) == codes(span.base, span.dtype)] = 0
    return found


def magnitudes(moves: Array) -> Array:
    """Return |moves| as `count_magnitudes` has it: rounded to float32."""
    import numpy

    with numpy.errstate(all="ignore"):
        found: Array = abs(moves).astype(numpy.float32)
    return found


def masked(span: Span, side: Buffer, kept: Array) -> Buffer:
    """Return a side with the elements of the base where it is not `kept`; what is not finite in either always is.

    So NaN and infinity do not get lost by chance, and do not stay in silence, but show up in the result.
    """
    import numpy

    assert span.base is not None
    own, before = codes(side, span.dtype), codes(span.base, span.dtype)
    found = numpy.where(kept | special(own, span.dtype) | special(before, span.dtype), own, before)
    return found.view(numpy.uint8).data


def alike(*runs: Buffer, dtype: str) -> Array:
    """Return which elements are the same, bit for bit, in all runs."""
    import numpy

    first, *others = (codes(run, dtype) for run in runs)
    found: Array = numpy.logical_and.reduce([first == other for other in others])
    return found


def write(results: Array, span: Span, out: Any, taken: Sequence[tuple[Buffer, Array]]) -> Tally:
    """Round results, float64, to `out`, and count what is not finite there and not the same in base and all sides.

    Of `taken` each is a buffer whose elements stand instead of results, and where.
    """
    import numpy

    kernels.encode(results.data, span.dtype, span.count, out)
    made = numpy.frombuffer(out, codes(span.sides[0], span.dtype).dtype)
    for source, where in taken:
        numpy.copyto(made, codes(source, span.dtype), where=where)
    same = alike(*(() if span.base is None else (span.base,)), *span.sides, dtype=span.dtype)
    return Tally(int((special(made, span.dtype) & ~same).sum()))


def count_overflows(before: Buffer, dtype: str, after: Buffer, narrower: str, count: int) -> int:
    """Return how many elements are finite in a dtype, and are not any more once they were rounded to another."""
    import numpy

    if dtype == narrower:
        return 0
    was, became = values(before, dtype, count), values(after, narrower, count)
    return int((numpy.isfinite(was) & ~numpy.isfinite(became)).sum())
