"""What one pass over one tensor says about its values."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True)
class Survey:
    """One run of elements, summed up in float64.

    Of `count` elements, `nan` are none, `infinite` are infinities, `zeros` are 0 or -0, and `subnormal` lie between 0
    and the smallest normal number of their dtype. `minimum` and `maximum` are of the finite ones, 0 where there are
    none; `total` is their sum and `squares` that of their squares. The parts of a complex number are elements of their
    own.
    """

    count: int
    nan: int
    infinite: int
    zeros: int
    subnormal: int
    minimum: float
    maximum: float
    total: float
    squares: float

    @property
    def finite(self) -> int:
        """How many elements are neither NaN nor infinite."""
        return self.count - self.nan - self.infinite

    @property
    def is_finite(self) -> bool:
        """Whether no element is NaN or infinite."""
        return self.finite == self.count

    @property
    def is_constant(self) -> bool:
        """Whether there are elements, and all are the same finite number."""
        return self.count > 0 and self.is_finite and self.minimum == self.maximum

    @property
    def max_absolute(self) -> float:
        """The largest magnitude of a finite element."""
        return max(abs(self.minimum), abs(self.maximum))

    @property
    def mean(self) -> float:
        """The mean of the finite elements; 0 where there are none."""
        return self.total / self.finite if self.finite else 0.0

    @property
    def norm(self) -> float:
        """The Euclidean norm of the finite elements."""
        return sqrt(self.squares)

    def __add__(self, other: Survey) -> Survey:
        """Return the survey of this run followed by another of the same dtype."""
        ends = [one for one in (self, other) if one.finite] or [self]
        return Survey(
            self.count + other.count,
            self.nan + other.nan,
            self.infinite + other.infinite,
            self.zeros + other.zeros,
            self.subnormal + other.subnormal,
            min(one.minimum for one in ends),
            max(one.maximum for one in ends),
            self.total + other.total,
            self.squares + other.squares,
        )
