"""Model breadcrumbs: each side's changes without the smallest and without the very largest."""

from __future__ import annotations

from typing import Any

from lamella.core.errors import UsageError
from lamella.model.merging.elements import changes, magnitudes, masked
from lamella.model.merging.score import Tally
from lamella.model.merging.strategies.ties import elements_of
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span, Strategy
from lamella.model.merging.sums import ELECT, MOST_SIDES, NORMALIZE, SCALE, added
from lamella.model.merging.thresholds import magnitudes_at, places_of


class Breadcrumbs(Strategy):
    """theta_0 + scale * sum w_i m_i d_i, m_i being 0 for outliers and for what hardly moved (arXiv 2312.06795).

    Of each side the share `gamma` that moved furthest is dropped, and of the rest the `density` that moved furthest is
    kept. Equal magnitudes are kept or dropped together; NaN and infinity are always kept, so that they show.
    """

    name = "breadcrumbs"
    summary = "each side's changes without outliers and without the smallest, added up, or elected as in TIES"
    source = "arXiv 2312.06795"
    parameters = (
        Parameter("density", 0.9, 0, 1, "the share of elements whose changes are kept"),
        Parameter("gamma", 0.01, 0, 1, "the share of elements that moved furthest, whose changes are dropped"),
        SCALE,
        NORMALIZE,
        ELECT,
    )
    needs_base = True
    most_sides = MOST_SIDES

    def check(self, settings: Settings) -> None:
        """Raise UsageError (bad-argument) where the two shares are more than all."""
        density, gamma = settings.values["density"], settings.values["gamma"]
        if density + gamma > 1:
            raise UsageError(
                f"density {density:g} and gamma {gamma:g} are more than 1 together",
                kind="bad-argument",
                hint="one is the share that is kept, the other that of outliers that are dropped",
            )

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the sum of what is kept, for which the tensor is gone through twice."""
        count = elements_of(contents)
        wanted = zip(settings.each("density"), settings.each("gamma"), strict=True)
        bounds = magnitudes_at(contents, [_places(density, gamma, count) for density, gamma in wanted])

        def merge(span: Span, out: Any) -> Tally:
            sides = []
            for side, (most, least) in zip(span.sides, bounds, strict=True):
                sizes = magnitudes(changes(span, side))
                sides.append(masked(span, side, (sizes <= most) & (sizes >= least)))
            return added(span, sides, settings, out)

        return merge


def _places(density: float, gamma: float, count: int) -> tuple[int, int]:
    """Return the places, in the order of magnitudes, of the first and the last change that is kept."""
    dropped, kept = round(gamma * count), places_of(density, count)
    return min(dropped + 1, count), min(dropped + kept, count) if kept else 0
