"""Fisher merging: a mean in which an element of a side weighs as much as the loss of that side depends on it."""

from __future__ import annotations

from typing import Any

from lamella.core.errors import ConflictError, UsageError
from lamella.model.merging.elements import alike, changes, values, write
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import SECOND_MOMENT, Contents, Formula, Settings, Span, Strategy
from lamella.model.merging.sums import ordered_sum, shares


class Fisher(Strategy):
    """theta_0 + sum w_i F_i d_i / sum w_i F_i, or sum w_i F_i theta_i / sum w_i F_i without a base (arXiv 2111.09832).

    F_i, the diagonal of the Fisher information, is taken from the squared gradients that an optimizer such as Adam
    keeps beside a tensor. Where it is 0 on all sides they weigh as without it, and where all sides are the same they
    are kept.
    """

    name = "fisher"
    summary = "the mean of the sides, each element weighing by the squared gradients that the optimizer kept of it"
    source = "arXiv 2111.09832"
    beside = SECOND_MOMENT

    def check(self, settings: Settings) -> None:
        """Raise UsageError (bad-argument) for negative weights, whose sums with gradients cross 0, and for none."""
        if min(settings.weights) < 0:
            raise UsageError("the strategy fisher has no weights below 0", kind="bad-argument", hint="change them")
        shares(settings.weights)

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the mean; raise ConflictError (merge-conflict) where a side keeps no squared gradients."""
        self.check(settings)
        if not contents.join(SECOND_MOMENT):
            raise ConflictError(
                "not every side keeps the squared gradients of an optimizer for it",
                kind="merge-conflict",
                hint="keep the optimizer's state beside the weights, or choose another strategy",
            )

        def merge(span: Span, out: Any) -> Tally:
            return _mean(span, settings.weights, out)

        return merge


def _mean(span: Span, weights: tuple[float, ...], out: Any) -> Tally:
    import numpy

    base = span.base
    start = numpy.zeros(span.count) if base is None else values(base, span.dtype, span.count)
    total, divisor, plain = numpy.zeros((3, span.count))
    with numpy.errstate(all="ignore"):
        for side, weight, companion in zip(span.sides, weights, span.companions, strict=True):
            moves = values(side, span.dtype, span.count) if base is None else changes(span, side)
            information = numpy.frombuffer(companion, numpy.float64)
            factor = weight * numpy.where(information >= 0, information, numpy.nan)
            total, divisor, plain = total + factor * moves, divisor + factor, plain + weight * moves
        mean = start + numpy.where(divisor == 0, plain / ordered_sum(weights), total / divisor)
    return write(mean, span, out, [(span.sides[0], alike(*span.sides, dtype=span.dtype))])
