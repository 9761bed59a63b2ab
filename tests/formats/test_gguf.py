"""GGUF: the suite, what the gguf package wrote, and files that nobody should write."""

from __future__ import annotations

import contextlib
import random
import re
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_GGUF_HEADER_NBYTES
from lamella.formats.base import TensorSpan
from lamella.formats.file import BytesFile
from lamella.formats.gguf.reader import GgufFormat
from lamella.testing.formats import BASE_MEMORY_NBYTES, FormatSuite, check_spans
from tests.formats.contents import values

GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "gguf"

FORMAT = GgufFormat()
F32, Q4_0, U32, TEXT, ARRAY = 0, 2, 4, 8, 9


def text(value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "Q", len(value)) + value


def pair(key: bytes, kind: int, value: bytes, order: str = "<") -> bytes:
    return text(key, order) + struct.pack(order + "I", kind) + value


def info(name: bytes, shape: tuple[int, ...], kind: int, offset: int, order: str = "<") -> bytes:
    numbers = struct.pack(f"{order}I{len(shape)}QIQ", len(shape), *reversed(shape), kind, offset)
    return text(name, order) + numbers


def file_of(pairs=(), infos=(), data=b"", *, version=3, order="<", counts=None, alignment=32) -> bytes:
    tensors, keys = counts or (len(infos), len(pairs))
    header = b"GGUF" + struct.pack(order + "IQQ", version, tensors, keys) + b"".join(pairs) + b"".join(infos)
    return header + bytes(-len(header) % alignment if infos else 0) + data


def refusal(data: bytes) -> str:
    with pytest.raises(FormatError) as raised:
        FORMAT.layout(BytesFile(data))
    return raised.value.kind


VALUES = [
    pair(b"general.architecture", TEXT, text(b"llama")),
    pair(b"tokens", ARRAY, struct.pack("<IQ", TEXT, 3) + text(b"a") + text(b"") + text(b"ccc")),
    pair(b"nested", ARRAY, struct.pack("<IQIQ3B", ARRAY, 1, 0, 3, 1, 2, 3)),
]
ROWS = struct.pack("<6f", *range(6))
SMALL = file_of(VALUES, [info(b"a.weight", (2, 3), F32, 0), info(b"q", (64,), Q4_0, 32)], ROWS.ljust(32) + bytes(36))
BIG = file_of(
    [pair(b"n", U32, struct.pack(">I", 5), ">")],
    [info(b"a", (2, 3), F32, 0, ">")],
    struct.pack(">6f", *range(6)),
    order=">",
)


class TestConformance(FormatSuite):
    format = FORMAT
    mutations = 300

    def files(self):
        return [SMALL, BIG, file_of(VALUES), (GOLDEN / "aligned.gguf").read_bytes()]


def test_every_quantised_dtype_is_in_the_golden_file():
    layout = FORMAT.layout(BytesFile((GOLDEN / "every-type.gguf").read_bytes()))
    found = {span.spec.dtype.name for span in layout.tensors}
    assert found >= {dtype.name for dtype in DTYPES.values() if dtype.block_elements > 1}


def test_keys_are_shown_as_people_write_them():
    found = FORMAT.metadata(BytesFile((GOLDEN / "every-type.gguf").read_bytes()))
    template, tokens = found.pop("test.template"), found.pop("test.tokens")
    assert re.fullmatch(r"4200 bytes, blake3 [0-9a-f]{16}: (\{\{ x \}\})+.*\.\.\.", template)
    assert len(template) < 4096
    listed = ", ".join(f"'token{number}'" for number in range(8))
    assert re.fullmatch(rf"string\[40\] blake3 [0-9a-f]{{16}}: {listed}, \.\.\.", tokens)
    assert found == {
        "GGUF.version": "3", "general.architecture": "test", "test.uint8": "200", "test.int8": "-100",
        "test.uint16": "60000", "test.int16": "-30000", "test.uint32": "4000000000", "test.int32": "-2000000000",
        "test.float32": "1e-05", "test.bool": "True", "test.string": "naïve \U0001f9e0",
        "test.uint64": "9223372036854775808", "test.int64": "-4611686018427387904", "test.float64": "0.1",
        "test.numbers": "i32[3] 1, 2, 3", "test.floats": "f32[2] 0.5, 1e-06", "test.nested": "array[2] i32[2], i32[1]",
    }  # fmt: skip


def test_a_change_that_is_not_shown_changes_the_digest():
    def shown(last: bytes) -> str:
        tokens = b"".join(text(b"t%d" % number) for number in range(20)) + text(last)
        return FORMAT.metadata(BytesFile(file_of([pair(b"k", ARRAY, struct.pack("<IQ", TEXT, 21) + tokens)])))["k"]

    assert shown(b"x") != shown(b"y")


