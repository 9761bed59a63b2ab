"""Flax's files: the suite, the golden ones, chunks of any length, and trees that lie."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.flax.reader import FlaxMsgpackFormat
from lamella.testing.formats import BASE_MEMORY_NBYTES, FormatSuite
from tests.formats.beside import GOLDEN, contents

FORMAT = FlaxMsgpackFormat()
EXPECTED = json.loads((GOLDEN / "flax_msgpack.json").read_text())
CHUNKED = "__msgpack_chunked_array__"


class Extension:
    """An extension of MessagePack, as bytes."""

    def __init__(self, code: int, payload: bytes) -> None:
        self.packed = b"\xc9" + struct.pack(">IB", len(payload), code) + payload


def pack(value: object) -> bytes:
    """The value in MessagePack; lengths take the longest form."""
    match value:
        case Extension():
            return value.packed
        case np.ndarray():
            return array(value.shape, value.dtype.name, value.tobytes()).packed
        case None | bool():
            return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
        case int():
            return b"\xd3" + struct.pack(">q", value) if value < 2**63 else b"\xcf" + struct.pack(">Q", value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
        case bytes():
            return b"\xc6" + struct.pack(">I", len(value)) + value
        case list() | tuple():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
        case dict():
            pairs = b"".join(pack(key) + pack(held) for key, held in value.items())
            return b"\xdf" + struct.pack(">I", len(value)) + pairs
    raise TypeError(value)


def array(shape: object, dtype: object, data: object, code: int = 1) -> Extension:
    return Extension(code, pack((shape, dtype, data)))


def chunked(values: np.ndarray, cuts: list[int]) -> dict[str, object]:
    chunks = np.split(values.reshape(-1), cuts)
    return {
        CHUNKED: True,
        "shape": {str(n): extent for n, extent in enumerate(values.shape)},
        "chunks": {str(n): chunk for n, chunk in enumerate(chunks)},
    }


def layout_of(value: object):
    return FORMAT.layout(BytesFile(value if isinstance(value, bytes) else pack(value)))


ONE = np.arange(6, dtype=np.float32).reshape(2, 3)


class TestFlaxMsgpack(FormatSuite):
    format = FORMAT

    def files(self):
        golden = [(GOLDEN / "flax_msgpack" / name).read_bytes() for name in EXPECTED]
        mixed = {"a": [ONE, {"x": 1.5}], 3: {"raw": b"123"}, "long": chunked(np.arange(60.0).reshape(3, 4, 5), [7, 33])}
        return [*golden, pack(mixed), pack({"only": ONE})]


def test_numbers_and_texts_are_metadata():
    data = (GOLDEN / "flax_msgpack" / "dtypes.msgpack").read_bytes()
    assert FORMAT.metadata(BytesFile(data)) == {
        "step": "3",
        "rate": "0.5",
        "note": "a \u2603",
        "none": "None",
        "on": "True",
        "complex": "1.0 + 2.0i",
    }
    long = FORMAT.metadata(BytesFile(pack({"note": "x" * 100_000, **{str(n): n for n in range(5000)}})))
    assert len(long) == 4096
    assert long["note"] == "x" * 4096 + "..."
    named = FORMAT.metadata(BytesFile(pack({"n" * 8000: {"m" * 8000 + str(n): n for n in range(1000)}})))
    assert sum(map(len, named)) < 5_000_000


def test_lists_and_numbers_as_keys_are_named_by_their_place():
    layout = layout_of({"a": [ONE, {"b": ONE}], 7: ONE})
    assert [span.spec.name for span in layout.tensors] == ["a.0", "a.1.b", "7"]


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 200), max_size=5),
    dtype=st.sampled_from(["int8", "float32"]),
)
def test_chunks_of_any_length_are_one_tensor(shape, cuts, dtype):
    values = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    data = pack({"x": {"long": chunked(values, sorted(min(cut, values.size) for cut in cuts))}})
    found = contents(data, layout_of(data))
    plain = pack({"x": {"long": values}})
    assert found == contents(plain, layout_of(plain))


def test_a_name_that_comes_twice_is_told_from_the_first():
    layout = layout_of({"a.b": ONE, "a": {"b": ONE}})
    assert [span.spec.name for span in layout.tensors] == ["a.b", "a.b#2"]


def test_a_map_of_another_kind_with_that_key_is_a_map():
    layout = layout_of({"x": {CHUNKED: True, "y": ONE}})
    assert [span.spec.name for span in layout.tensors] == ["x.y"]


def test_a_file_that_begins_with_a_long_chunk_is_claimed():
    data = pack({"x": chunked(np.zeros(20_000), [10_000])})
    assert FORMAT.sniff(data[:4096], len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        pack({}),
        pack({"a": 1}),
        pack([ONE]),
        pack({"a": Extension(5, b"\x93\x90")}),
        pack({"a": "x" * 5000, "b": ONE}),
        b"\x81" + bytes(100),
        pack({"a": ONE})[:40],
    ],
)
def test_what_has_no_array_near_its_beginning_is_not_claimed(data):
    assert not FORMAT.sniff(data[:4096], len(data))


DEEP = b"\x81\xa1a" * 65 + pack(ONE)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (pack([ONE]), "header-malformed"),
        (pack({"a": ONE}) + b"\0", "header-malformed"),
        (pack({"a": ONE})[:-1], "file-truncated"),
        (b"\xdf\xff\xff\xff\xff" + pack("a"), "file-truncated"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "file-truncated"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "file-truncated"),
        (b"\x81\xa1a\xc1", "header-malformed"),
        (b"\x81\xa1\xff\xc0", "header-malformed"),
        (b"\x81\x90\xc0", "header-malformed"),
        (DEEP, "header-too-deep"),
        ({"a\nb": ONE}, "header-malformed"),
        ({"a" * 5000: {"b" * 5000: ONE}}, "header-malformed"),
        ({"a" * 9000: ONE}, "header-malformed"),
        ({"a": array((2, 3), "float32", bytes(23))}, "header-malformed"),
        ({"a": array((2, 3), "float32", bytes(25))}, "header-malformed"),
        ({"a": array((2, -3), "float32", b"")}, "header-malformed"),
        ({"a": array((2**40, 2**40), "float32", b"")}, "header-malformed"),
        ({"a": array((2**63, 0), "float32", b"")}, "header-malformed"),
        ({"a": array((2.0,), "float32", bytes(8))}, "header-malformed"),
        ({"a": array((1,) * 65, "float32", bytes(4))}, "header-malformed"),
        ({"a": array(2, "float32", bytes(8))}, "header-malformed"),
        ({"a": array((2,), 3, bytes(8))}, "header-malformed"),
        ({"a": array((2,), "x" * 65, bytes(8))}, "header-malformed"),
        ({"a": array((2,), "float32", 3)}, "header-malformed"),
        ({"a": Extension(1, b"\x92\x90\xc4\0")}, "header-malformed"),
        ({"a": Extension(1, pack(((2,), "float32", bytes(8))) + b"\0")}, "header-malformed"),
        ({"a": {**chunked(ONE, [2]), "shape": {"0": 2, "1": 4}}}, "header-malformed"),
        ({"a": {**chunked(ONE, [2]), "shape": {"1": 2, "0": 3}}}, "header-malformed"),
        ({"a": {**chunked(ONE, [2]), "shape": 5}}, "header-malformed"),
        ({"a": {**chunked(ONE, [2]), "chunks": {}}}, "header-malformed"),
        ({"a": {**chunked(ONE, [2]), "chunks": {"0": 1}}}, "header-malformed"),
        ({"a": {**chunked(ONE, [2]), "chunks": {"0": ONE[:1], "1": np.zeros(3, np.int32)}}}, "header-malformed"),
        (
            {"a": {**chunked(ONE, [2]), "chunks": {n: array((), "float32", bytes(12)) for n in "01"}}},
            "header-malformed",
        ),
    ],
)
def test_a_tree_that_lies_is_refused(value, kind):
    with pytest.raises(FormatError) as caught:
        layout_of(value)
    assert caught.value.kind == kind


@pytest.mark.parametrize("count", [3, 5])
def test_a_chunk_that_ends_inside_an_element_is_refused(count):
    chunks = {"0": array((1,), "uint8", bytes(count)), "1": array((1,), "uint8", bytes(8 - count))}
    value = {"a": {CHUNKED: True, "shape": {"0": 2}, "chunks": chunks}}
    with pytest.raises(FormatError):
        layout_of(value)


def test_dtypes_without_a_name_here_are_no_tensors():
    layout = layout_of({"a": array((2,), "<U3", bytes(24)), "b": ONE})
    assert [span.spec.name for span in layout.tensors] == ["b"]


@pytest.mark.parametrize(
    "data",
    [
        pack({"n" * 8000: [np.zeros(0, np.int8)] * 20_000}),
        pack({"n" * 8000: {str(n): {} for n in range(20_000)}}),
        pack({"n": array((0, *(1,) * 63), "int8", b""), "m": [np.zeros((1,) * 64, np.int8)] * 2000}),
        pack({"x": [chunked(np.zeros((1, 2) * 5, np.int8), list(range(1, 32)))] * 600}),
    ],
    ids=["tensors", "maps", "axes", "chunks"],
)
def test_memory_is_bounded_whatever_a_tree_holds(data):
    tracemalloc.start()
    started = time.process_time()
    try:
        layout_of(data)
    except FormatError as error:
        assert error.kind == "too-many-tensors"
    assert tracemalloc.get_traced_memory()[1] < BASE_MEMORY_NBYTES + 2 * len(data)
    assert time.process_time() - started < 10
    tracemalloc.stop()


class Sparse:
    """A file of zeros behind its head, that counts what is read of it."""

    def __init__(self, head: bytes, nbytes: int) -> None:
        self._head, self.nbytes, self.read_nbytes = head, nbytes, 0

    def read_at(self, offset: int, nbytes: int) -> bytes:
        assert offset + nbytes <= self.nbytes
        self.read_nbytes += nbytes
        return self._head[offset : offset + nbytes].ljust(nbytes, b"\0")


def test_elements_are_passed_over_unread():
    nbytes = 1 << 30
    head = pack({"a": ONE})[: -24 - 5]
    head = head.replace(struct.pack(">q", 2), struct.pack(">q", nbytes // 12))
    payload_nbytes = len(head) - head.index(b"\xc9") - 6 + 5 + nbytes // 12 * 12
    head = head.replace(struct.pack(">I", len(array((2, 3), "float32", bytes(24)).packed) - 6), b"????", 1)
    head = head.replace(b"????", struct.pack(">I", payload_nbytes)) + b"\xc6" + struct.pack(">I", nbytes // 12 * 12)
    file = Sparse(head, len(head) + nbytes // 12 * 12)
    (span,) = FORMAT.layout(file).tensors
    assert span.spec.shape == (nbytes // 12, 3)
    assert file.read_nbytes < 10_000


def test_fifty_thousand_tensors_are_read_at_once():
    data = pack({f"layer_{n}": {"kernel": ONE} for n in range(50_000)})
    started = time.process_time()
    assert len(layout_of(data).tensors) == 50_000
    assert time.process_time() - started < 5
