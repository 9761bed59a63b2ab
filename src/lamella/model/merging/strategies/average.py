"""Averaging: the mean of the sides, or so much of each as its share says."""

from __future__ import annotations

from lamella.core.errors import UsageError
from lamella.model.merging.strategies.linear import summed
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Strategy
from lamella.model.merging.sums import shares

SLACK = 1e-6
"""How far shares that were typed in may be from 1 together: a third is written with some digits."""


class Average(Strategy):
    """sum w_i theta_i, where the w_i are shares of 1: federated averaging (arXiv 1602.05629).

    Sides that left a tensor alone have no share in it; the others' are then divided by what they sum to.
    """

    name = "average"
    summary = "the mean of the sides, or by shares that sum to 1"
    source = "arXiv 1602.05629"
    parameters = (Parameter("normalize", 0, 0, 1, "whether weights of any sum are divided by it", whole=True),)

    def check(self, settings: Settings) -> None:
        """Raise UsageError (bad-argument) where the weights are no shares, unless they are to be made some."""
        weights = settings.weights
        given = any(weight != 1 for weight in weights)
        if given and not settings.values["normalize"] and abs(sum(weights) - 1) > SLACK:
            raise UsageError(
                f"the weights sum to {sum(weights):g}, and shares sum to 1",
                kind="bad-argument",
                hint="change them, or set `--param normalize=1`",
            )
        shares(weights)

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the mean; raise UsageError (bad-argument) where the weights of these sides sum to 0."""
        return summed(shares(settings.weights))
