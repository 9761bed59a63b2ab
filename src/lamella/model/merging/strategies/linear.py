"""Linear merging: the weighted sum of the sides."""

from __future__ import annotations

from typing import Any

from lamella.core.errors import UsageError
from lamella.model import kernels
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span, Strategy


class Linear(Strategy):
    """sum w_i theta_i, over sum w_i where `normalize`: model soups (arXiv 2203.05482)."""

    name = "linear"
    summary = "the weighted sum of the sides"
    source = "arXiv 2203.05482"
    parameters = (Parameter("normalize", 1, 0, 1, "whether the sum is divided by that of the weights"),)

    def check(self, settings: Settings) -> None:
        """Raise UsageError (bad-argument) where weights to be divided by sum to 0."""
        if settings.values["normalize"]:
            shares(settings.weights)

    def formula(self, contents: Contents, settings: Settings) -> Formula:  # noqa: ARG002 -- it looks at no tensor
        """Return the weighted sum; raise UsageError (bad-argument) where weights to be divided by sum to 0."""
        return summed(shares(settings.weights) if settings.values["normalize"] else settings.weights)


def shares(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Return weights over their sum; raise UsageError (bad-argument) where that is 0."""
    total = sum(weights)
    if not total:
        raise UsageError(
            "the weights of the sides that changed a tensor sum to 0",
            kind="bad-argument",
            hint="change one, or set `--param normalize=0`",
        )
    return tuple(weight / total for weight in weights)


def summed(weights: tuple[float, ...]) -> Formula:
    """Return the sum of the sides with these weights; what is alike on all sides is kept where they sum to 1."""
    keeps = abs(sum(weights) - 1) < 1e-12

    def merge(span: Span, out: Any) -> Tally:
        return Tally(kernels.weighted_sum(span.sides, weights, span.dtype, span.count, out, keeps))

    return merge
