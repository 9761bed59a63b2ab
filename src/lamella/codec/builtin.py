"""The codecs that come with Lamella, and which of them a chunk is written with."""

from __future__ import annotations

from lamella.codec.alone import Alone, alone_with
from lamella.codec.base import Codec
from lamella.codec.delta import Delta, delta_with
from lamella.codec.palette import Palette
from lamella.codec.planes import Planes, XorPlanes
from lamella.codec.raw import Raw, Same, equal
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError

RAW, PLANES, XOR_PLANES, SAME, PALETTE = Raw(), Planes(), XorPlanes(), Same(), Palette()

BUILTIN: tuple[Codec, ...] = (RAW, PLANES, XOR_PLANES, SAME, PALETTE)
"""Every codec that is the same for all objects, in the order of their codes; Delta and Alone, 4 and 5, are fitted.

A code is written to disk and never given to another codec.
"""

_BY_CODE: dict[int, Codec] = {codec.code: codec for codec in BUILTIN}


def codec_for(code: int, parameters: bytes = b"") -> Codec:
    """Return the codec that a record's chunk table calls `code`, for an object with these `parameters`.

    Raises IntegrityError (payload-malformed) where there is none, and for parameters that no encoder made.
    """
    if code == Delta.code:
        return delta_with(parameters)
    if code == Alone.code:
        return alone_with(parameters)
    try:
        return _BY_CODE[code]
    except KeyError:
        raise IntegrityError(
            f"a chunk is encoded in a way that this version does not know (code {code})",
            kind="payload-malformed",
            hint="upgrade lamella; if it is the newest version, restore the object from another copy of the store",
        ) from None


def encode(chunk: Buffer, item_nbytes: int, base: Buffer | None, fitted: Codec | None = None) -> tuple[int, bytes]:
    """Return the code and the payload of `chunk`, the payload never longer than the chunk.

    With a `base`, a buffer as long as the chunk, the chunk is encoded against it and not alone: which of the two is
    smaller is a question for a whole object. `fitted` is what suits the object, if anything was fitted to it; a chunk
    that has too many values for a palette is left to the planes.
    """
    if base is not None and equal(chunk, base):
        return SAME.code, b""
    codec: Codec = PLANES if base is None else XOR_PLANES
    if fitted is not None and fitted.needs_base == (base is not None):
        codec = PLANES if base is None and _repeats(chunk, item_nbytes) else fitted
    payload = codec.encode(chunk, item_nbytes, base)
    if codec is PALETTE and len(payload) == len(chunk):
        codec = PLANES
        payload = codec.encode(chunk, item_nbytes, None)
    if len(payload) < len(chunk):
        return codec.code, payload
    return RAW.code, bytes(chunk)


def _repeats(chunk: Buffer, item_nbytes: int) -> bool:
    """Say whether a chunk is one item again and again, which planes make nothing of."""
    return len(chunk) > item_nbytes and equal(chunk[item_nbytes:], chunk[:-item_nbytes])
