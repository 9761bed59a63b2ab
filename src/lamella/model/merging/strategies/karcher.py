"""The Karcher mean: the direction with the least squared angles to those of all sides."""

from __future__ import annotations

from math import pi, sqrt

from lamella.core.errors import ConflictError, UsageError
from lamella.model.merging.angles import arc_cosine, cosine, sine
from lamella.model.merging.geometry import CHANGES, Gram, combined, norms_of, products
from lamella.model.merging.strategies.slerp import require_base
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Strategy
from lamella.model.merging.sums import MOST_SIDES, ordered_sum, shares


class Karcher(Strategy):
    """The u on the sphere with the least sum w_i angle(u, theta_i)^2, times the weighted mean of the norms.

    Steps of sum w_i log_u(theta_i) are taken from the weighted mean of the directions on (Karcher, Comm. Pure Appl.
    Math. 30, 1977). With `changes` the same of theta_i - theta_0, on top of theta_0.
    """

    name = "karcher"
    summary = "the mean direction of the sides on the sphere, with the mean of their norms"
    source = "Karcher, Comm. Pure Appl. Math. 30, 1977"
    parameters = (
        Parameter("iterations", 10, 1, 1000, "how many steps are taken at most", whole=True),
        Parameter("tolerance", 1e-5, 0, 1, "the angle, in radians, below which a step is the last one"),
        CHANGES,
    )
    most_sides = MOST_SIDES

    def check(self, settings: Settings) -> None:
        """Raise UsageError (bad-argument) for negative weights, and where all are 0."""
        if min(settings.weights) < 0 or not any(settings.weights):
            raise UsageError("a mean direction needs weights above 0", kind="bad-argument", hint="change the weights")

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the combination, for which the tensor is gone through once."""
        self.check(settings)
        changes = bool(settings.values["changes"])
        require_base(contents, self.name, changes=changes)
        gram = products(contents, changes=changes)
        steps, tolerance = int(settings.values["iterations"]), settings.values["tolerance"]
        return combined(_mean(gram, settings.weights, steps, tolerance), changes=changes)


def _mean(gram: Gram, weights: tuple[float, ...], steps: int, tolerance: float) -> list[float]:
    """Return the factors of the sides in their mean. Sides that are 0 have no direction, and count as norms only."""
    norms, total = norms_of(gram), ordered_sum(weights)
    scale = ordered_sum(weight * norm for weight, norm in zip(weights, norms, strict=True)) / total
    taking = [side for side, norm in enumerate(norms) if norm and weights[side]]
    if not taking:
        return [weight / total for weight in weights]
    units = [[gram[one][other] / norms[one] / norms[other] for other in taking] for one in taking]
    found = _direction(units, [weights[side] for side in taking], steps, tolerance)
    factors = [0.0] * len(norms)
    for side, part in zip(taking, found, strict=True):
        factors[side] = scale * part / norms[side]
    return factors


def _direction(units: Gram, weights: list[float], steps: int, tolerance: float) -> list[float]:
    """Return the mean of unit vectors, as their combination, of which `units` has the dot products."""
    parts = shares(weights)
    mean = _scaled(list(parts), units)
    for _ in range(steps):
        step = [0.0] * len(mean)
        for side, share in enumerate(parts):
            near = max(-1.0, min(1.0, ordered_sum(part * units[side][n] for n, part in enumerate(mean))))
            angle = arc_cosine(near)
            stretch = share * (angle / sine(angle) if 0 < angle < pi else 1.0)
            step = [one - stretch * near * part for one, part in zip(step, mean, strict=True)]
            step[side] += stretch
        size = sqrt(max(0.0, _square(step, units)))
        if size <= tolerance:
            break
        turned = min(size, pi)
        mean = [cosine(turned) * one + sine(turned) / size * other for one, other in zip(mean, step, strict=True)]
        mean = _scaled(mean, units)
    return mean


def _scaled(parts: list[float], units: Gram) -> list[float]:
    square = _square(parts, units)
    if square <= 1e-12:
        raise ConflictError(
            "the sides point in opposite directions, and have no mean one",
            kind="merge-conflict",
            hint="take a side, or choose another strategy",
        )
    return [part / sqrt(square) for part in parts]


def _square(parts: list[float], units: Gram) -> float:
    return ordered_sum(
        one * ordered_sum(other * units[n][m] for m, other in enumerate(parts)) for n, one in enumerate(parts)
    )
