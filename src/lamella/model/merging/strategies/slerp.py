"""Spherical interpolation: from ours to theirs along the arc between them."""

from __future__ import annotations

from lamella.core.errors import UsageError
from lamella.model.merging.angles import arc_cosine, sine
from lamella.model.merging.geometry import CHANGES, combined, cosine_of, products
from lamella.model.merging.strategy import Contents, Formula, Parameter, Settings, Strategy

STRAIGHT = 0.9995
"""Above this cosine the arc is as good as straight, and below its negative there is none that is the shortest."""


class Slerp(Strategy):
    """sin((1 - t) W) / sin W * ours + sin(t W) / sin W * theirs, W the angle between them (Shoemake, SIGGRAPH 1985).

    Where they are nearly parallel it is (1 - t) * ours + t * theirs.
    """

    name = "slerp"
    summary = "along the arc from ours to theirs, which keeps the norm where a straight line would shrink it"
    source = "Shoemake, SIGGRAPH 1985"
    parameters = (Parameter("t", 0.5, 0, 1, "how far to go, from 0 for ours to 1 for theirs"), CHANGES)
    most_sides = 2
    weighted = False
    symmetric = False

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the combination, for which the tensor is gone through once."""
        t, changes = settings.values["t"], bool(settings.values["changes"])
        require_base(contents, self.name, changes=changes)
        cosine = cosine_of(products(contents, changes=changes), 0, 1)
        return combined(list(_factors(t, cosine)), changes=changes)


def _factors(t: float, cosine: float) -> tuple[float, float]:
    if abs(cosine) > STRAIGHT:
        return 1 - t, t
    angle = arc_cosine(cosine)
    return sine((1 - t) * angle) / sine(angle), sine(t * angle) / sine(angle)


def require_base(contents: Contents, name: str, *, changes: bool) -> None:
    """Raise UsageError (bad-argument) where changes are asked for and there is no base."""
    if changes and not contents.has_base:
        raise UsageError(
            f"{name} has no base since which there are changes",
            kind="bad-argument",
            hint="leave `--param changes=1` out, or merge versions with an ancestor",
        )
