"""How far the weights of one model moved to those of another: the value that every report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamella.core.tensors import TensorSpec
from lamella.model.alignment import Pair
from lamella.model.measures import Measures
from lamella.model.tensor_names import is_optimizer_state


@dataclass(frozen=True, slots=True)
class Moved:
    """One index along the first axis of a tensor, a row or an output channel, and the mean |b - a| within it."""

    index: int
    mean_absolute: float


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The singular values of b - a, as a matrix of the first axis against all others, the largest first.

    `effective_rank` is exp of the entropy of all values over their sum (Roy and Vetterli 2007); `rank` is the least
    number of them whose squares make 99 % of the sum of squares. `distinct` is how many stand out of noise: of values
    that independent noise as strong as all that is left has, the largest is known (Marchenko and Pastur 1967). A
    low-rank update keeps its number there also where rounding to a narrow dtype added noise.

    `values` are the leading ones. Where `exact` is false, only these are known, and what they leave of the sum of
    squares is taken to be spread evenly over the others.
    """

    values: tuple[float, ...]
    effective_rank: float
    rank: int
    distinct: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values fall between neighbours of `edges`, ascending; what is not finite is left out."""

    edges: tuple[float, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """One tensor that is on both sides, and how far it moved.

    `measures` is None where the bytes are the same, which is known without reading them, or where nothing can be
    measured: quantised blocks, or no overlap; `unread` then says why in a few words, and is "" otherwise. `overlap` is
    the shape that was compared where the two shapes differ. `epsilon` is what a mean |b - a| has to exceed to be a
    change point. `rows` are the rows that moved furthest, the furthest first, of `row_count` rows, of which
    `row_points` exceed epsilon. A tensor of one axis has no rows. What is not finite adds nothing to a row's mean.
    """

    before: TensorSpec
    after: TensorSpec
    pair: Pair
    same: bool
    measures: Measures | None = None
    unread: str = ""
    overlap: tuple[int, ...] | None = None
    epsilon: float = 0.0
    rows: tuple[Moved, ...] = ()
    row_points: int = 0
    row_count: int = 0
    spectrum: Spectrum | None = None
    histogram: Histogram | None = None

    @property
    def change_point(self) -> bool:
        """Whether D exceeds epsilon, or what is finite changed to or from what is not.

        A mere cast is none, however far it had to round.
        """
        found = self.measures
        if found is None or (self.recast and self.rounding_only):
            return False
        return found.mean_absolute > self.epsilon or found.special > 0

    @property
    def rounding_only(self) -> bool:
        """Whether values changed, but only as rounding changes them.

        Of one dtype, of 16 bits or more: no element by more than one unit of the last place. A step of training has
        about the same size for all elements, many units of those that are near 0, while rounding moves them by one;
        only where all elements have about one magnitude, as in a layer norm, may a small step look like rounding. Of
        two dtypes: the finer values, rounded to the coarser dtype, to nearest and ties to even, are exactly those of
        the other side.
        """
        found = self.measures
        if found is None or not found.changed or found.special or not found.ulps:
            return False
        return found.ulp_max == 0 if self.recast else found.ulp_max <= 1 and self.after.dtype.bits >= 16

    @property
    def only_resized(self) -> bool:
        """Whether the shapes differ, and what both have is the same."""
        return self.overlap is not None and self.measures is not None and not self.measures.changed

    @property
    def recast(self) -> bool:
        """Whether the two have other dtypes, so that values are compared and not bits."""
        return self.before.dtype != self.after.dtype


def weights_of(differences: Sequence[TensorDifference]) -> tuple[TensorDifference, ...]:
    """Return the differences that are not of an optimizer's state, as names tell; all where there are no others."""
    return tuple(one for one in differences if not is_optimizer_state(one.after.name)) or tuple(differences)
