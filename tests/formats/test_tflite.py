"""TensorFlow Lite: the suite, tensors that share buffers, and tables that lie."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.errors import FormatError
from lamella.formats import names
from lamella.formats.file import BytesFile
from lamella.formats.hollow import HollowFile
from lamella.formats.skeleton import Skeleton, build_skeleton
from lamella.formats.strided import read_view
from lamella.formats.tflite import flatbuffer as reading
from lamella.formats.tflite import metadata as tflite_metadata
from lamella.formats.tflite.reader import TfliteFormat
from lamella.testing.formats import FormatSuite
from tests.formats.tables import TYPES, Number, Numbers, flatbuffer, model, tensor

FORMAT = TfliteFormat()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "tflite"
EXPECTED = json.loads(GOLDEN.with_suffix(".json").read_text())

F32 = struct.pack("<4f", 1.0, 2.0, -3.0, 0.5)


def contents(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Dtype, shape and bytes of every tensor, by name."""
    layout = FORMAT.layout(BytesFile(data))
    found = {one.spec: data[one.offset :][: one.spec.nbytes] for one in layout.tensors if not one.part}
    found |= {view.spec: b"".join(read_view(BytesFile(data), view)) for view in layout.views}
    return {spec.name: (spec.dtype.name, spec.shape, held) for spec, held in found.items()}


def refusal(data: bytes) -> str:
    """The kind with which a model is refused."""
    with pytest.raises(FormatError) as raised:
        FORMAT.layout(BytesFile(data))
    return raised.value.kind


SAMPLE_TABLES = model(
    [
        (
            "main",
            [
                tensor("x", "f32", (1, 4), 0, _7=Numbers([-1, 4])),
                tensor("w", "f32", (2, 2), 1),
                tensor("tied", "i32", (4,), 1),
                tensor("", "u8", (), 2),
                tensor("w", "u4", (3,), 3),
                tensor("words", 5, (1,), 1),
                tensor("sparse", "f32", (9,), 1, _6={0: Numbers([0])}),
            ],
        ),
        ("body", [tensor("w", "i8", (1,), 2)]),
        ("", [tensor("w", "i8", None, 2)]),
    ],
    [F32, b"\x07", b"\x21\x03", b"1.2.3\0"],
    _1=[{0: Number("b", 9)}, {0: Number("b", 127), 3: Number("i", 150)}, {0: Number("b", 32), 1: "Mine"}],
    _6=[{0: "min_runtime_version", 1: Number("I", 4)}],
    _7=[{0: [{0: "x"}], 1: [{0: "y"}, {0: "z"}], 2: "serve"}],
)
SAMPLE_TABLES[2][0] |= {
    1: Numbers([0]),
    2: Numbers([3]),
    3: [{}, {0: Number("I", 1)}, {0: Number("I", 2)}, {0: Number("I", 9)}],
}
SAMPLE = flatbuffer(SAMPLE_TABLES)


def beyond(nbytes: int, *tensors: dict, data: bytes = F32) -> bytes:
    """A model whose one buffer lies behind its tables."""

    def tables(offset: int) -> bytes:
        return flatbuffer(model([("main", list(tensors))], [{1: Number("Q", offset), 2: Number("Q", nbytes)}]))

    return tables(len(tables(0))) + data


class TestTflite(FormatSuite):
    format = FORMAT

    def files(self):
        own = [SAMPLE, flatbuffer({}), beyond(16, tensor("w", "f32", (4,), 1))]
        return [*own, *((GOLDEN / name).read_bytes() for name in EXPECTED)]


def test_tensors_have_buffers_and_may_share_them():
    assert contents(SAMPLE) == {
        "w": ("f32", (2, 2), F32),
        "tied": ("i32", (4,), F32),
        "tensor3": ("u8", (), b"\x07"),
        "w#2": ("u4", (3,), b"\x21\x03"),
        "body.w": ("i8", (1,), b"\x07"),
        "subgraph2.w": ("i8", (), b"\x07"),
    }
    assert [view.spec.name for view in FORMAT.layout(BytesFile(SAMPLE)).views] == ["tied", "body.w", "subgraph2.w"]


def test_metadata():
    assert FORMAT.metadata(BytesFile(SAMPLE)) == {
        "version": "3",
        "description": "by hand",
        "signature.serve": "x -> y, z",
        "metadata.min_runtime_version": "6 bytes",
        "input.x": "f32[?,4]",
        "output.tensor3": "u8[]",
        "nodes.FULLY_CONNECTED": "1",
        "nodes.GELU": "1",
        "nodes.CUSTOM.Mine": "1",
        "nodes.?": "1",
    }


@pytest.mark.parametrize("dtype", TYPES)
def test_every_dtype_is_read(dtype):
    data = bytes(range(DTYPES[dtype].nbytes((3, 5))))
    found = contents(flatbuffer(model([("main", [tensor("x", dtype, (3, 5), 1)])], [data])))
    assert found == {"x": (dtype, (3, 5), data)}


