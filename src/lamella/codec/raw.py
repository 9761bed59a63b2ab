"""The two codecs that compute nothing: a chunk as it is, and a chunk that equals its base."""

from __future__ import annotations

from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError


class Raw:
    """Code 0: the payload is the chunk."""

    code = 0
    name = "raw"
    needs_base = False

    def encode(self, chunk: Buffer, item_nbytes: int, base: Buffer | None) -> bytes:  # noqa: ARG002
        """Return the chunk."""
        return bytes(chunk)

    def decode(self, payload: Buffer, item_nbytes: int, base: Buffer | None, out: memoryview) -> None:  # noqa: ARG002
        """Copy the payload; raise IntegrityError (payload-malformed) where it is not as long as the chunk."""
        if len(payload) != len(out):
            raise IntegrityError(
                f"a raw payload of {len(payload)} bytes stands for a chunk of {len(out)}",
                kind="payload-malformed",
                hint="restore the object from another copy of the store",
            )
        out[:] = payload


class Same(Raw):
    """Code 3: the payload is empty where the chunk equals its base, and the chunk itself where it does not."""

    code = 3
    name = "same"
    needs_base = True

    def encode(self, chunk: Buffer, item_nbytes: int, base: Buffer | None) -> bytes:
        """Return nothing, or a chunk that turned out different."""
        return b"" if base is not None and equal(chunk, base) else super().encode(chunk, item_nbytes, base)

    def decode(self, payload: Buffer, item_nbytes: int, base: Buffer | None, out: memoryview) -> None:
        """Copy the base, or the payload where there is one."""
        if base is not None and not payload:
            out[:] = base
        else:
            super().decode(payload, item_nbytes, base, out)


def equal(chunk: Buffer, base: Buffer) -> bool:
    """Say whether two buffers hold the same bytes."""
    # Views compare element by element; a bytearray compares as one block, and most chunks differ in their first bytes.
    return chunk[:64] == base[:64] and bytearray(chunk) == base
