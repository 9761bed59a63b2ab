"""The base and the changes of the sides, added up: all of them, or where signs are elected those of the majority."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.errors import UsageError
from lamella.model import kernels
from lamella.model.merging.elements import values, write
from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Parameter, Settings, Span

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

SCALE = Parameter("scale", 1, -16, 16, "what the sum of the changes is multiplied by")
NORMALIZE = Parameter("normalize", 0, 0, 1, "whether the sum is divided by that of the weights in it", whole=True)
ELECT = Parameter(
    "elect", 0, 0, 1, "whether only the changes that go the way of most are added, as in TIES", whole=True
)
MOST_SIDES = 64
"""So many sides the kernels compare, all with all."""


def ordered_sum(numbers: Iterable[float]) -> float:
    """Return the sum of numbers, added one after the other: `sum` makes up for rounding from Python 3.12 on."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def shares(weights: Sequence[float]) -> tuple[float, ...]:
    """Return weights over their sum; raise UsageError (bad-argument) where that is 0, or infinite."""
    total = ordered_sum(weights)
    if not total or not isfinite(total):
        raise UsageError(
            f"the weights of the sides that changed a tensor sum to {total:g}",
            kind="bad-argument",
            hint="change one of them",
        )
    return tuple(weight / total for weight in weights)


def elected(
    span: Span,
    sides: Sequence[Buffer],
    weights: Sequence[float],
    out: Any,
    *,
    thresholds: Sequence[float] = (),
    scale: float = 1.0,
    normalize: bool = True,
) -> Tally:
    """Write what the election of signs makes of the sides, see `kernels.elect`."""
    assert span.base is not None
    limits = thresholds or (0.0,) * len(sides)
    found = kernels.elect(span.base, sides, weights, limits, scale, normalize, span.dtype, span.count, out)
    moved, either, both, clashes, not_finite, gram = found
    return Tally(not_finite, moved, either, both, clashes, gram)


def added(span: Span, sides: Sequence[Buffer], settings: Settings, out: Any) -> Tally:
    """Write base + scale * sum w_i (side_i - base), as the settings want it: normalized, and elected.

    It is one weighted sum of base and sides; where all of them are the same they are kept.
    """
    assert span.base is not None
    if settings.values.get("elect"):
        scale, normalize = settings.values["scale"], bool(settings.values["normalize"])
        return Tally(elected(span, sides, settings.weights, out, scale=scale, normalize=normalize).not_finite)
    factors = _factors(settings)
    runs = (span.base, *sides)
    return Tally(kernels.weighted_sum(runs, (1 - ordered_sum(factors), *factors), span.dtype, span.count, out, True))


def added_changes(span: Span, moves: Sequence[Array], settings: Settings, out: Any) -> Tally:
    """Write base + scale * sum w_i moves_i, as `added` does of changes that are given as float64.

    The base is kept where that sum is 0.
    """
    import numpy

    assert span.base is not None
    runs, zeros, total = [one.data for one in moves], numpy.zeros(span.count), numpy.empty(span.count)
    if settings.values["elect"]:
        scale, normalize = settings.values["scale"], bool(settings.values["normalize"])
        limits = (0.0,) * len(runs)
        kernels.elect(zeros.data, runs, settings.weights, limits, scale, normalize, "f64", span.count, total)
    else:
        kernels.weighted_sum(runs, _factors(settings), "f64", span.count, total, False)
    with numpy.errstate(all="ignore"):
        found = values(span.base, span.dtype, span.count) + total
    return write(found, span, out, [(span.base, total == 0)])


def _factors(settings: Settings) -> list[float]:
    weights = shares(settings.weights) if settings.values["normalize"] else settings.weights
    return [settings.values["scale"] * weight for weight in weights]