def test_packed_tensors_that_share_a_buffer_are_listed_once():
    shared = [tensor("a", "i4", (4,), 1), tensor("b", "i4", (2, 2), 1), tensor("c", "u8", (2,), 1)]
    assert list(contents(flatbuffer(model([("main", shared)], [b"ab"])))) == ["a", "c"]


def test_large_buffers_lie_behind_the_tables():
    assert contents(beyond(16, tensor("w", "f32", (4,), 1))) == {"w": ("f32", (4,), F32)}


@pytest.mark.parametrize(
    ("kind", "one", "buffer"),
    [
        ("header-malformed", tensor("x", "f32", (3,), 1), F32),
        ("header-malformed", tensor("x", "f32", (), 1), F32),
        ("header-malformed", tensor("x", "f32", (-4,), 1), F32),
        ("header-malformed", tensor("x", "f32", (2**31 - 1,) * 3, 1), F32),
        ("header-malformed", tensor("x", "f32", (1,) * 65, 1), F32[:4]),
        ("header-malformed", tensor("x", "f32", (4,), 2), F32),
        ("header-malformed", tensor("x", "f32", (4,), 2**32 - 1), F32),
        ("header-malformed", tensor("a\nb", "f32", (4,), 1), F32),
        ("header-malformed", tensor("x" * 9000, "f32", (4,), 1), F32),
        ("header-malformed", tensor("", "f32", (4,), 1) | {3: b"\xff\xfe"}, F32),
        ("dtype-unknown", tensor("x", 21, (4,), 1), F32),
        ("dtype-unknown", tensor("x", -1, (4,), 1), F32),
        ("span-out-of-file", tensor("x", "f32", (4,), 1), {1: Number("Q", 2**63), 2: Number("Q", 16)}),
        ("span-out-of-file", tensor("x", "f32", (4,), 1), {1: Number("Q", 2**64 - 8), 2: Number("Q", 16)}),
    ],
)
def test_tensors_that_cannot_be_are_refused(kind, one, buffer):
    assert refusal(flatbuffer(model([("main", [one])], [buffer]))) == kind


def test_tensors_within_tables_are_refused_where_the_tables_are_read():
    refused = 0
    for offset in range(2, len(beyond(16, tensor("w", "f32", (4,), 1), data=b"")) - 16, 4):
        buffer = {1: Number("Q", offset), 2: Number("Q", 16)}
        data = flatbuffer(model([("main", [tensor("w", "f32", (4,), 1)])], [buffer]))
        try:
            layout = FORMAT.layout(BytesFile(data))
        except FormatError as error:
            assert error.kind == "span-overlap"
            refused += 1
        else:
            skeleton = Skeleton.parse(build_skeleton(BytesFile(data), layout))
            assert FORMAT.layout(HollowFile(skeleton, [16])) == layout
    assert refused > 20


@pytest.mark.parametrize("value", [0, 1, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8])
def test_any_offset_may_lie(value):
    for at in range(0, len(SAMPLE) - 3, 4):
        data = SAMPLE[:at] + struct.pack("<I", value) + SAMPLE[at + 4 :]
        for read in (FORMAT.layout, FORMAT.metadata):
            try:
                read(BytesFile(data))
            except FormatError as error:
                assert error.hint


def test_more_is_not_read_than_any_model_has(monkeypatch):
    monkeypatch.setattr(reading, "MAX_FLATBUFFER_READS", 1000)
    many = flatbuffer(model([("main", [tensor(str(n), "f32", (4,), 1) for n in range(200)])], [F32]))
    assert refusal(many) == "header-too-large"


def test_more_tensors_than_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMED_NBYTES", 5_000)
    many = flatbuffer(model([("main", [tensor(str(n), "f32", (4,), 1) for n in range(200)])], [F32]))
    assert refusal(many) == "too-many-tensors"


def test_metadata_is_bounded(monkeypatch):
    monkeypatch.setattr(tflite_metadata, "MAX_METADATA_KEYS", 20)
    notes = [{0: f"note {number}", 1: Number("I", 0)} for number in range(100)]
    found = FORMAT.metadata(BytesFile(flatbuffer(model([], [], _6=notes, _3="x" * 10_000))))
    assert len(found) == 20
    assert len(found["description"]) <= 5000


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\x08\0\0\0TFL3", b"\x04\0\0\0TFL3" + bytes(8), b"\x08\0\0\0TFL2" + bytes(8)]
)
def test_what_is_no_model_is_not_claimed(data):
    assert not FORMAT.sniff(data, len(data))


def test_many_tensors_are_read_fast():
    tensors = [tensor(f"layer.{n}.weight", "f32", (2, 2), n + 1) for n in range(10_000)]
    data = flatbuffer(model([("main", tensors)], [F32] * 10_000))
    start = time.process_time()
    assert len(FORMAT.layout(BytesFile(data)).tensors) == 10_000
    assert time.process_time() - start < 2
