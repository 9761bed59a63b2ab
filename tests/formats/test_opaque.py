"""Opaque files: the suite, and what content-defined chunks are for."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.core.limits import KIB, MIB, OPAQUE_AVERAGE_NBYTES, OPAQUE_MAX_NBYTES, OPAQUE_MIN_NBYTES
from lamella.formats import opaque
from lamella.formats.file import BytesFile
from lamella.formats.opaque import OpaqueFormat
from lamella.formats.skeleton import Skeleton, build_skeleton
from lamella.formats.sniff import OPAQUE
from lamella.testing.formats import FormatSuite

SMALL = OpaqueFormat(minimum_nbytes=64, average_nbytes=256, maximum_nbytes=1024)


def chunks(data: bytes, chunker: OpaqueFormat = SMALL) -> list[bytes]:
    layout = chunker.layout(BytesFile(data))
    return [data[span.offset : span.offset + span.spec.nbytes] for span in layout.tensors]


class TestOpaque(FormatSuite):
    format = SMALL
    mutations = 100

    def files(self):
        noise = random.Random(1).randbytes(6000)
        return [b"", b"x", noise[:64], noise[:65], bytes(5000), noise]


@given(data=st.binary(max_size=20_000))
def test_the_chunks_are_the_file(data):
    assert b"".join(chunks(data)) == data


@given(seed=st.integers(0, 1 << 32), nbytes=st.integers(1, 30_000))
def test_chunks_keep_to_their_bounds(seed, nbytes):
    sizes = [len(chunk) for chunk in chunks(random.Random(seed).randbytes(nbytes))]
    assert all(64 <= size <= 1024 for size in sizes[:-1])
    assert 1 <= sizes[-1] <= 1024


@settings(max_examples=30)
@given(seed=st.integers(0, 1 << 32), at=st.integers(0, 100_000), inserted=st.binary(min_size=1, max_size=100))
def test_an_insertion_keeps_most_chunks(seed, at, inserted):
    data = random.Random(seed).randbytes(100_000)
    before = set(chunks(data))
    after = set(chunks(data[:at] + inserted + data[at:]))
    assert len(before & after) > 0.9 * len(before)


def test_the_window_does_not_show_in_the_chunks(monkeypatch):
    data = random.Random(2).randbytes(50_000)
    expected = chunks(data)
    for chunks_a_window in (1, 2, 1000):
        monkeypatch.setattr(opaque, "_WINDOW_CHUNKS", chunks_a_window)
        assert chunks(data) == expected


def test_every_chunk_is_called_bytes_and_is_a_row_of_u8():
    specs = [span.spec for span in SMALL.layout(BytesFile(bytes(3000))).tensors]
    assert [(spec.name, spec.dtype.name, len(spec.shape)) for spec in specs] == [("bytes", "u8", 1)] * len(specs)
    assert sum(spec.nbytes for spec in specs) == 3000


def test_an_empty_file_has_no_tensors():
    assert OPAQUE.layout(BytesFile(b"")).tensors == ()


@pytest.mark.parametrize("nbytes", [0, 1, 5000])
def test_the_skeleton_of_an_opaque_file_is_plain(nbytes):
    file = BytesFile(bytes(nbytes))
    layout = SMALL.layout(file)
    skeleton = Skeleton.parse(build_skeleton(file, layout))
    assert skeleton == Skeleton.plain(len(layout.tensors))


def test_a_file_of_more_chunks_than_a_manifest_can_list_is_refused(monkeypatch):
    monkeypatch.setattr(opaque, "MAX_TENSORS", 3)
    assert len(SMALL.layout(BytesFile(bytes(3 * 1024))).tensors) == 3
    with pytest.raises(FormatError) as caught:
        SMALL.layout(BytesFile(bytes(3 * 1024 + 1)))
    assert caught.value.kind == "too-many-tensors"


def test_a_long_file_is_read_once_in_bounded_memory():
    class Zeros:
        nbytes = MIB
        read_nbytes = 0

        def read_at(self, offset, nbytes):
            assert offset + nbytes <= self.nbytes
            self.read_nbytes += nbytes
            return bytes(nbytes)

    file = Zeros()
    chunker = OpaqueFormat(minimum_nbytes=4 * KIB, average_nbytes=8 * KIB, maximum_nbytes=16 * KIB)
    tracemalloc.start()
    try:
        layout = chunker.layout(file)
        peak_nbytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_nbytes < 6 * 16 * KIB + 300 * len(layout.tensors)
    assert file.read_nbytes < 1.4 * file.nbytes


def test_the_chunks_of_a_repository_have_the_sizes_of_the_limits():
    assert OpaqueFormat(OPAQUE_MIN_NBYTES, OPAQUE_AVERAGE_NBYTES, OPAQUE_MAX_NBYTES) == OPAQUE
