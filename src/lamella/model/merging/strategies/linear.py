"""Linear merging: the weighted sum of the sides."""

from __future__ import annotations

from typing import Any

from lamella.model import kernels
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span, Strategy
from lamella.model.merging.sums import shares


class Linear(Strategy):
    """sum w_i theta_i, over sum w_i where `normalize`: model soups (arXiv 2203.05482)."""

    name = "linear"
    summary = "the weighted sum of the sides"
    source = "arXiv 2203.05482"
    parameters = (Parameter("normalize", 1, 0, 1, "whether the sum is divided by that of the weights", whole=True),)

    def check(self, settings: Settings) -> None:
        """Raise UsageError (bad-argument) where weights to be divided by sum to 0."""
        if settings.values["normalize"]:
            shares(settings.weights)

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the weighted sum; raise UsageError (bad-argument) where weights to be divided by sum to 0."""
        return summed(shares(settings.weights) if settings.values["normalize"] else settings.weights)


def summed(weights: tuple[float, ...]) -> Formula:
    """Return the sum of the sides with these weights; what is alike on all sides is kept where they sum to 1."""
    keeps = abs(sum(weights) - 1) < 1e-12

    def merge(span: Span, out: Any) -> Tally:
        return Tally(kernels.weighted_sum(span.sides, weights, span.dtype, span.count, out, keeps))

    return merge
