"""The NumPy twins of the compiled kernels that compare sides with their base: the definition of what each returns.

What holds in `merge_reference` holds here. A side has moved an element where it is not the same as the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.model.measure_reference import BINS
from lamella.model.merge_reference import Floats, encoded, floats, read_factors, read_sides, require, special, write

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

SIDES = 64
"""So many sides at most have their moves compared, all with all."""

_TILE, _LANES = 256, 8
_NAN_MAGNITUDE = 0x7FC0_0000


def elect(
    base: Buffer,
    sides: Sequence[Buffer],
    weights: Sequence[float],
    thresholds: Sequence[float],
    scale: float,
    normalize: bool,
    dtype: str,
    count: int,
    out: Any,
) -> tuple[tuple[int, ...], int, int, int, int, tuple[float, ...]]:
    """Merge at most 64 sides by electing signs: TIES, arXiv 2306.01708.

    A side has moved an element where it is not the same as the base, by d, their difference. It is heard where it moved
    by at least its threshold, |d| rounded to f32, and its weight is not 0; its pull then is its weight times d, else 0.
    Chosen are the sides whose pull has the sign of the sum of all pulls; where that sum is NaN, or no pull is other
    than 0, all that are heard. The result is base + scale * (sum of the chosen pulls), and with `normalize` that sum is
    divided by the sum of the chosen weights.

    Where none is chosen the base is kept as it is. Where `scale` is 1, `normalize` is true and the chosen sides are the
    same, they are taken as they are.

    Return how many elements each side moved; how many at least one and at least two moved; how many any two moved in
    opposite directions; how many results are not finite where one moved; and `gram(base, sides)`.
    """
    import numpy

    held, runs = floats(base, dtype, count), read_sides(sides, dtype, count, SIDES)
    factors, (rate,) = read_factors(weights, len(runs)), read_factors([scale], 1)
    moves = [_moves(held, run) for run in runs]
    moved = numpy.stack([run.codes != held.codes for run in runs])
    heard = moved & _heard(moves, factors, _limits(thresholds, len(runs)))
    with numpy.errstate(all="ignore"):
        pulls = [numpy.where(one, factor * move, 0.0) for one, factor, move in zip(heard, factors, moves, strict=True)]
        chosen = heard & _elected(pulls)
        delta = _sum([numpy.where(one, pull, 0.0) for one, pull in zip(chosen, pulls, strict=True)])
        if normalize:
            delta = delta / _sum([numpy.where(one, factor, 0.0) for one, factor in zip(chosen, factors, strict=True)])
        found = encoded(held.values + rate * delta, dtype)
    if rate == 1 and normalize:
        first = numpy.stack([run.codes for run in runs])[chosen.argmax(axis=0), numpy.arange(count)]
        agreed = numpy.logical_and.reduce([~one | (run.codes == first) for one, run in zip(chosen, runs, strict=True)])
        found = numpy.where(agreed, first, found)
    found = numpy.where(chosen.any(axis=0), found, held.codes)
    write(found, dtype, out)
    movers = moved.sum(axis=0)
    return (
        tuple(int(number) for number in moved.sum(axis=1)),
        int((movers >= 1).sum()),
        int((movers >= 2).sum()),
        int((_any([move > 0 for move in moves]) & _any([move < 0 for move in moves])).sum()),
        int((special(found, dtype) & (movers >= 1)).sum()),
        _products(moves),
    )


def gram(base: Buffer | None, sides: Sequence[Buffer], dtype: str, count: int) -> tuple[float, ...]:
    """Return the dot products of all sides with all, at most 64, less the base where there is one, row-major.

    An element is 0 where the side is the same as the base, and where it is not finite. Sums are made in eight lanes,
    tile by tile of 256 elements: lanes are added as `((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))`, tiles in order.
    """
    runs = read_sides(sides, dtype, count, SIDES)
    held = None if base is None else floats(base, dtype, count)
    return _products([_moves(held, run) for run in runs])


def count_magnitudes(
    base: Buffer | None, side: Buffer, dtype: str, count: int, prefix: int | None, counts: Any
) -> None:
    """Add 1 for each element to one of 65,536 unsigned integers of 64 bits, by |side - base| rounded to f32.

    Which one is said by the upper half of that magnitude's 32 bits; or where `prefix` is not None by the lower half, of
    those alone whose upper half is `prefix`. A magnitude is 0 where the side is the same as the base; without a base it
    is that of the element. Every NaN is 0x7fc00000, and so larger than any number.
    """
    import numpy

    bins = numpy.frombuffer(counts, numpy.uint64)
    require(bins.size == BINS and bins.flags.writeable, "the counts must be 65,536 writable numbers of 8 bytes")
    require(prefix is None or 0 <= prefix < BINS, "the prefix must be 16 bits")
    held = None if base is None else floats(base, dtype, count)
    moves = _moves(held, floats(side, dtype, count))
    bits = _magnitudes(moves).view(numpy.uint32)
    bits[numpy.isnan(moves)] = _NAN_MAGNITUDE
    places = bits >> 16 if prefix is None else bits[bits >> 16 == prefix] & (BINS - 1)
    bins += numpy.bincount(places, minlength=BINS).astype(numpy.uint64)


def _limits(given: Sequence[float], count: int) -> Array:
    import numpy

    with numpy.errstate(all="ignore"):
        found: Array = numpy.array([float(number) for number in given]).astype(numpy.float32)
    require(len(found) == count, "there must be a threshold for each side")
    require(bool((found >= 0).all()), "thresholds must not be negative")
    return found


def _moves(held: Floats | None, run: Floats) -> Array:
    import numpy

    if held is None:
        return run.values
    with numpy.errstate(all="ignore"):
        found: Array = numpy.where(run.codes == held.codes, 0.0, run.values - held.values)
    return found


def _magnitudes(moves: Array) -> Array:
    import numpy

    with numpy.errstate(all="ignore"):
        found: Array = abs(moves).astype(numpy.float32)
    return found


def _heard(moves: Sequence[Array], factors: Sequence[float], limits: Array) -> Array:
    import numpy

    sides = zip(moves, factors, limits, strict=True)
    return numpy.stack([~(_magnitudes(move) < limit) & (factor != 0) for move, factor, limit in sides])


def _elected(pulls: Sequence[Array]) -> Array:
    """Return which pulls have the sign of their sum, or all where that sum is NaN or all are 0."""
    import numpy

    total = _sum(pulls)
    undecided = numpy.isnan(total) | numpy.logical_and.reduce([pull == 0 for pull in pulls])
    return numpy.stack([undecided | ((pull > 0) & (total > 0)) | ((pull < 0) & (total < 0)) for pull in pulls])


def _any(flags: Sequence[Array]) -> Array:
    import numpy

    found: Array = numpy.logical_or.reduce(flags)
    return found


def _sum(terms: Sequence[Array]) -> Array:
    """Return the sums of some terms, in their order, from 0 on."""
    import numpy

    total = numpy.zeros(terms[0].size)
    for term in terms:
        total = total + term
    return total


def _products(moves: Sequence[Array]) -> tuple[float, ...]:
    """Return the dot product of all with all, as `gram` says."""
    import numpy

    tiles = -(-moves[0].size // _TILE)
    padded = numpy.zeros((len(moves), tiles, _TILE // _LANES, _LANES))
    for row, move in zip(padded.reshape(len(moves), -1), moves, strict=True):
        row[: move.size] = numpy.where(numpy.isfinite(move), move, 0.0)
    return tuple(_dot(one, other) for one in padded for other in padded)


def _dot(one: Array, other: Array) -> float:
    import numpy

    with numpy.errstate(all="ignore"):
        lanes = numpy.zeros((len(one), _LANES))
        for products in numpy.moveaxis(one * other, 1, 0):
            lanes = lanes + products
        a, b, c, d, e, f, g, h = lanes.T
        return float(numpy.add.accumulate([0.0, *(((a + b) + (c + d)) + ((e + f) + (g + h)))])[-1])
