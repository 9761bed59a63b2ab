"""A stored object as a file that is read by ranges: a chunk is decoded once where small ranges of it come in a row."""

from __future__ import annotations

from collections import OrderedDict

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.store.chain import Chain

_KEPT_CHUNKS = 16
"""What is kept decoded: rows that lie apart are gathered from some chunks at a time, of half a MiB at most."""


class ObjectFile:
    """The decoded bytes of one object, for whatever reads files. Not for use by two threads at once."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._chunks: OrderedDict[int, bytearray] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """The length of the object."""
        return self._chain.head.nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes, decoding only the chunks they touch.

        Raises FormatError (file-truncated) where the object ends before them, and IntegrityError as `Chain` does.
        """
        stop = offset + nbytes
        if not 0 <= offset <= stop <= self.nbytes:
            raise FormatError(f"object ends at byte {self.nbytes}", kind="file-truncated")
        size = self._chain.head.chunk_nbytes
        first, last = offset // size, -(-stop // size)
        if last - first > _KEPT_CHUNKS:
            return self._chain.part(offset, stop)
        if last - first == 1:
            return memoryview(self._chunk(first))[offset - first * size : stop - first * size]
        return b"".join(
            memoryview(self._chunk(number))[max(0, offset - number * size) : stop - number * size]
            for number in range(first, last)
        )

    def _chunk(self, number: int) -> bytearray:
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = self._chain.decode(number, number + 1)
            if len(self._chunks) > _KEPT_CHUNKS:
                self._chunks.popitem(last=False)
        else:
            self._chunks.move_to_end(number)
        return chunk
