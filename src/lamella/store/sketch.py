"""A sketch: 64 bytes that tell of two objects, without reading either, whether they are likely to be relatives.

A fine-tune keeps the sign and the exponent of nearly every weight; weights of unrelated models share them in one case
of ten. So both are looked at in the same places, at three neighbours in each, and a place where all three are alike
counts. docs/spec/pack.md describes the bytes, docs/design/0007-relatives.md why they are these.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache

from blake3 import blake3

from lamella.codec.delta_format import LAYOUTS
from lamella.core.buffers import Buffer
from lamella.core.limits import KIB

PLACES = 32
NEIGHBOURS = 3
"""Items in each place: fewer would be alike by chance too often, more would differ in a distant fine-tune."""
SKETCH = struct.Struct(f"<{PLACES}H")
MIN_SKETCHED_NBYTES = 16 * KIB
"""A smaller object has no sketch: there is little to save, and 64 bytes are much beside it."""
READ_WHOLE_NBYTES = 128 * KIB
"""One read of so much is faster than one for each place."""
LEAST_SHARED = 2
"""Places that likely relatives share; of a pair of strangers it is true in one case of some thousand."""
CLOSE_SHARED = 8
"""Places that a candidate shares which is taken without a search for a better one."""

_DRAWN = struct.Struct(f"<{PLACES}Q")
_BYTES_SHIFT = 3
_SAYS_SOMETHING = 1 << 15


def size_class(nbytes: int, item_nbytes: int) -> int:
    """Return what objects have in common that are looked at in the same places: the width of an item and the magnitude.

    The places lie among the first 2**n items, with n as large as it can be. So a vocabulary that grew by some rows is
    still alike, unless it grew beyond a power of two.
    """
    return item_nbytes << 8 | (nbytes // item_nbytes).bit_length()


@lru_cache(maxsize=64)
def _places(magnitude: int) -> tuple[int, ...]:
    """Return the first item of each place, in ascending order, in objects of 2**(magnitude - 1) items or some more."""
    drawn = _DRAWN.unpack(blake3(f"lamella sketch {magnitude}".encode()).digest(length=_DRAWN.size))
    return tuple(sorted(number % ((1 << magnitude - 1) - NEIGHBOURS + 1) for number in drawn))


def take_sketch(nbytes: int, item_nbytes: int, layout: int | None, read_at: Callable[[int, int], Buffer]) -> bytes:
    """Return the sketch of an object of floats of that layout, or of bytes; nothing where it would not tell anything.

    `read_at(offset, nbytes)` lends parts of the object. What has no sketch is small, has wide items that are no floats,
    or too few different values.
    """
    if nbytes < MIN_SKETCHED_NBYTES or (layout is None and item_nbytes > 1):
        return b""
    starts = [place * item_nbytes for place in _places((nbytes // item_nbytes).bit_length())]
    width = NEIGHBOURS * item_nbytes
    if nbytes <= READ_WHOLE_NBYTES:
        whole = memoryview(read_at(0, nbytes))
        data = b"".join([whole[start : start + width] for start in starts])
    else:
        data = b"".join([read_at(start, width) for start in starts])
    if len(data) != PLACES * width:
        # Somebody cuts the file just now, which is found out where it is stored.
        return b""
    codes = _codes(data, item_nbytes, _BYTES_SHIFT if layout is None else LAYOUTS[layout].mantissa_bits)
    # Three codes that differ say where they lie; a run of zeros, or a vector of ones, would be alike everywhere.
    numbers = [
        _SAYS_SOMETHING | a << 10 | b << 5 | c if a != b != c != a else 0
        for a, b, c in zip(codes[::NEIGHBOURS], codes[1::NEIGHBOURS], codes[2::NEIGHBOURS], strict=True)
    ]
    return SKETCH.pack(*numbers) if PLACES - numbers.count(0) >= LEAST_SHARED else b""


def _codes(data: bytes, item_nbytes: int, shift: int) -> bytes:
    """Return the sign and four bits of the exponent of each item, those above `shift`; all at once, as one number."""
    ones = int.from_bytes((b"\1" + bytes(item_nbytes - 1)) * (len(data) // item_nbytes), "little")
    items = int.from_bytes(data, "little")
    kept = items >> shift & 15 * ones | items >> 8 * item_nbytes - 5 & 16 * ones
    return kept.to_bytes(len(data), "little")[::item_nbytes]


def shared(one: bytes, other: bytes) -> int:
    """Return in how many places two sketches of one size class are alike; in none where one of them is missing."""
    if not one or not other:
        return 0
    return sum(a == b != 0 for a, b in zip(SKETCH.unpack(one), SKETCH.unpack(other), strict=True))
