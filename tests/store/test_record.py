"""The head of a record: what it says comes back, and nothing else is believed."""

from __future__ import annotations

import dataclasses
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId, check, digest
from lamella.core.limits import MAX_CHUNK_SHIFT, MAX_READ_DEPTH, MAX_TENSOR_NBYTES
from lamella.store import record
from lamella.store.record import FIXED, HEAD_CHECK_NBYTES, ROW, ChunkRow, Head, pack_head, unpack_head, verify_chunk

BASE = digest(b"base")


@st.composite
def heads(draw: st.DrawFn) -> Head:
    item_nbytes = draw(st.sampled_from((1, 2, 4, 8)))
    chunk_shift = draw(st.integers(0, MAX_CHUNK_SHIFT))
    chunk_nbytes = item_nbytes << chunk_shift
    nbytes = draw(st.integers(0, 12 * chunk_nbytes))
    depth = draw(st.integers(0, MAX_READ_DEPTH))
    rows, offset = [], 0
    for number in range(record.chunk_count(nbytes, item_nbytes, chunk_shift)):
        longest = min(chunk_nbytes, nbytes - number * chunk_nbytes)
        length = draw(st.integers(0, longest))
        rows.append(ChunkRow(draw(st.integers(0, 255)), offset, length, draw(st.binary(min_size=8, max_size=8))))
        offset += length
    identity = ObjectId(draw(st.binary(min_size=32, max_size=32)))
    return Head(identity, BASE if depth else None, depth, item_nbytes, chunk_shift, nbytes, offset, tuple(rows))


def sample() -> Head:
    rows = (ChunkRow(1, 0, 100, b"one" + bytes(5)), ChunkRow(3, 100, 0, bytes(8)), ChunkRow(0, 100, 44, b"\xff" * 8))
    return Head(digest(b"object"), BASE, 1, 2, 6, 300, 144, rows)


def sealed(body: bytes) -> bytes:
    return body + check(body, HEAD_CHECK_NBYTES)


def refused(data: bytes) -> str:
    with pytest.raises(IntegrityError) as caught:
        unpack_head(data)
    return caught.value.kind


def with_fields(**changes: int | bytes) -> bytes:
    """Return the sample's head with some fields replaced, under a right checksum."""
    names = (
        "magic",
        "head",
        "item",
        "depth",
        "shift",
        "flags",
        "nbytes",
        "payload",
        "id",
        "base",
        "chunks",
        "parameters",
    )
    data = pack_head(sample())
    values = dict(zip(names, FIXED.unpack_from(data), strict=True)) | changes
    assert set(values) == set(names)
    return sealed(FIXED.pack(*values.values()) + data[FIXED.size : -HEAD_CHECK_NBYTES])


@given(heads())
def test_a_head_comes_back_as_it_was_written(head):
    data = pack_head(head)
    assert len(data) == head.head_nbytes == record.head_nbytes_at(data)
    assert unpack_head(data) == head
    assert unpack_head(memoryview(data)) == head


@given(heads())
def test_decoded_lengths_of_the_chunks_add_up(head):
    lengths = [head.decoded_nbytes(number) for number in range(len(head.rows))]
    assert sum(lengths) == head.nbytes
    assert all(0 < length <= head.chunk_nbytes for length in lengths)


def test_every_flipped_bit_of_a_head_is_found():
    data = pack_head(sample())
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(flipped)) == "object-damaged"


def test_a_head_cut_or_lengthened_anywhere_is_refused():
    data = pack_head(sample())
    for nbytes in range(len(data)):
        assert refused(data[:nbytes]) == "object-damaged"
    assert refused(data + b"\0") == "object-damaged"


@pytest.mark.parametrize(
    "changes",
    [
        {"nbytes": 1 << 62},
        {"nbytes": MAX_TENSOR_NBYTES + 1},
        {"nbytes": (1 << 64) - 1},
        {"nbytes": 0},
        {"nbytes": 257},
        {"nbytes": 385},
        {"chunks": 2},
        {"chunks": 4},
        {"chunks": (1 << 32) - 1},
        {"payload": 143},
        {"payload": 145},
        {"payload": (1 << 64) - 1},
        {"item": 0},
        {"item": 3},
        {"item": 16},
        {"shift": MAX_CHUNK_SHIFT + 1},
        {"shift": 255},
        {"shift": 5},
        {"depth": 0},
        {"depth": MAX_READ_DEPTH + 1},
        {"depth": 200},
        {"base": bytes(32)},
        {"magic": b"LamObj\n\0"},
        {"head": 0},
        {"head": (1 << 32) - 1},
        {"head": 103},
        {"parameters": 1},
        {"parameters": (1 << 32) - 1},
    ],
    ids=str,
)
def test_a_head_that_lies_under_a_right_checksum_is_refused(changes):
    assert refused(with_fields(**changes)) == "object-damaged"


@pytest.mark.parametrize("changes", [{"flags": 4}, {"flags": 128}], ids=str)
def test_a_feature_of_a_newer_version_is_refused_by_that_name(changes):
    assert refused(with_fields(**changes)) == "payload-malformed"


@given(parameters=st.binary(max_size=300))
def test_parameters_come_back(parameters):
    head = dataclasses.replace(sample(), parameters=parameters)
    data = pack_head(head)
    assert len(data) == head.head_nbytes == len(pack_head(sample())) + len(parameters)
    assert unpack_head(data) == head


def test_a_payload_longer_than_its_chunk_is_refused():
    rows = list(sample().rows)
    for number, longest in enumerate((128, 128, 44)):
        for length, accepted in ((longest, True), (longest + 1, False)):
            changed = [row if at != number else row._replace(nbytes=length) for at, row in enumerate(rows)]
            head = dataclasses.replace(sample(), payload_nbytes=sum(row.nbytes for row in changed), rows=tuple(changed))
            if accepted:
                assert unpack_head(pack_head(head)).rows[number].nbytes == longest
            else:
                assert refused(pack_head(head)) == "object-damaged"


def test_a_lying_head_costs_neither_memory_nor_time():
    lies = [with_fields(nbytes=1 << 62), with_fields(chunks=(1 << 32) - 1), with_fields(shift=255, nbytes=1 << 62)]
    tracemalloc.start()
    for data in lies * 100:
        refused(data)
    peak_nbytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_nbytes < 1_000_000


def test_a_scanner_takes_no_impossible_length_from_the_first_bytes():
    assert record.head_nbytes_at(record.MAGIC + (200).to_bytes(4, "little")) == 200
    for first in (b"", record.MAGIC, record.MAGIC + b"\0\0\0\0", record.MAGIC + b"\xff\xff\xff\xff", bytes(12)):
        with pytest.raises(IntegrityError):
            record.head_nbytes_at(first)


def test_a_chunk_is_believed_only_with_its_length_and_checksum():
    payload = b"payload of one chunk"
    rows = (ChunkRow(0, 0, len(payload), check(payload)),)
    head = Head(digest(b"x"), None, 0, 1, 6, 20, len(payload), rows)
    verify_chunk(head, 0, payload)
    for wrong in (b"", payload[:-1], payload + b"\0", b"P" + payload[1:]):
        with pytest.raises(IntegrityError) as caught:
            verify_chunk(head, 0, wrong)
        assert caught.value.kind == "chunk-damaged"
        assert head.id.hex() in caught.value.message


def test_rows_and_heads_have_the_sizes_that_are_promised():
    assert (FIXED.size, ROW.size, record.MIN_HEAD_NBYTES) == (104, 16, 120)
    assert len(pack_head(dataclasses.replace(sample(), nbytes=0, payload_nbytes=0, rows=()))) == 120
