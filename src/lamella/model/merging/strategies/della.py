"""DELLA: changes drawn by lot, where the further one moved among those of its row, the likelier it is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lamella.core.errors import UsageError
from lamella.model.measure_reference import parts
from lamella.model.merging.draws import ONE, draw
from lamella.model.merging.elements import changes, magnitudes
from lamella.model.merging.score import Tally
from lamella.model.merging.strategies.dare import RESCALE, SEED, kept, stream
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span, Strategy
from lamella.model.merging.sums import ELECT, MOST_SIDES, NORMALIZE, SCALE, added_changes

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


class Della(Strategy):
    """theta_0 + scale * sum w_i m_i d_i / p_i, m_i being 1 with the chance p_i (MagPrune, arXiv 2406.11617).

    p_i goes from density - epsilon for the smallest change of a row, along the last axis, to density + epsilon for the
    largest, as in mergekit, by their ranks; equal magnitudes share theirs. A row longer than a span is ranked span by
    span. With a density of 1 all is kept. Signs are elected as in TIES, unless `elect` is 0. NaN and infinity are
    always kept, so that they show.
    """

    name = "della"
    summary = "changes of each side drawn by lot, large ones likelier than small ones, then elected as in TIES"
    source = "arXiv 2406.11617"
    parameters = (
        Parameter("density", 0.5, 0.001, 1, "the mean chance of a change to be kept"),
        Parameter("epsilon", 0.1, 0, 0.5, "how much more it is for the largest of a row, and less for the smallest"),
        RESCALE,
        SCALE,
        replace(NORMALIZE, default=1),
        replace(ELECT, default=1),
        SEED,
    )
    needs_base = True
    most_sides = MOST_SIDES

    def check(self, settings: Settings) -> None:
        """Raise UsageError (bad-argument) where a chance would not be between 0 and 1."""
        density, epsilon = settings.values["density"], settings.values["epsilon"]
        if density < 1 and not (density - epsilon > 0 and density + epsilon <= 1):
            raise UsageError(
                f"chances from {density - epsilon:g} to {density + epsilon:g} are none",
                kind="bad-argument",
                hint="density less epsilon has to be above 0, and their sum at most 1",
            )

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the election among what is kept."""
        row = max(1, (contents.spec.shape or (1,))[-1] * parts(contents.spec.dtype.name))
        seed, number = contents.seed, int(settings.values["seed"])
        chances = list(zip(settings.each("density"), settings.each("epsilon"), strict=True))

        def merge(span: Span, out: Any) -> Tally:
            moved = []
            for place, (side, (density, epsilon)) in enumerate(zip(span.sides, chances, strict=True)):
                drawn = draw(seed, stream(number, place), span.first, span.count)
                moves = changes(span, side)
                chance = density + (epsilon * _ranks(magnitudes(moves), row) if density < 1 else 0)
                moved.append(kept(moves, drawn < chance * ONE, chance if settings.values["rescale"] else 1.0))
            return added_changes(span, moved, settings, out)

        return merge


def _ranks(sizes: Array, row: int) -> Array:
    """Return the ranks of numbers within their rows, from -1 to 1; equal ones have the mean of theirs, a lone one 0."""
    import numpy

    width = row if sizes.size % row == 0 else sizes.size
    rows = sizes.reshape(-1, width)
    order = numpy.argsort(rows, axis=1)
    ascending = numpy.take_along_axis(rows, order, axis=1)
    places = numpy.broadcast_to(numpy.arange(width), rows.shape)
    new = numpy.ones(rows.shape, bool)
    new[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    last = numpy.roll(new, -1, axis=1)
    first = numpy.maximum.accumulate(numpy.where(new, places, 0), axis=1)
    behind = numpy.minimum.accumulate(numpy.where(last, places, width)[:, ::-1], axis=1)[:, ::-1]
    found = numpy.empty(rows.shape)
    numpy.put_along_axis(found, order, (first + behind) / max(1, width - 1) - (width > 1), axis=1)
    return found.reshape(-1)
