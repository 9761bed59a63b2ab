"""The trimmed mean: for every element the mean of the sides' values without the outermost."""

from __future__ import annotations

from lamella.model.merging.strategies.median import middle
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Strategy


class TrimmedMean(Strategy):
    """The coordinate-wise trimmed mean (arXiv 1803.01498): `share` of the sides, rounded down, go at each end."""

    name = "trimmed-mean"
    summary = "the mean of the sides' values, element by element, without the smallest and the largest ones"
    source = "arXiv 1803.01498"
    parameters = (Parameter("share", 0.25, 0, 0.5, "the share of sides that is dropped at each end"),)
    weighted = False

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the mean of what is left, which is one side at least."""
        return middle(min(int(settings.values["share"] * contents.sides), (contents.sides - 1) // 2))
