"""Casts between floats as integer arithmetic: the same bits on every machine, whatever flags a library left set.

Narrowing rounds to nearest, ties to even; what is too large becomes infinite, what is too small a denormal or zero. A
NaN keeps its sign and the top of its payload and becomes quiet. Widening is exact, of NaNs too. `docs/spec/pack.md`
lists the codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy

    Words = numpy.ndarray[Any, Any]
"""Floats as unsigned integers of their width, in any shape."""

_BLOCK_ITEMS = 1 << 14
"""Items that are converted at once: the temporaries stay in the cache."""


class _Layout(NamedTuple):
    nbytes: int
    mantissa_bits: int

    @property
    def bias(self) -> int:
        return (1 << (8 * self.nbytes - 2 - self.mantissa_bits)) - 1

    @property
    def infinity(self) -> int:
        """The bits of infinity: above it, without the sign, are the NaNs."""
        return (2 * self.bias + 1) << self.mantissa_bits


_BF16, _F16, _F32, _F64 = _Layout(2, 7), _Layout(2, 10), _Layout(4, 23), _Layout(8, 52)


@dataclass(frozen=True, slots=True)
class Cast:
    """What turns items of `source` bytes into items of `target` bytes; `code` is written to disk and never reused."""

    code: int
    source: int
    target: int
    convert: Callable[[Words], Words]


def _narrowed(words: Words, wide: _Layout, narrow: _Layout) -> Words:
    word = words.dtype.type
    shift = wide.mantissa_bits - narrow.mantissa_bits
    rebias = (wide.bias - narrow.bias) << wide.mantissa_bits
    size = words & word((1 << (8 * wide.nbytes - 1)) - 1)
    sign = (words ^ size) >> word(8 * (wide.nbytes - narrow.nbytes))
    # A carry out of the mantissa is the step to the next exponent, and to infinity from the last.
    out = _rounded(size - word(rebias), shift)
    if rebias:
        large = size >= word(rebias + (narrow.infinity << shift))
        if large.any():
            out[large] = narrow.infinity
        small = size < word(rebias + (1 << wide.mantissa_bits))
        if small.any():
            out[small] = _denormals(size[small], wide, narrow)
    nans = size > word(wide.infinity)
    if nans.any():
        quiet = word(narrow.infinity | 1 << (narrow.mantissa_bits - 1))
        payload = size[nans] >> word(shift) & word((1 << narrow.mantissa_bits) - 1)
        out[nans] = payload | quiet
    narrowed: Words = (out | sign).astype(f"<u{narrow.nbytes}")
    return narrowed


def _rounded(size: Words, shift: int) -> Words:
    word = size.dtype.type
    rounded: Words = (size + word((1 << (shift - 1)) - 1) + (size >> word(shift) & word(1))) >> word(shift)
    return rounded


def _denormals(size: Words, wide: _Layout, narrow: _Layout) -> Words:
    """Return what is below the least normal number: a mantissa with its leading one, shifted as far as it takes."""
    import numpy

    word = size.dtype.type
    exponent = size >> word(wide.mantissa_bits)
    mantissa = size & word((1 << wide.mantissa_bits) - 1) | (exponent > 0).astype(size.dtype) << word(
        wide.mantissa_bits
    )
    least = word(wide.bias - narrow.bias + 1 + wide.mantissa_bits - narrow.mantissa_bits)
    # Beyond two bits more than the mantissa has, everything is zero.
    shift = numpy.minimum(least - numpy.maximum(exponent, word(1)), word(wide.mantissa_bits + 2))
    half = (word(1) << (shift - word(1))) - word(1)
    rounded: Words = (mantissa + half + (mantissa >> shift & word(1))) >> shift
    return rounded


def _widened(words: Words, narrow: _Layout, wide: _Layout) -> Words:
    import numpy

    word = numpy.dtype(f"<u{wide.nbytes}").type
    words = words.astype(f"<u{wide.nbytes}")
    shift = wide.mantissa_bits - narrow.mantissa_bits
    size = words & word((1 << (8 * narrow.nbytes - 1)) - 1)
    sign = (words ^ size) << word(8 * (wide.nbytes - narrow.nbytes))
    rebias = word((wide.bias - narrow.bias) << wide.mantissa_bits)
    out: Words = (size << word(shift)) + rebias
    if rebias:
        special = size >= word(narrow.infinity)
        if special.any():
            out[special] += rebias
        small = size < word(1 << narrow.mantissa_bits)
        if small.any():
            out[small] = _normalised(size[small], narrow, wide)
    out |= sign
    return out


def _normalised(size: Words, narrow: _Layout, wide: _Layout) -> Words:
    """Return denormals in a layout in which they are none."""
    word = size.dtype.type
    out: Words = size << word(0)
    for top in range(narrow.mantissa_bits):
        here = size >> word(top) == word(1)
        exponent = wide.bias - narrow.bias + 1 - narrow.mantissa_bits + top
        mantissa = (size[here] ^ word(1 << top)) << word(wide.mantissa_bits - top)
        out[here] = mantissa | word(exponent << wide.mantissa_bits)
    return out


@lru_cache
def _table(narrow: _Layout, target: _Layout) -> Words:
    """Return what each float of 16 bits becomes; from 16 bits to 16 the way leads through 32, which hold both."""
    import numpy

    wide = _widened(numpy.arange(1 << 16, dtype="<u2"), narrow, _F32)
    return wide if target == _F32 else _narrowed(wide, _F32, target)


def _cast(code: int, source: _Layout, target: _Layout) -> Cast:
    def convert(words: Words) -> Words:
        import numpy

        if source.nbytes == 2:
            return _table(source, target)[words]
        through = _narrowed if target.nbytes < source.nbytes else _widened
        flat = numpy.ascontiguousarray(words).reshape(-1)
        out = numpy.empty(flat.shape, f"<u{target.nbytes}")
        for start in range(0, len(flat), _BLOCK_ITEMS):
            out[start : start + _BLOCK_ITEMS] = through(flat[start : start + _BLOCK_ITEMS], source, target)
        return out.reshape(words.shape)

    return Cast(code, source.nbytes, target.nbytes, convert)


_LAYOUTS = {"bf16": _BF16, "f16": _F16, "f32": _F32, "f64": _F64}
_ORDER = (
    ("f32", "bf16"),
    ("f32", "f16"),
    ("f64", "f32"),
    ("bf16", "f32"),
    ("f16", "f32"),
    ("f32", "f64"),
    ("bf16", "f16"),
    ("f16", "bf16"),
)
"""The casts in the order of their codes, which begin at 1: 0 is a copy."""

CASTS = {code: _cast(code, _LAYOUTS[pair[0]], _LAYOUTS[pair[1]]) for code, pair in enumerate(_ORDER, 1)}
"""Every cast by its code."""

_CODES = {pair: code for code, pair in enumerate(_ORDER, 1)}


def cast_code(source: str, target: str) -> int | None:
    """Return the code of the cast from one dtype to another, 0 where they are the same, None where there is none."""
    return 0 if source == target else _CODES.get((source, target))
