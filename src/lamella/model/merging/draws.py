"""Random numbers by place: the number of an element follows from a key and where it lies, whoever asks and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

ONE = 1 << 32
"""What numbers are below."""

_NUMBERS_A_BLOCK = 8


def draw(seed: int, stream: int, first: int, count: int) -> Array:
    """Return the numbers, uint32, of `count` elements from `first` on, in one of the streams of a seed of 64 bits.

    They are the output of Philox4x64-10 (Salmon et al., SC 2011) with the seed and the stream as its key and the eighth
    of an element's number as its counter, lower halves first. Of NumPy's generators only raw output is promised to
    stay as it is.
    """
    import numpy

    block, skipped = divmod(first, _NUMBERS_A_BLOCK)
    blocks = -(-(skipped + count) // _NUMBERS_A_BLOCK)
    generator = numpy.random.Philox(counter=block, key=seed | stream << 64)
    numbers: Array = generator.random_raw(4 * blocks).astype("<u8").view("<u4")
    return numbers[skipped : skipped + count]
