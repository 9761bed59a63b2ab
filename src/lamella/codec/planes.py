"""The two codecs of byte planes: each plane of a chunk, or of its XOR with a base, stored the smallest of three ways.

The bytes at one position of every element mean the same thing (sign and exponent, or mantissa), so they compress
together or not at all. docs/spec/codecs.md describes the payload.
"""

from __future__ import annotations

import struct
import threading

import zstandard

from lamella.codec import kernels
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError

VERBATIM, ZSTD, CONSTANT = 0, 1, 2
"""The kind of a row: the plane itself, a zstd frame of it, or the one byte that it repeats."""

_ROW = struct.Struct("<BI")
_LEAST_SAVING = 50
"""A frame must save one byte in so many, or it is not worth the time to decode it."""


class _Workspace(threading.local):
    """What a thread keeps between calls: contexts of zstd, which must not be shared, and a buffer for planes."""

    def __init__(self) -> None:
        self.bytes_compressor = zstandard.ZstdCompressor(level=1)
        # Planes of wider elements hardly repeat themselves, and the matches that zstd finds in noise cost more than
        # they save. With a table of 256 places it finds the true repetitions and leaves the rest to its entropy coder:
        # exponents become a tenth smaller and are encoded and decoded half as fast again.
        parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=16, hash_log=8, min_match=7)
        self.planes_compressor = zstandard.ZstdCompressor(compression_params=parameters)
        self.decompressor = zstandard.ZstdDecompressor()
        self.buffer = bytearray()

    def lend(self, nbytes: int) -> bytearray:
        """Return the buffer, at least `nbytes` long, with whatever it holds."""
        if len(self.buffer) < nbytes:
            self.buffer = bytearray(nbytes)
        return self.buffer


_workspace = _Workspace()


class Planes:
    """Code 1: the planes of the chunk itself."""

    code = 1
    name = "planes"
    needs_base = False

    def encode(self, chunk: Buffer, item_nbytes: int, base: Buffer | None) -> bytes:
        """Return a row for each plane, then the bytes after the last whole element."""
        nbytes, count = len(chunk), len(chunk) // item_nbytes
        buffer = _workspace.lend(nbytes)
        planes = memoryview(buffer)[:nbytes]
        kernels.split_planes(chunk, item_nbytes, base, planes)
        compressor = _workspace.bytes_compressor if item_nbytes == 1 else _workspace.planes_compressor
        pieces: list[Buffer] = []
        for start in (number * count for number in range(item_nbytes)):
            plane = planes[start : start + count]
            kind, body = VERBATIM, plane
            if _is_constant(buffer, start, start + count):
                kind, body = CONSTANT, plane[:1]
            else:
                frame = compressor.compress(plane)
                if len(frame) + count // _LEAST_SAVING < count:
                    kind, body = ZSTD, memoryview(frame)
            pieces += _ROW.pack(kind, len(body)), body
        pieces.append(planes[item_nbytes * count :])
        return b"".join(pieces)

    def decode(self, payload: Buffer, item_nbytes: int, base: Buffer | None, out: memoryview) -> None:
        """Fill the chunk; raise IntegrityError (payload-malformed) unless the rows and the rest fill it exactly."""
        nbytes = len(out)
        count = nbytes // item_nbytes
        view = memoryview(payload)
        planes = memoryview(_workspace.lend(nbytes))[:nbytes]
        at = 0
        for plane in range(item_nbytes):
            if len(view) - at < _ROW.size:
                raise _malformed("ends inside a row")
            kind, length = _ROW.unpack_from(view, at)
            at += _ROW.size
            if len(view) - at < length:
                raise _malformed("ends inside a plane")
            planes[plane * count : (plane + 1) * count] = _plane(kind, view[at : at + length], count)
            at += length
        if len(view) - at != nbytes - item_nbytes * count:
            raise _malformed("does not end with its last plane")
        planes[item_nbytes * count :] = view[at:]
        kernels.join_planes(planes, item_nbytes, base, out)


class XorPlanes(Planes):
    """Code 2: the planes of the chunk XOR its base."""

    code = 2
    name = "xor-planes"
    needs_base = True


def _is_constant(buffer: bytearray, start: int, stop: int) -> bool:
    return (
        stop > start
        and buffer[start] == buffer[stop - 1]
        and buffer.startswith(buffer[start : start + 1] * (stop - start), start)
    )


def _plane(kind: int, body: memoryview, count: int) -> Buffer:
    if kind == VERBATIM and len(body) == count:
        return body
    if kind == CONSTANT and len(body) == 1 and count:
        return bytes(body) * count
    if kind != ZSTD or len(body) >= count:
        raise _malformed("has a plane of a wrong kind or length")
    try:
        # The frame's own claim comes first: zstandard allocates what the frame asks for.
        if zstandard.frame_content_size(body) != count:
            raise _malformed("has a frame of another length than its plane")
        return _workspace.decompressor.decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise _malformed("has a damaged frame") from exc


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError(
        f"the payload of a chunk {reason}",
        kind="payload-malformed",
        hint="restore the object from another copy of the store",
    )
