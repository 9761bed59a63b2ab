"""What one pass over two tensors of the same shape says about how they differ."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True)
class Measures:
    """The difference of two runs of elements, a before and b after, summed up in float64.

    `count` elements were compared, of which `changed` have another value; two NaNs are the same value, and so are 0 and
    -0. Sums are over the `finite` ones, where neither side is NaN or infinite: `sum_absolute` of |b - a|, `dot` of
    a * b, `squares_*` of squares. `above` counts |b - a| > epsilon, and every change to or from what is not finite;
    `both` are elements that have the same value on either side and are not finite.

    `ulps` counts elements by their distance in units of the last place: `ulps[0]` those with none, `ulps[k]` those of
    2**(k-1) to 2**k - 1. It is measured in the coarser of two dtypes, to which the finer value is rounded, and is empty
    where a dtype has no such units; `ulp_max` is the largest distance.
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
        """The norm of b - a over the norm of a; None where a is all zeros and b is not."""
        if not self.squares_difference:
            return 0.0
        return self.norm_difference / self.norm_before if self.squares_before else None

    @property
    def cosine_distance(self) -> float | None:
        """1 - cos(a, b), from 0 to 2; None where one of the sides is all zeros."""
        if not self.squares_difference:
            return 0.0
        norms = self.norm_before * self.norm_after
        if not norms:
            return None
        # 1 - dot / norms would lose all digits where the two are nearly parallel.
        apart = self.squares_difference - (self.norm_before - self.norm_after) ** 2
        return min(2.0, max(0.0, apart / (2 * norms)))
