"""SCE: the elements in which sides differ most, weighted by how much each side moved, minority signs erased."""

from __future__ import annotations

from typing import Any

from lamella.model.merging.elements import changes, masked
from lamella.model.merging.geometry import products
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Settings, Span, Strategy
from lamella.model.merging.sums import MOST_SIDES, elected


class Sce(Strategy):
    """theta_0 + sum w_i d_i over the sides whose sign is that of sum d_i, over the w_i of these (arXiv 2408.07990).

    w_i is the sum of the squares of d_i, the changes of a side in this tensor: calculate and erase of the paper. Its
    selection of elements by variance, which drops much of what one side alone moved, is left out. Where the sum is 0
    the base is kept.
    """

    name = "sce"
    summary = "the mean of changes that go the way of their sum, a side weighing more the further it moved in all"
    source = "arXiv 2408.07990, without its selection"
    needs_base = True
    most_sides = MOST_SIDES
    weighted = False

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the weighted mean, for which the tensor is gone through once."""
        gram = products(contents, changes=True)
        squares = [gram[side][side] for side in range(contents.sides)]
        largest = max(squares) or 1.0
        weights = [square / largest for square in squares]

        def merge(span: Span, out: Any) -> Tally:
            return elected(span, _majority(span), weights, out)

        return merge


def _majority(span: Span) -> list[Any]:
    """Return the sides as the base where they move against the sum of all changes."""
    import numpy

    moves = [changes(span, side) for side in span.sides]
    with numpy.errstate(all="ignore"):
        total = sum(moves[1:], moves[0])
        kept = [numpy.isnan(total) | (numpy.sign(move) == numpy.sign(total)) for move in moves]
    return [masked(span, side, stays) for side, stays in zip(span.sides, kept, strict=True)]
