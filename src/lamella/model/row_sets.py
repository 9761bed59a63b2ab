"""The rows of a table as a set in which a row may be several times, held by digests in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_DIGEST_NBYTES = 8
_COUNTED_AT_ONCE = 1 << 20


def digest_rows(rows: Iterable[bytes]) -> bytes:
    """Return the digests of rows, 64 bits each, one behind the other.

    Two rows of ten million are taken for the same with a chance of 3 in a million.
    """
    blake2b = hashlib.blake2b
    return b"".join([blake2b(row, digest_size=_DIGEST_NBYTES).digest() for row in rows])


class RowSet:
    """The digests of all rows, or, of more than `limit`, of those whose digests begin with `shift` zeros.

    These are the same rows in every table: what holds of them holds of all, but for chance. `order` tells two orders of
    the same rows apart.
    """

    def __init__(self, limit: int) -> None:
        self.count = 0
        self.shift = 0
        self._limit = limit
        self._held = bytearray()
        self._order = hashlib.blake2b(digest_size=32)

    def add(self, digests: bytes) -> None:
        """Add rows by what `digest_rows` made of them."""
        self.count += len(digests) // _DIGEST_NBYTES
        self._order.update(digests)
        self._held += self._kept(digests) if self.shift else digests
        while len(self._held) > self._limit * _DIGEST_NBYTES:
            self.shift += 1
            self._held = bytearray(self._kept(self._held))

    @property
    def order(self) -> bytes:
        """A digest of all rows in their order."""
        return self._order.digest()

    def _kept(self, digests: bytes | bytearray) -> bytes:
        import numpy

        values = numpy.frombuffer(digests, "<u8")
        kept: bytes = values[values >> numpy.uint64(64 - self.shift) == 0].tobytes()
        return kept

    def sorted(self, shift: int) -> Array:
        """Return the digests that begin with so many zeros, `self.shift` or more, ascending; the rest is let go."""
        import numpy

        self.shift = max(shift, self.shift)
        held = numpy.frombuffer(self._kept(self._held) if self.shift else bytes(self._held), "<u8").copy()
        self._held = bytearray()
        held.sort()
        return held


def count_kept(before: RowSet, after: RowSet) -> tuple[int, int, int, int]:
    """Return how many rows of either set are also in the other, how many of each were looked at, and the shift.

    A row that is twice in one set and three times in the other is there twice in both. Both sets are used up.
    """
    import numpy

    shift = max(before.shift, after.shift)
    old, new = before.sorted(shift), after.sorted(shift)
    kept = 0
    begin = 0
    while begin < len(old):
        stop = min(begin + _COUNTED_AT_ONCE, len(old))
        if stop < len(old):  # no row is cut from its like
            stop = int(numpy.searchsorted(old, old[stop - 1], "right"))
        values, counts = numpy.unique(old[begin:stop], return_counts=True)
        others = numpy.searchsorted(new, values, "right") - numpy.searchsorted(new, values, "left")
        kept += int(numpy.minimum(counts, others).sum())
        begin = stop
    return kept, len(old), len(new), shift
