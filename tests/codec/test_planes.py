"""The rows of a planes payload: which kind a plane gets, and the payloads of an attacker."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import zstandard

from lamella.codec.planes import CONSTANT, VERBATIM, ZSTD, Planes, XorPlanes
from lamella.core.errors import IntegrityError
from lamella.core.limits import MIB
from lamella.testing.codecs import decoded, noise, weights

NBYTES = 4000
PLANE = b"\x3c\x3d\x3c\x3e" * (NBYTES // 4)


def row(kind: int, body: bytes) -> bytes:
    return struct.pack("<BI", kind, len(body)) + body


def frame(data: bytes, **settings: bool) -> bytes:
    return zstandard.ZstdCompressor(level=1, **settings).compress(data)


def frame_claiming(content_nbytes: int, window: int = 0) -> bytes:
    """Return a frame of one block of zeros, repeated for the length of PLANE, with a content size of eight bytes."""
    header = struct.pack("<IBBQ", 0xFD2FB528, 0xC0, window, content_nbytes)
    return header + (1 | 1 << 1 | NBYTES << 3).to_bytes(3, "little") + b"\0"


def kinds(payload: bytes, item_nbytes: int) -> list[int]:
    found, at = [], 0
    for _ in range(item_nbytes):
        kind, length = struct.unpack_from("<BI", payload, at)
        found.append(kind)
        at += 5 + length
    return found


def test_each_plane_gets_the_kind_that_suits_it():
    chunk = bytearray(weights(2000, 4, 1))
    chunk[2::4] = b"\x07" * 2000
    assert kinds(Planes().encode(chunk, 4, None), 4) == [VERBATIM, VERBATIM, CONSTANT, ZSTD]


def test_a_base_turns_what_it_shares_into_constants():
    base = weights(2000, 2, 1)
    chunk = bytearray(base)
    chunk[0::2] = noise(2000, 2)
    assert kinds(XorPlanes().encode(chunk, 2, base), 2) == [VERBATIM, CONSTANT]


def test_a_frame_that_hardly_saves_is_not_used():
    assert kinds(Planes().encode(bytes(60) + noise(8000, 1), 1, None), 1) == [VERBATIM]
    assert kinds(Planes().encode(bytes(400) + noise(8000, 1), 1, None), 1) == [ZSTD]


def test_weights_shrink_by_what_their_exponents_hold():
    # 2 bits of 8 in the high byte, and a noisy low byte.
    chunk = weights(65_536, 2, 1)
    assert len(Planes().encode(chunk, 2, None)) < 0.63 * len(chunk)


def test_a_long_chunk_is_not_refused():
    chunk = weights(3_000_000, 2, 1)
    assert decoded(Planes(), Planes().encode(chunk, 2, None), len(chunk), 2, None) == chunk


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(frame(PLANE[:-1]), id="a frame of one byte less"),
        pytest.param(frame(PLANE + b"\0"), id="a frame of one byte more"),
        pytest.param(frame(PLANE, write_content_size=False), id="a frame that does not say how long it is"),
        pytest.param(frame(PLANE) + b"\0", id="a byte after the frame"),
        pytest.param(frame(PLANE[:2000]) + frame(PLANE[2000:]), id="two frames that make up the plane"),
        pytest.param(frame(PLANE) + frame(b""), id="an empty frame after the frame"),
        pytest.param(frame(PLANE) + b"\x50\x2a\x4d\x18\0\0\0\0", id="a skippable frame after the frame"),
        pytest.param(b"\x50\x2a\x4d\x18\0\0\0\0" + frame(PLANE), id="a skippable frame before the frame"),
        pytest.param(frame(PLANE)[:-1], id="a frame without its end"),
        pytest.param(frame(PLANE)[:5], id="the beginning of a frame"),
        pytest.param(b"", id="nothing"),
        pytest.param(noise(100, 1), id="noise"),
        pytest.param(frame(PLANE, write_checksum=True)[:-4] + b"\0\0\0\0", id="a wrong checksum"),
        pytest.param(frame_claiming(1 << 62), id="a claim of 4 EiB"),
        pytest.param(frame_claiming(1 << 34), id="a claim of 16 GiB"),
        pytest.param(frame_claiming((1 << 64) - 1), id="a claim of all but one of 2**64 bytes"),
        pytest.param(frame_claiming(NBYTES, window=0xFF), id="a window of more than zstd allows"),
        pytest.param(frame_claiming(NBYTES, window=0xA8)[:-1], id="a window of 2 GiB in half a frame"),
        pytest.param(frame(bytes(64 * MIB))[:3000], id="a frame that becomes 64 MiB"),
    ],
)
def test_a_frame_that_is_not_the_plane_is_refused_without_believing_it(body):
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError) as caught:
            decoded(Planes(), row(ZSTD, body), NBYTES, 1, None)
        _, peak_nbytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.kind == "payload-malformed"
    assert peak_nbytes < MIB


def test_the_crafted_frames_are_refused_for_their_claims_alone():
    assert decoded(Planes(), row(ZSTD, frame_claiming(NBYTES)), NBYTES, 1, None) == bytes(NBYTES)


def test_a_frame_with_a_checksum_is_read():
    body = frame(PLANE, write_checksum=True)
    assert decoded(Planes(), row(ZSTD, body), NBYTES, 1, None) == PLANE


@pytest.mark.parametrize("kind", [VERBATIM, ZSTD, CONSTANT, 3, 255])
@pytest.mark.parametrize("length", [0, 1, NBYTES - 1, NBYTES + 1, (1 << 32) - 1])
def test_a_row_whose_length_lies_is_refused(kind, length):
    payload = struct.pack("<BI", kind, length) + PLANE
    with pytest.raises(IntegrityError):
        decoded(Planes(), payload, NBYTES, 1, None)
