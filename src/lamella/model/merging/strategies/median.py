"""The median: for every element the value in the middle of those of the sides."""

from __future__ import annotations

from typing import Any

from lamella.model import kernels
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Settings, Span, Strategy


class Median(Strategy):
    """The coordinate-wise median, of an even number of sides the mean of the two in the middle (arXiv 1803.01498)."""

    name = "median"
    summary = "the middle one of the sides' values, element by element"
    source = "arXiv 1803.01498"
    weighted = False

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the median of the sides."""
        return middle((contents.sides - 1) // 2)


def middle(dropped: int) -> Formula:
    """Return the mean of what is left where so many sides are dropped at each end of the order of their values."""

    def merge(span: Span, out: Any) -> Tally:
        return Tally(kernels.ordered_mean(span.sides, dropped, span.dtype, span.count, out))

    return merge
