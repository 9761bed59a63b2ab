"""How far the weights of one model moved to those of another: the value that every report shows."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.tensors import TensorSpec
from lamella.model.alignment import Pair
from lamella.model.measures import Measures


@dataclass(frozen=True, slots=True)
class Moved:
    """One index along the first axis of a tensor, a row or an output channel, and the mean |b - a| within it."""

    index: int
    mean_absolute: float


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The singular values of b - a, as a matrix of the first axis against all others, the largest first.

    `effective_rank` is exp of the entropy of the values over their sum (Roy and Vetterli 2007); `rank` is the least
    number of them whose squares make 99 % of the sum of squares. `exact` says that no value was left out.
    """

    values: tuple[float, ...]
    effective_rank: float
    rank: int
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
    change point. `rows` are the rows that moved furthest, the furthest first, of which `row_points` of `row_count`
    exceed epsilon.
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
        """Whether D exceeds epsilon, or what is finite changed to or from what is not."""
        found = self.measures
        return found is not None and (found.mean_absolute > self.epsilon or found.finite < found.count - found.both)

    @property
    def recast(self) -> bool:
        """Whether the two have other dtypes, so that values are compared and not bits."""
        return self.before.dtype != self.after.dtype
