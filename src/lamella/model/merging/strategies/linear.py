"""Linear merging: the weighted sum of the sides."""

from __future__ import annotations

from typing import Any

from lamella.core.errors import UsageError
from lamella.model import kernels
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span


class Linear:
    """sum w_i theta_i, over sum w_i where `normalize`: model soups (arXiv 2203.05482)."""

    name = "linear"
    summary = "the weighted sum of the sides"
    parameters: tuple[Parameter, ...] = (
        Parameter("normalize", 1, 0, 1, "whether the sum is divided by that of the weights"),
    )
    needs_base = False
    most_sides: int | None = None
    symmetric = True

    def formula(self, contents: Contents, settings: Settings) -> Formula:  # noqa: ARG002 -- it looks at no tensor
        """Return the weighted sum; raise UsageError (bad-argument) where weights to be divided by sum to 0."""
        weights = settings.weights
        if settings.values["normalize"]:
            total = sum(weights)
            if not total:
                raise UsageError(
                    "the weights sum to 0", kind="bad-argument", hint="change one, or set `--param normalize=0`"
                )
            weights = tuple(weight / total for weight in weights)
        affine = abs(sum(weights) - 1) < 1e-12

        def merge(span: Span, out: Any) -> Tally:
            return Tally(kernels.weighted_sum(span.sides, weights, span.dtype, span.count, out, affine))

        return merge
