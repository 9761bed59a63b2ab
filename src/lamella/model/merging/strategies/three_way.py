"""Merging element by element since the base: what one side moved is taken, where several agree their mean."""

from __future__ import annotations

from typing import Any

from lamella.model import kernels
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span


class ThreeWay:
    """The sign election of TIES (arXiv 2306.01708) over all that moved: the default, and lawful element by element."""

    name = "three-way"
    summary = "element by element: the side that moved it; where several did, the mean of those that go the way of most"
    parameters: tuple[Parameter, ...] = ()
    needs_base = True
    most_sides: int | None = None
    symmetric = True

    def formula(self, contents: Contents, settings: Settings) -> Formula:  # noqa: ARG002 -- it looks at no tensor
        """Return the election of signs without thresholds."""
        weights = settings.weights
        thresholds = (0.0,) * len(weights)

        def merge(span: Span, out: Any) -> Tally:
            assert span.base is not None
            found = kernels.elect(
                span.base,
                span.sides,
                weights,
                thresholds,
                1.0,
                True,
                span.dtype,
                span.count,
                out,
            )
            moved, either, both, clashes, not_finite, gram = found
            return Tally(not_finite, moved, either, both, clashes, gram)

        return merge
