"""A sketch of the values of a tensor: 1 KiB that says how alike two tensors are, without reading either again.

It is a count sketch (Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", 2002) of the values
less their mean, so that a vector of ones and a little noise is told by the noise. docs/spec/sketch.md describes it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DType
from lamella.core.numpy_dtypes import is_array, numpy_dtype
from lamella.core.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

FLOATS = 256
"""What a sketch has: the mean, the deviation and the buckets, each a little-endian float of 32 bits."""
BUCKETS = FLOATS - 2
SKETCH_NBYTES = 4 * FLOATS
RUNS = 64
RUN = 256
"""Neighbours in a run: two runs of bf16 fill a KiB, so many reads are worth what they bring."""
SAMPLED = RUNS * RUN
"""Values that are looked at: their number blurs a cosine by 1/128, the buckets by 1/16, so more would tell no more."""

_WIDTH = 32
_SIGNED_BYTES = frozenset({"q8_0", "q8_1", "q8_k", "i4", "i2"})
_PLAIN_BYTES = frozenset({"f8_e8m0"})
_LARGEST = 3.4028234663852886e38

Read = Callable[[int, int], Buffer]
"""Lends the bytes from one offset to another of a tensor."""


def value_dtype(dtype: DType) -> tuple[str, int]:
    """Return as which NumPy dtype the values of a dtype are read, and how many bytes each has.

    Complex numbers are two values each. Of what is packed, or quantised by blocks, the bytes are the values.
    """
    if dtype.name in _SIGNED_BYTES:
        return "i1", 1
    if dtype.name in _PLAIN_BYTES or not is_array(dtype):
        return "u1", 1
    if dtype.name in ("c64", "c128"):
        return f"<f{dtype.item_nbytes}", dtype.item_nbytes
    return "", dtype.item_nbytes


def count_values(spec: TensorSpec) -> int:
    """Return of how many values a tensor is; sketches of other counts say nothing about each other."""
    return spec.nbytes // value_dtype(spec.dtype)[1]


def starts(count: int) -> list[int]:
    """Return where the runs begin in a tensor of so many values, in ascending order: one in each 64th of it.

    All of a tensor that is not larger than the sample is one run.
    """
    if count <= SAMPLED:
        return [0]
    return [((number << _WIDTH) + drawn) * (count - RUN) // (RUNS << _WIDTH) for number, drawn in enumerate(_drawn())]


@functools.cache
def _drawn() -> tuple[int, ...]:
    data = blake3(b"lamella value sketch: places").digest(length=4 * RUNS)
    return tuple(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))


@functools.cache
def _buckets() -> tuple[Array, Array]:
    """Return for each value of a sample its bucket, and the sign with which it is counted there."""
    import numpy

    data = blake3(b"lamella value sketch: buckets").digest(length=2 * SAMPLED)
    drawn = numpy.frombuffer(data, "<u2")
    return (drawn & 0x7FFF).astype(numpy.intp) % BUCKETS, 1.0 - 2.0 * (drawn >> 15)


def sample(spec: TensorSpec, read: Read) -> Array:
    """Return the values of a tensor that its sketch is made of, as float64; what is not finite is 0."""
    name, width = value_dtype(spec.dtype)
    count = count_values(spec)
    length = count if count <= SAMPLED else RUN
    data = b"".join([read(start * width, (start + length) * width) for start in starts(count)]) if count else b""
    return to_values(spec.dtype, data, name)


def to_values(dtype: DType, data: Buffer, name: str = "") -> Array:
    """Return elements as float64, what is not finite as 0; `name` says as which NumPy dtype they are read."""
    import numpy

    with numpy.errstate(all="ignore"):
        values = numpy.frombuffer(data, name or numpy_dtype(dtype.name)).astype(numpy.float64)
    values[~numpy.isfinite(values)] = 0.0
    return values


def take_sketch(spec: TensorSpec, read: Read) -> Array:
    """Return the sketch of a tensor, float32[256]: mean, deviation and buckets.

    The cosine of the buckets of two tensors with one number of values estimates the cosine of the values less their
    means, with a standard deviation of 1/16 where that is 0, and less the nearer it is to 1. All buckets are 0 where
    all values that are looked at are the same. Sums are taken one value after the other, so that every machine has the
    same bits.
    """
    import numpy

    sketch = numpy.zeros(FLOATS, numpy.float32)
    values = sample(spec, read)
    if not values.size:
        return sketch
    low, high = float(values.min()), float(values.max())
    # By a power of two, so that no sum overflows and no bit is lost.
    scale = 2.0 ** (1 - int(numpy.frexp(max(-low, high))[1])) if max(-low, high) > 1e100 else 1.0
    mean = float(numpy.cumsum(values * scale)[-1]) / values.size if low != high else low * scale
    sketch[0] = _as_f32(mean / scale)
    if low == high:
        return sketch
    values = values * scale - mean
    deviation = float(numpy.sqrt(numpy.cumsum(values * values)[-1] / values.size))
    if not deviation:
        return sketch
    sketch[1] = _as_f32(deviation / scale)
    buckets, signs = _buckets()
    counted = numpy.bincount(buckets[: values.size], values * signs[: values.size], BUCKETS)
    sketch[2:] = counted / (deviation * float(numpy.sqrt(values.size)))
    return sketch


def _as_f32(number: float) -> float:
    return min(_LARGEST, max(-_LARGEST, number))


def unit_buckets(sketches: Array) -> Array:
    """Return the buckets of sketches, [n, 256], as vectors of length 1, [n, 254]; those that say nothing stay 0."""
    import numpy

    buckets = sketches[:, 2:]
    lengths = numpy.sqrt(numpy.einsum("ij,ij->i", buckets, buckets, dtype=numpy.float32))
    made: Array = buckets / numpy.where(lengths > 0, lengths, 1)[:, None]
    return made
