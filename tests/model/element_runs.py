"""Runs of elements of every dtype, as hypothesis draws them to compare kernels with their twins."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.model import measure_reference

COMPLEX = ("c64", "c128")
COUNTS = (0, 1, 2, 3, 7, 8, 9, 100, 1023, 1024, 1025, 3001)

_SPECIAL = {
    "f16": (0x0000, 0x8000, 0x7C00, 0xFC00, 0x7C01, 0xFE55, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x3C00),
    "bf16": (0x0000, 0x8000, 0x7F80, 0xFF80, 0x7F81, 0xFFC5, 0x0001, 0x807F, 0x0080, 0x7F7F, 0x3F80),
    "f32": (0, 1 << 31, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFC12345, 1, 0x807FFFFF, 0x00800000, 0x7F7FFFFF),
    "f64": (0, 1 << 63, 0x7FF << 52, 0xFFF << 52, 0x7FF << 52 | 1, 0xFFF8 << 48 | 5, 1, 0x800FFFFFFFFFFFFF, 1 << 52),
    "i64": (0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 53) + 1),
    "u64": (0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 53) + 1),
}
"""Zeros, infinities, NaNs with payloads, the largest and the smallest normal and subnormal numbers, as bits."""


def width(dtype: str) -> int:
    return DTYPES[dtype].bits // (2 if dtype in COMPLEX else 1)


def nbytes(dtype: str, count: int) -> int:
    return (count * width(dtype) + 7) // 8


def numbers_of(data: bytes, dtype: str, count: int) -> np.ndarray:
    out = np.zeros(count)
    measure_reference.decode(data, dtype, count, out)
    return out


def values(draw: random.Random, count: int, spread: float) -> list[float]:
    return [draw.gauss(0, spread) for _ in range(count)]


def of_values(dtype: str, numbers: list[float]) -> bytes:
    """Return values in a wide dtype of floats, and for any other their bits, which then are noise."""
    kind = {"f16": "<f2", "f32": "<f4", "f64": "<f8", "c64": "<f4", "c128": "<f8"}.get(dtype)
    with np.errstate(all="ignore"):
        if kind is not None:
            return np.array(numbers).astype(kind).tobytes()
        data = np.array(numbers).astype("<f4").view("<u2")[1::2].tobytes()
    return (data * 8)[: nbytes(dtype, len(numbers))]


@st.composite
def runs(draw: st.DrawFn, count: int, dtype: str) -> bytes:
    """Draw so many elements: noise, values as weights have them, a constant, or all that is special."""
    seed = random.Random(draw(st.integers(0, 10_000)))
    kind = draw(st.sampled_from(["noise", "values", "same", "special"]))
    length = nbytes(dtype, count)
    if kind == "noise":
        return seed.randbytes(length)
    if kind == "values":
        return of_values(dtype, values(seed, count, 10.0 ** seed.randint(-45, 39)))
    if kind == "same" or dtype not in _SPECIAL:
        return (seed.randbytes(width(dtype) // 8 or 1) * count)[:length]
    bits = [seed.choice(_SPECIAL[dtype]) for _ in range(count)]
    return b"".join(item.to_bytes(width(dtype) // 8, "little") for item in bits)
