"""The codecs that come with Lamella, and which of them a chunk is written with."""

from __future__ import annotations

from lamella.codec.base import Codec
from lamella.codec.planes import Planes, XorPlanes
from lamella.codec.raw import Raw, Same, equal
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError

RAW, PLANES, XOR_PLANES, SAME = Raw(), Planes(), XorPlanes(), Same()

BUILTIN: tuple[Codec, ...] = (RAW, PLANES, XOR_PLANES, SAME)
"""Every codec, in the order of their codes. A code is written to disk and never given to another codec."""

_BY_CODE: dict[int, Codec] = {codec.code: codec for codec in BUILTIN}


def codec_for(code: int) -> Codec:
    """Return the codec that a record's chunk table calls `code`; raise IntegrityError (payload-malformed) for none."""
    try:
        return _BY_CODE[code]
    except KeyError:
        raise IntegrityError(
            f"a chunk is encoded in a way that this version does not know (code {code})",
            kind="payload-malformed",
            hint="upgrade lamella; if it is the newest version, restore the object from another copy of the store",
        ) from None


def encode(chunk: Buffer, item_nbytes: int, base: Buffer | None) -> tuple[int, bytes]:
    """Return the code and the payload of `chunk`, the payload never longer than the chunk.

    With a `base`, a buffer as long as the chunk, the chunk is encoded against it and not alone: which of the two is
    smaller is a question for a whole object.
    """
    if base is not None and equal(chunk, base):
        return SAME.code, b""
    codec = PLANES if base is None else XOR_PLANES
    payload = codec.encode(chunk, item_nbytes, base)
    if len(payload) < len(chunk):
        return codec.code, payload
    return RAW.code, bytes(chunk)
