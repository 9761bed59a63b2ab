"""The larger value: what counters become."""

from __future__ import annotations

from typing import Any

from lamella.core.errors import ConflictError
from lamella.model.measure_reference import UNITS, elements, parts
from lamella.model.merge_reference import special
from lamella.model.merging.elements import alike, codes, values
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Settings, Span, Strategy


class Larger(Strategy):
    """max theta_i, of integers too; NaN is larger than any number, and 0 than -0."""

    name = "larger"
    summary = "the largest of the sides' values, element by element, of integers too"
    weighted = False

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the maximum; raise ConflictError (merge-conflict) for complex numbers."""
        if parts(contents.spec.dtype.name) == 2:
            raise ConflictError(
                "complex numbers have no order", kind="merge-conflict", hint="take a side, or choose another strategy"
            )
        return _largest


def _largest(span: Span, out: Any) -> Tally:
    import numpy

    if span.dtype in UNITS:
        runs = [values(side, span.dtype, span.count) for side in span.sides]
    else:
        runs = [elements(side, span.dtype, span.count) for side in span.sides]
    largest, found = runs[0], codes(span.sides[0], span.dtype)
    for run, side in zip(runs[1:], span.sides[1:], strict=True):
        exceeds = run > largest
        if span.dtype in UNITS:
            exceeds |= numpy.isnan(run) | ((run == largest) & numpy.signbit(largest))
        largest, found = numpy.where(exceeds, run, largest), numpy.where(exceeds, codes(side, span.dtype), found)
    memoryview(out)[:] = found.view(numpy.uint8).data
    if span.dtype not in UNITS:
        return Tally()
    return Tally(int((special(found, span.dtype) & ~alike(*span.sides, dtype=span.dtype)).sum()))
