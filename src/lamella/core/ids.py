"""Content ids: an object is named by the BLAKE3-256 digest of its decoded bytes."""

from __future__ import annotations

from typing import NewType

from blake3 import blake3

from lamella.core.buffers import Buffer

ObjectId = NewType("ObjectId", bytes)
"""32 bytes: BLAKE3-256 of an object's decoded bytes, whatever its dtype, shape or encoding."""

ID_NBYTES = 32
CHECK_NBYTES = 8
"""Length of the truncated BLAKE3 digest that guards an encoded chunk."""


def digest(data: Buffer) -> ObjectId:
    """Return the id of the object that consists of `data`."""
    return ObjectId(blake3(data).digest())


def check(data: Buffer, nbytes: int = CHECK_NBYTES) -> bytes:
    """Return the first `nbytes` of the BLAKE3 digest of `data`: a checksum, not an identity."""
    return blake3(data).digest(length=nbytes)


def from_hex(text: str) -> ObjectId:
    """Parse exactly 64 lower-case hexadecimal digits; raise ValueError on anything else."""
    if len(text) != 2 * ID_NBYTES or text.strip("0123456789abcdef"):
        raise ValueError(f"not an object id: {text[:80]!r}")
    return ObjectId(bytes.fromhex(text))
