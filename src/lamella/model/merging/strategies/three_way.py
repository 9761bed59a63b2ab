"""Merging element by element since the base: what one side moved is taken, where several agree their mean."""

from __future__ import annotations

from typing import Any

from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Settings, Span, Strategy
from lamella.model.merging.sums import MOST_SIDES, elected


class ThreeWay(Strategy):
    """The sign election of TIES (arXiv 2306.01708) over all that moved: the default, and lawful element by element."""

    name = "three-way"
    summary = "element by element: the side that moved it; where several did, the mean of those that go the way of most"
    source = "arXiv 2306.01708, without its trimming"
    needs_base = True
    most_sides = MOST_SIDES

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the election of signs without thresholds."""

        def merge(span: Span, out: Any) -> Tally:
            return elected(span, span.sides, settings.weights, out)

        return merge
