"""DARE: of every side's changes some, drawn by lot, the others dropped and these made larger for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamella.model.merging.draws import ONE, draw
from lamella.model.merging.elements import changes
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Span, Strategy
from lamella.model.merging.sums import ELECT, MOST_SIDES, NORMALIZE, SCALE, added_changes

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

SEED = Parameter(
    "seed", 0, 0, (1 << 48) - 1, "a number for another draw; which one it is follows from the contents", whole=True
)
RESCALE = Parameter("rescale", 1, 0, 1, "whether what is kept is divided by the chance that it is", whole=True)


class Dare(Strategy):
    """theta_0 + scale * sum w_i m_i d_i / density, m_i being 1 with the chance `density`, else 0 (arXiv 2311.03099).

    With `elect` signs are elected among what is kept, as in TIES. NaN and infinity are always kept, so that they show.
    """

    name = "dare"
    summary = "changes of each side drawn by lot and rescaled, then added up, or elected as in TIES"
    source = "arXiv 2311.03099"
    parameters = (
        Parameter("density", 0.5, 0.001, 1, "the chance of a change to be kept"),
        RESCALE,
        SCALE,
        NORMALIZE,
        ELECT,
        SEED,
    )
    needs_base = True
    most_sides = MOST_SIDES

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the sum of what is kept."""
        seed, number = contents.seed, int(settings.values["seed"])
        densities, rescales = settings.each("density"), settings.values["rescale"]

        def merge(span: Span, out: Any) -> Tally:
            moved = []
            for place, (side, density) in enumerate(zip(span.sides, densities, strict=True)):
                drawn = draw(seed, stream(number, place), span.first, span.count) < round(density * ONE)
                moved.append(kept(changes(span, side), drawn, density if rescales else 1.0))
            return added_changes(span, moved, settings, out)

        return merge


def kept(moves: Array, drawn: Array, divisor: Array | float) -> Array:
    """Return the changes that are drawn, divided, else 0; what is not finite always is, so that it shows."""
    import numpy

    with numpy.errstate(all="ignore"):
        found: Array = numpy.where(drawn | ~numpy.isfinite(moves), moves / divisor, 0.0)
    return found


def stream(number: int, side: int) -> int:
    """Return the stream of random numbers of one of the sides."""
    return number * MOST_SIDES + side