def test_version_2_is_read_and_the_others_are_named():
    infos = [info(b"a", (6,), F32, 0)]
    assert values(FORMAT, file_of((), infos, ROWS, version=2))["a"] == ("f32", (6,), ROWS)
    for version, hint in ((1, "current llama.cpp"), (4, "upgrade"), (0, "upgrade")):
        with pytest.raises(FormatError, match=f"version {version} is not read") as raised:
            FORMAT.layout(BytesFile(file_of((), infos, ROWS, version=version)))
        assert hint in raised.value.hint
    assert refusal(file_of((), [], version=2, order=">")) == "header-malformed"


def test_big_endian_tensors_are_views_and_big_endian_blocks_are_refused():
    assert values(FORMAT, BIG)["a"] == ("f32", (2, 3), ROWS)
    assert FORMAT.metadata(BytesFile(BIG)) == {"GGUF.version": "3", "n": "5"}
    assert refusal(file_of((), [info(b"q", (32,), Q4_0, 0, ">")], bytes(18), order=">")) == "dtype-unknown"


@given(st.integers(0, 12))
def test_the_alignment_is_honoured(shift):
    alignment = 1 << shift
    pairs = [pair(b"general.alignment", U32, struct.pack("<I", alignment))]
    data = file_of(pairs, [info(b"a", (6,), F32, alignment)], bytes(alignment) + ROWS, alignment=alignment)
    assert values(FORMAT, data)["a"] == ("f32", (6,), ROWS)


def test_a_scalar_and_an_empty_tensor():
    data = file_of((), [info(b"s", (), F32, 0), info(b"none", (0, 4), F32, 4)], ROWS)
    assert values(FORMAT, data) == {"s": ("f32", (), ROWS[:4]), "none": ("f32", (0, 4), b"")}


def test_tensors_that_share_bytes_are_tied():
    data = file_of((), [info(b"a", (2, 64), Q4_0, 0), info(b"b", (64,), Q4_0, 36)], random.Random(0).randbytes(72))
    layout = FORMAT.layout(BytesFile(data))
    assert ([span.spec.name for span in layout.tensors], [view.spec.name for view in layout.views]) == (["a"], ["b"])
    assert values(FORMAT, data)["b"] == ("q4_0", (64,), data[-36:])


