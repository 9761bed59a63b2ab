"""Applying a change: what theirs is away from the base, added to ours."""

from __future__ import annotations

from typing import Any

from lamella.model.merging.elements import alike, changes, values, write
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span, Strategy


class Apply(Strategy):
    """ours + scale * (theirs - theta_0): task arithmetic on top of ours (arXiv 2212.04089).

    It is how a change is picked, taken back, or put on another version. Where theirs is as the base, ours is kept as it
    is; where ours is, and `scale` is 1, theirs is taken.
    """

    name = "apply"
    summary = "ours, and what theirs changed on top of it"
    source = "arXiv 2212.04089"
    parameters = (Parameter("scale", 1, -16, 16, "how much of the change is applied"),)
    needs_base = True
    most_sides = 2
    weighted = False
    symmetric = False
    adds = True

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return ours with the change of theirs."""
        scale = settings.values["scale"]

        def merge(span: Span, out: Any) -> Tally:
            import numpy

            ours, theirs = span.sides
            assert span.base is not None
            with numpy.errstate(all="ignore"):
                found = values(ours, span.dtype, span.count) + scale * changes(span, theirs)
            taken = [(ours, alike(theirs, span.base, dtype=span.dtype))]
            if scale == 1:
                taken.insert(0, (theirs, alike(ours, span.base, dtype=span.dtype)))
            return write(found, span, out, taken)

        return merge
