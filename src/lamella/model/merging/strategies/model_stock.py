"""Model stock: between the base and the mean of the sides, the nearer to these the more alike they are."""

from __future__ import annotations

from lamella.model.merging.geometry import combined, cosine_of, products
from lamella.model.merging.strategy import Contents, Formula, Settings, Strategy
from lamella.model.merging.sums import MOST_SIDES, ordered_sum


class ModelStock(Strategy):
    """t * mean(theta_i) + (1 - t) * theta_0 with t = n c / (1 + (n - 1) c) for n sides (arXiv 2403.19522).

    c is the mean cosine of the angles between their changes, 0 where it is negative.
    """

    name = "model-stock"
    summary = "between the base and the mean of the sides, the nearer to the mean the more their changes are alike"
    source = "arXiv 2403.19522"
    needs_base = True
    most_sides = MOST_SIDES
    weighted = False

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the combination, for which the tensor is gone through once."""
        sides = contents.sides
        gram = products(contents, changes=True)
        cosines = [cosine_of(gram, one, other) for one in range(sides) for other in range(one)]
        cosine = max(0.0, ordered_sum(cosines) / len(cosines)) if cosines else 1.0
        towards = sides * cosine / (1 + (sides - 1) * cosine)
        return combined([towards / sides] * sides, changes=True)