HUGE = struct.pack("<Q", (1 << 63) - 1)
ONE = [info(b"a", (1,), F32, 0)]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("header-malformed", b"GGUX" + bytes(20)),
        ("file-truncated", b"GGUF\3\0\0\0" + bytes(8)),
        ("file-truncated", file_of(counts=(1, 0))),
        ("file-truncated", file_of(counts=(1_000_000, 0))),
        ("file-truncated", file_of(VALUES, counts=(0, 50_000))),
        ("too-many-tensors", file_of(counts=((1 << 64) - 1, 0))),
        ("too-many-tensors", file_of(counts=(0, 1 << 63))),
        ("file-truncated", file_of([pair(b"k", TEXT, HUGE)])),
        ("file-truncated", file_of([pair(b"k", ARRAY, struct.pack("<I", TEXT) + HUGE)])),
        ("file-truncated", file_of([pair(b"k", ARRAY, struct.pack("<I", 12) + HUGE)])),
        ("file-truncated", file_of([pair(b"k", ARRAY, struct.pack("<IQ", TEXT, 2) + text(b"") + HUGE)])),
        ("header-malformed", file_of([HUGE + bytes(40)])),
        ("header-malformed", file_of([pair(b"k", 13, bytes(8))])),
        ("header-malformed", file_of([pair(b"k", ARRAY, struct.pack("<IQ", 99, 0))])),
        ("header-too-deep", file_of([pair(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 9 + bytes(12))])),
        ("header-too-deep", file_of([pair(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 50_000)])),
        ("name-duplicate", file_of([pair(b"k", 0, b"\1"), pair(b"k", 0, b"\1")])),
        *(
            ("header-malformed", file_of([pair(b"general.alignment", kind, value)], ONE, bytes(400)))
            for kind, value in ((U32, bytes(4)), (U32, b"\3\0\0\0"), (5, b"\x20\0\0\0"), (TEXT, text(b"32")))
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_header_that_cannot_be_is_refused(kind, data):
    assert refusal(data) == kind
    with contextlib.suppress(FormatError):
        FORMAT.metadata(BytesFile(data))


@pytest.mark.parametrize(
    ("kind", "infos"),
    [
        ("name-duplicate", ONE * 2),
        ("dtype-unknown", [info(b"a", (32,), 4, 0)]),
        ("dtype-unknown", [info(b"a", (32,), 42, 0)]),
        ("header-malformed", [info(b"a", (33,), Q4_0, 0)]),
        ("header-malformed", [info(b"a", (), Q4_0, 0)]),
        ("header-malformed", [info(b"\xff", (1,), F32, 0)]),
        ("header-malformed", [info(b"a\nb", (1,), F32, 0)]),
        ("header-malformed", [info(b"x" * 9000, (1,), F32, 0)]),
        ("header-malformed", [info(b"a", (1,) * 65, F32, 0)]),
        ("header-malformed", [info(b"a", (1 << 32, 1 << 32), F32, 0)]),
        ("header-malformed", [info(b"a", (1 << 63,) * 60, F32, 0)]),
        ("header-malformed", [info(b"a", (0, (1 << 64) - 1), F32, 0)]),
        ("span-out-of-file", [info(b"a", (1 << 40,), F32, 0)]),
        ("span-out-of-file", [info(b"a", (1,), F32, (1 << 64) - 32)]),
        ("span-out-of-file", [info(b"a", (2,), F32, 4092)]),
        ("span-overlap", [info(b"%d" % n, (1000,), F32, 0) for n in range(20_000)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_list_of_tensors_that_cannot_be_is_refused(kind, infos):
    assert refusal(file_of((), infos, bytes(4096))) == kind


class Sparse:
    """A header, and zeros behind it up to any length; counts what is read."""

    def __init__(self, head: bytes, nbytes: int) -> None:
        self._head, self.nbytes, self.read = head, nbytes, 0

    def read_at(self, offset, nbytes):
        assert 0 <= offset <= offset + nbytes <= self.nbytes
        self.read += nbytes
        return self._head[offset : offset + nbytes].ljust(nbytes, b"\0")


def test_a_header_longer_than_any_is_refused_without_reading_it():
    head = file_of([pair(b"k", ARRAY, struct.pack("<IQ", 0, MAX_GGUF_HEADER_NBYTES))])
    file = Sparse(head, 1 << 40)
    with pytest.raises(FormatError) as raised:
        FORMAT.layout(file)
    assert raised.value.kind == "header-too-large"
    assert file.read < 1000


def test_a_vocabulary_and_a_large_file_are_opened_at_once():
    tokens = b"".join(text(b"token%d" % number) for number in range(100_000))
    vocabulary = [pair(b"tokens", ARRAY, struct.pack("<IQ", TEXT, 100_000) + tokens)]
    head = file_of(vocabulary, [info(b"a", (1 << 28,), F32, 0)])
    file = Sparse(head, len(head) + (1 << 30))
    started = time.process_time()
    (span,) = FORMAT.layout(file).tensors
    assert time.process_time() - started < 1
    assert span == TensorSpan(span.spec, len(head))
    assert file.read < 1.1 * len(head)


def many(count: int, name: bytes) -> bytes:
    return file_of((), [info(name % number, (32,), F32, 128 * number) for number in range(count)], bytes(128 * count))


def test_fifty_thousand_tensors_are_read_in_a_moment():
    file = BytesFile(many(50_000, b"blk.%d.attn_q.weight"))
    started = time.process_time()
    assert len(FORMAT.layout(file).tensors) == 50_000
    assert time.process_time() - started < 2


@pytest.mark.parametrize(("count", "name"), [(60_000, b"blk.%d.attn_q.weight"), (160_000, b"%d")])
def test_what_a_header_lists_takes_bounded_memory_or_is_refused(count, name):
    data = many(count, name)
    header_nbytes = len(data) - 128 * count
    tracemalloc.start()
    try:
        layout = FORMAT.layout(BytesFile(data))
        check_spans(layout)
    except FormatError as error:
        assert (error.kind, count) == ("too-many-tensors", 160_000)
    finally:
        peak_nbytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_nbytes <= BASE_MEMORY_NBYTES + 2 * header_nbytes


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8))
def test_arrays_are_read_as_they_were_made(shapes):
    infos, data, expected = [], b"", {}
    for number, shape in enumerate(shapes):
        array = np.arange(shape[0] * shape[1], dtype="<f4").reshape(shape) + number
        infos.append(info(b"%d" % number, shape, F32, len(data)))
        data += array.tobytes() + bytes(-array.nbytes % 32)
        expected[str(number)] = ("f32", shape, array.tobytes())
    assert values(FORMAT, file_of(VALUES, infos, data)) == expected
