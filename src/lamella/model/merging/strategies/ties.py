"""TIES: small changes trimmed, signs elected, and the mean of those that have the elected one."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from lamella.model.measure_reference import parts
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span, Strategy
from lamella.model.merging.sums import MOST_SIDES, NORMALIZE, SCALE, elected
from lamella.model.merging.thresholds import magnitudes_at, places_of


class Ties(Strategy):
    """Trim, elect sign and merge (arXiv 2306.01708), every tensor by itself.

    Of each side the `density` of a tensor's elements that moved furthest is heard: all at or above the magnitude of the
    last of them, so of equal ones either all or none.
    """

    name = "ties"
    summary = "the furthest moves of each side; of these the mean of those that go the way of most"
    source = "arXiv 2306.01708"
    parameters = (
        Parameter("density", 1, 0, 1, "the share of elements whose changes are heard, the largest first"),
        SCALE,
        replace(NORMALIZE, default=1),
    )
    needs_base = True
    most_sides = MOST_SIDES

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the election of signs above thresholds, for which the tensor is gone through twice."""
        values, limits = settings.values, (0.0,) * contents.sides
        densities = settings.each("density")
        if min(densities) < 1:
            places = [[places_of(density, elements_of(contents))] for density in densities]
            limits = tuple(limit for (limit,) in magnitudes_at(contents, places))

        def merge(span: Span, out: Any) -> Tally:
            return elected(
                span, span.sides, settings.weights, out,
                thresholds=limits, scale=values["scale"], normalize=bool(values["normalize"]),
            )  # fmt: skip

        return merge


def elements_of(contents: Contents) -> int:
    """Return how many elements a tensor has, a complex number being two."""
    return prod(contents.spec.shape) * parts(contents.spec.dtype.name)
