"""What the sides of a tensor are as vectors: their dot products, and combinations that follow from these alone."""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Any

from lamella.core.errors import ConflictError
from lamella.model import kernels
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Parameter, Span
from lamella.model.merging.sums import ordered_sum

CHANGES = Parameter(
    "changes", 0, 0, 1, "whether the changes since the base are turned rather than the weights", whole=True
)

Gram = list[list[float]]


def products(contents: Contents, *, changes: bool) -> Gram:
    """Return the dot products of all sides with all, less the base for `changes`, in one pass over the tensor.

    They are sums of float64 in the order of the spans. What is not finite counts as 0. Raises ConflictError
    (merge-conflict) where a sum is infinite.
    """
    total = (0.0,) * contents.sides**2
    for found in contents.each(lambda span: _products(span, changes=changes)):
        total = tuple(one + other for one, other in zip(total, found, strict=True))
    if not all(map(isfinite, total)):
        raise ConflictError(
            "its norms are too large to be computed", kind="merge-conflict", hint="take a side, or choose linear"
        )
    return [list(total[side * contents.sides : (side + 1) * contents.sides]) for side in range(contents.sides)]


def _products(span: Span, *, changes: bool) -> tuple[float, ...]:
    return kernels.gram(span.base if changes else None, span.sides, span.dtype, span.count)


def norms_of(gram: Gram) -> list[float]:
    """Return the norms of the sides."""
    return [sqrt(row[side]) for side, row in enumerate(gram)]


def cosine_of(gram: Gram, one: int, other: int) -> float:
    """Return the cosine of the angle between two sides, 0 where one of them is 0."""
    norms = norms_of(gram)
    if not norms[one] or not norms[other]:
        return 0.0
    return max(-1.0, min(1.0, gram[one][other] / norms[one] / norms[other]))


def combined(factors: list[float], *, changes: bool) -> Formula:
    """Return the sum of the sides times their factors; with `changes` that of the changes, and the base.

    Elements that are the same on all sides, and with `changes` in the base, are kept.
    """

    def merge(span: Span, out: Any) -> Tally:
        runs, weights = span.sides, tuple(factors)
        if changes:
            assert span.base is not None
            runs, weights = (span.base, *runs), (1 - ordered_sum(factors), *factors)
        return Tally(kernels.weighted_sum(runs, weights, span.dtype, span.count, out, True))

    return merge
