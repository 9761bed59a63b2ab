"""The Codec protocol: how one chunk of an object is encoded, alone or against the same chunk of a base."""

from __future__ import annotations

from typing import Protocol

from lamella.core.buffers import Buffer


class Codec(Protocol):
    """Bytes of one chunk in, a payload out, and back.

    For every `chunk`, every `item_nbytes` in (1, 2, 4, 8) and every `base` (None where `needs_base` is false, else a
    buffer exactly as long as the chunk)::

        decode(encode(chunk, item_nbytes, base), item_nbytes, base, out)    # leaves out == chunk

    Codecs hold no state that a call could see; every method may be called from several threads at once. The payload
    holds neither its length nor a checksum: the record's head has both and has checked them.
    """

    code: int
    """The mode byte in a record's chunk table. Written to disk, never reused."""

    name: str
    """What people read."""

    needs_base: bool
    """Whether the payload can only be decoded against the chunk of a base."""

    def encode(self, chunk: Buffer, item_nbytes: int, base: Buffer | None) -> bytes:
        """Return the payload. A codec never refuses a chunk; the caller keeps the smallest payload."""
        ...

    def decode(self, payload: Buffer, item_nbytes: int, base: Buffer | None, out: memoryview) -> None:
        """Fill `out`, which is as long as the chunk, writable, and overlaps neither `payload` nor `base`.

        Raises IntegrityError (payload-malformed) for every payload that `encode` cannot have made for this length:
        cut, lengthened, or with lengths that lie; what `out` holds then means nothing. Takes time and memory
        proportional to the length of `out`, whatever it is given.
        """
        ...
