"""The NumPy twins of the compiled kernels that measure tensors: what each returns is defined here.

Every function takes runs of elements: `data`, row-major and little-endian, of `count` elements of the dtype of that
name, packed ones from the least significant bits on. A complex number is two elements. Counts, extremes and distances
of the two are equal, sums within 1e-12 of the sum of the magnitudes that are added. What does not fit together raises
ValueError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


class Units(NamedTuple):
    """A dtype of floats: its bits of mantissa, the exponent of its smallest normal number, and its largest ordinal."""

    mantissa: int
    exponent: int
    largest: int


UNITS = {
    "f4_e2m1": Units(1, 0, 0x7),
    "f6_e2m3": Units(3, 0, 0x1F),
    "f6_e3m2": Units(2, -2, 0x1F),
    "f8_e4m3": Units(3, -6, 0x7E),
    "f8_e5m2": Units(2, -14, 0x7B),
    "f8_e4m3fnuz": Units(3, -7, 0x7F),
    "f8_e5m2fnuz": Units(2, -15, 0x7F),
    "f16": Units(10, -14, 0x7BFF),
    "bf16": Units(7, -126, 0x7F7F),
    "f32": Units(23, -126, 0x7F7FFFFF),
    "f64": Units(52, -1022, 0x7FEF_FFFF_FFFF_FFFF),
    "c64": Units(23, -126, 0x7F7FFFFF),
    "c128": Units(52, -1022, 0x7FEF_FFFF_FFFF_FFFF),
}
"""The dtypes whose values have units of the last place. `f8_e8m0` has none: its steps are factors of 2."""

BINS = 1 << 16
NAN_BIN = 0x7FC0

_NUMPY = {
    "u8": "u1", "i8": "i1", "u16": "<u2", "i16": "<i2", "u32": "<u4", "i32": "<i4", "u64": "<u8", "i64": "<i8",
    "f16": "<f2", "f32": "<f4", "f64": "<f8", "c64": "<f4", "c128": "<f8",
}  # fmt: skip
_ML = {
    "f4_e2m1": "float4_e2m1fn", "f6_e2m3": "float6_e2m3fn", "f6_e3m2": "float6_e3m2fn", "f8_e4m3": "float8_e4m3fn",
    "f8_e5m2": "float8_e5m2", "f8_e8m0": "float8_e8m0fnu", "f8_e4m3fnuz": "float8_e4m3fnuz",
    "f8_e5m2fnuz": "float8_e5m2fnuz", "bf16": "bfloat16",
}  # fmt: skip
_SIGNED = ("i4", "i2")


def parts(dtype: str) -> int:
    """Return how many elements one of that dtype counts as: 2 where it is complex; raise ValueError for blocks."""
    known = DTYPES.get(dtype)
    if known is None or known.block_elements != 1:
        raise ValueError("the dtype has no elements that are numbers")
    return 2 if dtype in ("c64", "c128") else 1


def elements(data: Buffer, dtype: str, count: int) -> Array:
    """Return the elements as numbers of their own kind."""
    import ml_dtypes
    import numpy

    halves = parts(dtype)
    bits = DTYPES[dtype].bits // halves
    raw = numpy.frombuffer(data, numpy.uint8)
    if count < 0 or raw.size != (count * bits + 7) // 8:
        raise ValueError("the data must be `count` elements")
    if bits < 8:
        digits = numpy.unpackbits(raw, bitorder="little")[: count * bits].reshape(count, bits)
        raw = (digits << numpy.arange(bits, dtype=numpy.uint8)).sum(axis=1, dtype=numpy.uint8)
    found: Array = raw
    if dtype in _ML:
        found = raw.view(getattr(ml_dtypes, _ML[dtype]))
    elif dtype == "bool":
        found = raw != 0
    elif dtype in _SIGNED:
        found = raw.astype(numpy.int16) - ((raw >> (bits - 1)).astype(numpy.int16) << bits)
    elif dtype in _NUMPY:
        found = raw.view(_NUMPY[dtype])
    return found


def decode(data: Buffer, dtype: str, count: int, out: Any) -> None:
    """Write the elements to `out`, a buffer of `count` doubles; integers of 64 bits are rounded."""
    import numpy

    values = _values(elements(data, dtype, count))
    target = memoryview(out).cast("B")
    if target.nbytes != values.nbytes or target.readonly:
        raise ValueError("out must be `count` writable doubles")
    target[:] = numpy.ascontiguousarray(values).view(numpy.uint8).data


def _values(found: Array) -> Array:
    import numpy

    with numpy.errstate(all="ignore"):
        return found.astype(numpy.float64)


def measure(
    before: Buffer,
    dtype_before: str,
    after: Buffer,
    dtype_after: str,
    count: int,
    epsilon: float,
    rows: Any = None,
    row_items: int = 0,
    row_begin: int = 0,
) -> tuple[Any, ...]:
    """Return the fields of `Measures`, in their order, for two runs of `count` elements.

    Values are compared as float64; only integers of 64 bits that are of one dtype are subtracted as integers, and the
    difference is rounded. Distances are in the coarser dtype: that of fewer bits of mantissa, or where these are as
    many, of the higher least exponent, or else that before. A value beyond its largest one lies one unit behind that.

    `rows` is a buffer of doubles, to each of which the sum of |b - a| over one row of `row_items` elements is added;
    the run begins `row_begin` elements into the first of them, and they are those that the run touches.
    """
    import numpy

    one, other = elements(before, dtype_before, count), elements(after, dtype_after, count)
    if not epsilon >= 0:
        raise ValueError("epsilon must not be negative")
    a, b = _values(one), _values(other)
    finite = numpy.isfinite(a) & numpy.isfinite(b)
    same = ~finite & ((a == b) | (numpy.isnan(a) & numpy.isnan(b)))
    nan, infinite = [int(numpy.isnan(side).sum()) for side in (a, b)], [int(numpy.isinf(side).sum()) for side in (a, b)]
    a[~finite] = b[~finite] = 0
    with numpy.errstate(all="ignore"):
        sizes = _distances(one, other) if one.dtype == other.dtype and one.dtype in ("<i8", "<u8") else abs(b - a)
        products = [float((left * right).sum()) for left, right in ((a, b), (a, a), (b, b), (sizes, sizes))]
        total = float(sizes.sum())
    if rows is not None:
        _add_rows(sizes, numpy.frombuffer(rows, numpy.float64), row_items, row_begin)
    special = int((~finite & ~same).sum())
    ulps = _ulps(a[finite], b[finite], dtype_before, dtype_after)
    return (
        count,
        int((sizes != 0).sum()) + special,
        int((sizes > epsilon).sum()) + special,
        int(finite.sum()),
        int(same.sum()),
        total,
        float(sizes.max(initial=0)),
        *products,
        *nan,
        *infinite,
        ulps[0],
        ulps[1],
    )


def _distances(one: Array, other: Array) -> Array:
    """Return the distances of integers, or of ordinals, of 64 bits, rounded once."""
    return _values(_exact_distances(one, other))


def _exact_distances(one: Array, other: Array) -> Array:
    import numpy

    forward = other.view(numpy.uint64) - one.view(numpy.uint64)
    return numpy.where(one < other, forward, numpy.uint64(0) - forward)


def _add_rows(sizes: Array, sums: Array, items: int, begin: int) -> None:
    import numpy

    if not 0 <= begin < items:
        raise ValueError("the run must begin within a row")
    owners = (numpy.arange(sizes.size) + begin) // items
    if sums.size != (int(owners[-1]) + 1 if owners.size else 0):
        raise ValueError("the sums of rows must be those of the rows that the run touches")
    numpy.add.at(sums, owners, sizes)


def coarser(one: str, other: str) -> Units | None:
    """Return the units in which two dtypes are compared, None where one of them has none."""
    if one not in UNITS or other not in UNITS:
        return None
    return min(UNITS[one], UNITS[other], key=lambda units: (units.mantissa, -units.exponent))


def ordinals(values: Array, units: Units) -> Array:
    """Return which of the values of a dtype, counted from 0, each of some finite ones is nearest to, ties to even."""
    import numpy

    if units.mantissa == UNITS["f64"].mantissa:
        places = abs(values).view(numpy.int64)
    else:
        exponents = numpy.where(values == 0, units.exponent, numpy.maximum(numpy.frexp(values)[1] - 1, units.exponent))
        steps = numpy.rint(numpy.ldexp(abs(values), units.mantissa - exponents)).astype(numpy.int64)
        places = (exponents.astype(numpy.int64) - units.exponent << units.mantissa) + steps
    places = numpy.minimum(places, units.largest + 1)
    signed: Array = numpy.where(numpy.signbit(values), -places, places)
    return signed


def _ulps(a: Array, b: Array, dtype_before: str, dtype_after: str) -> tuple[int, tuple[int, ...]]:
    """Return the largest distance, and how many distances have 0, 1, 2 and so on bits."""
    import numpy

    units = coarser(dtype_before, dtype_after)
    if units is None:
        return 0, ()
    distances = _exact_distances(ordinals(a, units), ordinals(b, units))
    largest = int(distances.max(initial=0))
    below = [int((distances < numpy.uint64(1 << bits)).sum()) for bits in range(min(largest.bit_length() + 1, 64))]
    below += [distances.size] * (largest.bit_length() + 1 - len(below))
    return largest, tuple(high - low for low, high in zip([0, *below], below, strict=False))


def survey(data: Buffer, dtype: str, count: int) -> tuple[Any, ...]:
    """Return the fields of `Survey`, in their order, for a run of `count` elements."""
    import numpy

    values = _values(elements(data, dtype, count))
    kept = values[numpy.isfinite(values)]
    small = 2.0 ** UNITS[dtype].exponent if dtype in UNITS else 0.0
    extremes = (float(kept.min()) + 0.0, float(kept.max()) + 0.0) if kept.size else (0.0, 0.0)
    with numpy.errstate(all="ignore"):
        sums = float(kept.sum()), float((kept * kept).sum())
    zeros = int((kept == 0).sum())
    subnormal = int((abs(kept) < small).sum()) - zeros if small else 0
    return count, int(numpy.isnan(values).sum()), int(numpy.isinf(values).sum()), zeros, subnormal, *extremes, *sums


def count_values(data: Buffer, dtype: str, count: int, counts: Any) -> None:
    """Add 1 for each element to one of 65,536 unsigned integers of 64 bits, that of the upper half of its bits in f32.

    All NaNs are counted as 0x7fc0, and what is too large for f32 as an infinity.
    """
    import numpy

    bins = numpy.frombuffer(counts, numpy.uint64)
    if bins.size != BINS:
        raise ValueError("the counts must be 65,536 numbers of 8 bytes")
    values = _values(elements(data, dtype, count))
    with numpy.errstate(all="ignore"):
        places = values.astype(numpy.float32).view(numpy.uint32) >> 16
    bins += numpy.bincount(numpy.where(numpy.isnan(values), NAN_BIN, places), minlength=BINS).astype(numpy.uint64)
