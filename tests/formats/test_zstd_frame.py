"""Frames of zstd, read in part: onwards, backwards, and where they are not what they should be."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.zstd_frame import ZstdFrame

VALUES = bytes(range(256)) * 5000


def frame(stored: bytes, nbytes: int = len(VALUES)) -> ZstdFrame:
    return ZstdFrame(BytesFile(b"before" + stored + b"behind"), 6, len(stored), nbytes)


def compressed(*, sized: bool = True, **how) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=sized, **how).compress(VALUES)


@given(st.lists(st.tuples(st.integers(0, len(VALUES)), st.integers(0, 99_999))), st.booleans())
def test_any_part_is_what_was_compressed(parts, sized):
    opened = frame(compressed(sized=sized))
    for start, length in parts:
        stop = min(start + length, len(VALUES))
        assert opened.read_at(start, stop - start) == VALUES[start:stop]


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("nbytes", [len(VALUES) - 1, len(VALUES) + 1])
def test_a_frame_of_another_length_is_refused(sized, nbytes):
    with pytest.raises(FormatError) as caught:
        frame(compressed(sized=sized), nbytes).read_at(0, nbytes)
    assert caught.value.kind == "header-malformed"


@pytest.mark.parametrize("stored", [b"", b"no frame of zstd", compressed()[:20], compressed()[:4]])
def test_what_is_no_frame_is_refused(stored):
    with pytest.raises(FormatError):
        frame(stored).read_at(0, len(VALUES))


def test_a_damaged_frame_is_refused():
    stored = bytearray(compressed(write_checksum=True))
    stored[-1] ^= 1
    with pytest.raises(FormatError, match="damaged"):
        frame(bytes(stored)).read_at(0, len(VALUES))


def test_a_frame_that_needs_much_memory_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=24, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stored = stream.compress(VALUES) + stream.flush()
    with pytest.raises(FormatError, match="at once"):
        frame(stored)
