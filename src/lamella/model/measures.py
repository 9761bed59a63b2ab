"""What one pass over two tensors of the same shape says about how they differ."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite, sqrt


@dataclass(frozen=True, slots=True)
class Measures:
    """The difference of two runs of elements, a before and b after, summed up in float64.

    `count` elements were compared, of which `changed` have another value; two NaNs are the same value, and so are 0 and
    -0. Sums are over the `finite` ones, where neither side is NaN or infinite: `sum_absolute` of |b - a|, `dot` of
    a * b, `squares_*` of squares; they overflow to infinity as float64 does. `above` counts |b - a| > epsilon, and
    every change to or from what is not finite; `both` are elements that have the same value on either side and are not
    finite.

    `ulps` counts elements by their distance in units of the last place: `ulps[0]` those with none, `ulps[k]` those of
    2**(k-1) to 2**k - 1. It is measured in the coarser of two dtypes, to which the finer value is rounded, and is empty
    where a dtype has no such units; `ulp_max` is the largest distance. Only finite elements have one.

    The parts of a complex number are elements of their own.
    """

    count: int
    changed: int
    above: int
    finite: int
    both: int
    sum_absolute: float
    max_absolute: float
    dot: float
    squares_before: float
    squares_after: float
    squares_difference: float
    nan_before: int
    nan_after: int
    infinite_before: int
    infinite_after: int
    ulp_max: int
    ulps: tuple[int, ...]

    @property
    def mean_absolute(self) -> float:
        """D, the mean of |b - a| over the finite elements; 0 where there are none."""
        return self.sum_absolute / self.finite if self.finite else 0.0

    @property
    def norm_before(self) -> float:
        """The Euclidean norm of a."""
        return sqrt(self.squares_before)

    @property
    def norm_after(self) -> float:
        """The Euclidean norm of b."""
        return sqrt(self.squares_after)

    @property
    def norm_difference(self) -> float:
        """The Euclidean norm of b - a."""
        return sqrt(self.squares_difference)

    @property
    def relative(self) -> float | None:
        """The norm of b - a over the norm of a; None where a is all zeros and b is not, or the squares overflow."""
        if not self.max_absolute:
            return 0.0
        if not self.squares_before or not isfinite(self.squares_before + self.squares_difference):
            return None
        return self.norm_difference / self.norm_before

    @property
    def cosine_distance(self) -> float | None:
        """1 - cos(a, b), from 0 to 2; None where one of the sides is all zeros, or the squares overflow."""
        if not self.max_absolute:
            return 0.0
        norms = self.norm_before * self.norm_after
        if not norms or not isfinite(norms + self.squares_difference):
            return None
        # 1 - dot / norms would lose all digits where the two are nearly parallel.
        apart = self.squares_difference - (self.norm_before - self.norm_after) ** 2
        return min(2.0, max(0.0, apart / (2 * norms)))

    @property
    def share_changed(self) -> float:
        """The share of the elements that have another value."""
        return self.changed / self.count if self.count else 0.0

    @property
    def share_above(self) -> float:
        """The share of the elements that moved by more than epsilon."""
        return self.above / self.count if self.count else 0.0

    @property
    def special(self) -> int:
        """How many elements changed to or from what is not finite, or among that."""
        return self.count - self.finite - self.both

    def __add__(self, other: Measures) -> Measures:
        """Return the measures of this run followed by another of the same two dtypes."""
        return Measures(
            self.count + other.count,
            self.changed + other.changed,
            self.above + other.above,
            self.finite + other.finite,
            self.both + other.both,
            self.sum_absolute + other.sum_absolute,
            max(self.max_absolute, other.max_absolute),
            self.dot + other.dot,
            self.squares_before + other.squares_before,
            self.squares_after + other.squares_after,
            self.squares_difference + other.squares_difference,
            self.nan_before + other.nan_before,
            self.nan_after + other.nan_after,
            self.infinite_before + other.infinite_before,
            self.infinite_after + other.infinite_after,
            max(self.ulp_max, other.ulp_max),
            tuple(one + two for one, two in zip_longest(self.ulps, other.ulps, fillvalue=0)),
        )
