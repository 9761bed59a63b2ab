"""DELLA: changes drawn by lot, where the further one moved among those of its row, the likelier it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamella.core.errors import UsageError
from lamella.model import kernels
from lamella.model.measure_reference import parts
from lamella.model.merging.draws import ONE, draw
from lamella.model.merging.elements import changes, magnitudes, values, write
from lamella.model.merging.score import Tally
from lamella.model.merging.strategies.dare import RESCALE, SEED, stream
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span, Strategy
from lamella.model.merging.sums import ELECT, MOST_SIDES, NORMALIZE, SCALE, shares

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


class Della(Strategy):
    """theta_0 + scale * sum w_i m_i d_i / p_i, m_i being 1 with the chance p_i (MagPrune, arXiv 2406.11617).

    p_i goes from density - epsilon for the smallest change of a row, along the last axis, to density + epsilon for the
    largest, by their ranks; equal magnitudes share theirs. A row longer than a span is ranked span by span. Signs are
    elected as in TIES, unless `elect` is 0. NaN and infinity are always kept, so that they show.
    """

    name = "della"
    summary = "changes of each side drawn by lot, large ones likelier than small ones, then elected as in TIES"
    source = "arXiv 2406.11617"
    parameters = (
        Parameter("density", 0.5, 0.001, 1, "the mean chance of a change to be kept"),
        Parameter("epsilon", 0.1, 0, 0.5, "how much more it is for the largest of a row, and less for the smallest"),
        RESCALE,
        SCALE,
        Parameter(NORMALIZE.name, 1, 0, 1, NORMALIZE.meaning),
        Parameter(ELECT.name, 1, 0, 1, ELECT.meaning),
        SEED,
    )
    needs_base = True
    most_sides = MOST_SIDES

    def check(self, settings: Settings) -> None:
        """Raise UsageError (bad-argument) where a chance would not be between 0 and 1."""
        density, epsilon = settings.values["density"], settings.values["epsilon"]
        if not (density - epsilon > 0 and density + epsilon <= 1):
            raise UsageError(
                f"chances from {density - epsilon:g} to {density + epsilon:g} are none",
                kind="bad-argument",
                hint="density less epsilon has to be above 0, and their sum at most 1",
            )

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the election among what is kept."""
        row = max(1, (contents.spec.shape or (1,))[-1] * parts(contents.spec.dtype.name))
        seed, number = contents.seed, int(settings.values["seed"])

        def merge(span: Span, out: Any) -> Tally:
            kept = [
                _kept(changes(span, side), row, draw(seed, stream(number, place), span.first, span.count), settings)
                for place, side in enumerate(span.sides)
            ]
            assert span.base is not None
            total = _total(kept, settings)
            return write(values(span.base, span.dtype, span.count) + total, span, out, [(span.base, total == 0)])

        return merge


def _kept(moves: Array, row: int, drawn: Array, settings: Settings) -> Array:
    """Return the changes that are kept, each divided by its chance where they are rescaled, else 0."""
    import numpy

    density, epsilon = settings.values["density"], settings.values["epsilon"]
    width = row if moves.size % row == 0 else moves.size
    chances = density + epsilon * _ranks(magnitudes(moves).reshape(-1, width)).reshape(-1)
    kept = (drawn < chances * ONE) | ~numpy.isfinite(moves)
    found: Array = numpy.where(kept, moves / chances if settings.values["rescale"] else moves, 0.0)
    return found


def _ranks(rows: Array) -> Array:
    """Return the ranks of numbers within their rows, from -1 to 1; equal ones have the mean of theirs, a lone one 0."""
    import numpy

    width = rows.shape[1]
    order = numpy.argsort(rows, axis=1)
    ascending = numpy.take_along_axis(rows, order, axis=1)
    places = numpy.broadcast_to(numpy.arange(width), rows.shape)
    new = numpy.ones(rows.shape, bool)
    new[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    last = numpy.roll(new, -1, axis=1)
    last[:, -1] = True
    first = numpy.maximum.accumulate(numpy.where(new, places, 0), axis=1)
    behind = numpy.minimum.accumulate(numpy.where(last, places, width)[:, ::-1], axis=1)[:, ::-1]
    found = numpy.empty(rows.shape)
    numpy.put_along_axis(found, order, (first + behind) / max(1, width - 1) - (width > 1), axis=1)
    return found


def _total(kept: list[Array], settings: Settings) -> Array:
    """Return the sum of changes as the settings want it, from a base of zeros."""
    import numpy

    scale, normalize = settings.values["scale"], bool(settings.values["normalize"])
    total, zeros = numpy.empty_like(kept[0]), numpy.zeros_like(kept[0])
    runs = [moves.data for moves in kept]
    if settings.values["elect"]:
        limits = (0.0,) * len(runs)
        kernels.elect(zeros.data, runs, settings.weights, limits, scale, normalize, "f64", zeros.size, total)
    else:
        weights = shares(settings.weights) if normalize else settings.weights
        kernels.weighted_sum(runs, [scale * weight for weight in weights], "f64", zeros.size, total, False)
    return total
