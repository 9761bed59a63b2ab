"""The NumPy twins of the compiled kernels that merge tensors: what each returns is defined here, to the last bit.

A run is `count` elements of one dtype of floats, `f8_e8m0` excepted: row-major and little-endian, packed ones from the
least significant bits on. A complex number is two elements. They are computed with as float64, sums in the order of the
sides, no product fused with a sum, and rounded once (`encode`). Two elements are the same where their bits are. `out`
is as long as a side and overlaps none. What does not fit together raises ValueError. `elect_reference` has the twins of
what compares sides with their base.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES
from lamella.model.measure_reference import UNITS, elements, ordinals, parts

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

NANS = {
    "f8_e4m3": 0x7F, "f8_e5m2": 0x7E, "f8_e4m3fnuz": 0x80, "f8_e5m2fnuz": 0x80, "f16": 0x7E00, "bf16": 0x7FC0,
    "f32": 0x7FC0_0000, "f64": 0x7FF8 << 48, "c64": 0x7FC0_0000, "c128": 0x7FF8 << 48,
}  # fmt: skip
"""The NaN that is written, as bits: quiet, positive, without a payload. Other dtypes of floats have none."""

INFINITE = ("f8_e5m2", "f16", "bf16", "f32", "f64", "c64", "c128")
"""The dtypes that have infinities."""


class Floats(NamedTuple):
    """The elements of a run: their bits as unsigned integers, and their values as float64."""

    codes: Array
    values: Array


def encode(doubles: Buffer, dtype: str, count: int, out: Any) -> None:
    """Round `count` doubles to the nearest elements, ties to even, and write them to `out`.

    What is too large becomes an infinity as in IEEE 754, and where the dtype has none the largest number of its sign,
    infinities too: the saturating mode of OCP OFP8 1.0. A NaN becomes the one of `NANS`, and 0 where there is none.
    Zeros keep their sign where there are two. Bits behind the last element are 0.
    """
    import numpy

    width_of(dtype)
    given = numpy.frombuffer(doubles, numpy.uint8)
    require(count >= 0 and given.size == 8 * count, "the doubles must be `count`")
    write(encoded(given.view("<f8"), dtype), dtype, out)


def weighted_sum(
    sides: Sequence[Buffer], weights: Sequence[float], dtype: str, count: int, out: Any, keep_equal: bool
) -> int:
    """Write the sums of all sides, each times its weight; return how many are not finite where sides differ.

    `keep_equal` keeps elements that are the same on all sides as they are: infinities, NaNs and their payloads too.
    """
    import numpy

    runs = read_sides(sides, dtype, count)
    factors = read_factors(weights, len(runs))
    with numpy.errstate(all="ignore"):
        total = factors[0] * runs[0].values
        for factor, run in zip(factors[1:], runs[1:], strict=True):
            total = total + factor * run.values
        found = encoded(total, dtype)
    alike = _alike(runs)
    if keep_equal:
        found = numpy.where(alike, runs[0].codes, found)
    write(found, dtype, out)
    return int((special(found, dtype) & ~alike).sum())


def ordered_mean(sides: Sequence[Buffer], dropped: int, dtype: str, count: int, out: Any) -> int:
    """Write the mean of each element's values, so many dropped at each end of their order; count what is not finite.

    They are added in ascending order, -0 before 0 and NaNs last. Elements that are the same on all sides are kept as
    they are. What is returned counts results that are not finite where sides differ.
    """
    import numpy

    runs = read_sides(sides, dtype, count)
    require(0 <= 2 * dropped < len(runs), "a value must be left of those that are ordered")
    values = numpy.stack([run.values for run in runs])
    values[numpy.isnan(values)] = numpy.nan
    kept = _in_order(numpy.sort(_in_order(values.view("<i8")), axis=0)).view("<f8")[dropped : len(runs) - dropped]
    with numpy.errstate(all="ignore"):
        total = kept[0]
        for row in kept[1:]:
            total = total + row
        found = encoded(total / float(len(kept)), dtype)
    alike = _alike(runs)
    found = numpy.where(alike, runs[0].codes, found)
    write(found, dtype, out)
    return int((special(found, dtype) & ~alike).sum())


def require(holds: bool, otherwise: str) -> None:
    """Raise ValueError with that message unless it holds."""
    if not holds:
        raise ValueError(otherwise)


def width_of(dtype: str) -> int:
    """Return the bits of one element; raise ValueError where there are none that are floats."""
    halves = parts(dtype)
    require(dtype in UNITS, "the dtype must be one of floats")
    return DTYPES[dtype].bits // halves


def floats(data: Buffer, dtype: str, count: int) -> Floats:
    """Return the elements of a run; raise ValueError where the bytes are not so many of them."""
    import numpy

    width_of(dtype)
    found = elements(data, dtype, count)
    with numpy.errstate(all="ignore"):
        return Floats(found.view(f"u{found.itemsize}"), found.astype(numpy.float64))


def encoded(values: Array, dtype: str) -> Array:
    """Return the bits of the elements that `encode` says."""
    import numpy

    units, width = UNITS[dtype], width_of(dtype)
    nan, infinite = numpy.isnan(values), numpy.isinf(values)
    places = abs(ordinals(numpy.where(nan | infinite, 0.0, values), units))
    places[infinite] = units.largest + 1
    if dtype not in INFINITE:
        places = numpy.minimum(places, units.largest)
    signs = numpy.signbit(values)
    if dtype.endswith("fnuz"):
        signs = signs & (places != 0)
    codes = places.astype(numpy.uint64) | signs.astype(numpy.uint64) << numpy.uint64(width - 1)
    codes[nan] = NANS.get(dtype, 0)
    found: Array = codes.astype(f"u{max(width // 8, 1)}")
    return found


def special(codes: Array, dtype: str) -> Array:
    """Return which elements are infinite or NaN."""
    largest = UNITS[dtype].largest
    sizes = codes & ((1 << (width_of(dtype) - 1)) - 1)
    found: Array = (sizes > largest) | (codes == NANS[dtype]) if dtype in NANS else sizes > largest
    return found


def write(codes: Array, dtype: str, out: Any) -> None:
    """Write elements to `out`; raise ValueError where it is no writable buffer of exactly their size."""
    import numpy

    width = width_of(dtype)
    data = numpy.ascontiguousarray(codes).view(numpy.uint8)
    if width < 8:
        data = numpy.packbits(codes[:, None] >> numpy.arange(width, dtype=numpy.uint8) & 1, bitorder="little")
    target = memoryview(out).cast("B")
    require(target.nbytes == data.nbytes and not target.readonly, "out must be `count` writable elements")
    target[:] = data.data


def read_sides(sides: Sequence[Buffer], dtype: str, count: int, most: int | None = None) -> list[Floats]:
    """Return the elements of all sides; raise ValueError where there is none, or more than `most`."""
    require(len(sides) > 0, "there must be a side")
    require(most is None or len(sides) <= most, f"there must be at most {most} sides")
    return [floats(side, dtype, count) for side in sides]


def read_factors(given: Sequence[float], count: int) -> list[float]:
    """Return a finite number for each side; raise ValueError where one is missing or not finite."""
    import numpy

    found = [float(number) for number in given]
    require(len(found) == count, "there must be a weight for each side")
    require(bool(numpy.isfinite(found).all()), "weights must be finite")
    return found


def _alike(runs: Sequence[Floats]) -> Array:
    """Return which elements are the same on all sides."""
    import numpy

    found: Array = numpy.logical_and.reduce([run.codes == runs[0].codes for run in runs])
    return found


def _in_order(bits: Array) -> Array:
    """Return integers that are ordered as the doubles of those bits are, and from these the bits again."""
    found: Array = bits ^ ((bits >> 63) & ((1 << 63) - 1))
    return found
