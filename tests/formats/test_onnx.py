"""ONNX: the suite, every way in which a tensor stands in a model, and models that lie."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest

from lamella.core import limits
from lamella.core.dtypes import DTYPES
from lamella.core.errors import FormatError
from lamella.formats import names
from lamella.formats.file import BytesFile
from lamella.formats.onnx import metadata as onnx_metadata
from lamella.formats.onnx.reader import OnnxFormat
from lamella.formats.sniff import read_layout
from lamella.testing.formats import FormatSuite
from tests.formats.wire import CODES, attribute, entry, graph, message, model, node, outside, tensor, value, varint

FORMAT = OnnxFormat()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "onnx"
EXPECTED = json.loads(GOLDEN.with_suffix(".json").read_text())

F32 = struct.pack("<4f", 1.0, 2.0, -3.0, 0.5)


def contents(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Dtype, shape and bytes of every tensor, by name."""
    return {
        span.spec.name: (span.spec.dtype.name, span.spec.shape, data[span.offset :][: span.spec.nbytes])
        for span in FORMAT.layout(BytesFile(data)).tensors
    }


def refusal(data: bytes) -> str:
    """The kind with which a model is refused."""
    with pytest.raises(FormatError) as raised:
        FORMAT.layout(BytesFile(data))
    return raised.value.kind


def nested(depth: int) -> bytes:
    """A graph in so many graphs, the innermost with a tensor."""
    inner = graph(tensor("w", "f32", (4,), F32))
    for _ in range(depth):
        inner = graph(nodes=(node("If", "y", "", attribute("then_branch", 6, inner)),))
    return inner


SAMPLE = model(
    graph(
        tensor("weight", "f32", (2, 2), F32),
        tensor("typed", "f32", (4,), None, (4, F32)),
        tensor("varints", "i64", (2,), None, (7, b"\x01\x02")),
        tensor("empty", "f16", (0, 3)),
        tensor("scalar", "bf16", (), b"\x80\x3f"),
        outside("elsewhere", "f32", (4,), {"location": "model.data", "offset": "0", "length": "16"}),
        nodes=(
            node("Constant", "three", "", attribute("value", 5, tensor("", "f32", (), F32[:4]))),
            node("Constant", "number", "", attribute("value_float", 2, 1.0)),
            node("If", "y", "choice", attribute("then_branch", 6, nested(1)), attribute("else_branch", 6, nested(0))),
            node("Custom", "z", "", attribute("tables", 10, *(tensor("t", "u8", (2,), b"ab") for _ in range(2)))),
        ),
        extra=(
            (11, value("x", 1, "batch", 3, 224)),
            (12, value("y", 16)),
            (15, message((1, tensor("s", "f32", (1,), F32[:4])), (2, tensor("", "i64", (1,), bytes(8))), (3, 9))),
        ),
    ),
    (14, entry("author", "nobody")),
    (20, message((1, graph(tensor("seed", "i32", (), bytes(4)))))),
    (25, message((1, "Double"), (7, node("Constant", "two", "", attribute("value", 5, tensor("", "u8", (), b"2")))))),
)


class TestOnnx(FormatSuite):
    format = FORMAT

    def files(self):
        return [SAMPLE, model(graph()), *((GOLDEN / name).read_bytes() for name in EXPECTED if name.endswith(".onnx"))]


def test_tensors_stand_anywhere():
    assert contents(SAMPLE) == {
        "weight": ("f32", (2, 2), F32),
        "typed": ("f32", (4,), F32),
        "empty": ("f16", (0, 3), b""),
        "scalar": ("bf16", (), b"\x80\x3f"),
        "three": ("f32", (), F32[:4]),
        "choice.then_branch.y.then_branch.w": ("f32", (4,), F32),
        "choice.else_branch.w": ("f32", (4,), F32),
        "z.tables.0": ("u8", (2,), b"ab"),
        "z.tables.1": ("u8", (2,), b"ab"),
        "s.values": ("f32", (1,), F32[:4]),
        "s.indices": ("i64", (1,), bytes(8)),
        "training0.initialization.seed": ("i32", (), bytes(4)),
        "Double.two": ("u8", (), b"2"),
    }


def test_metadata():
    assert FORMAT.metadata(BytesFile(SAMPLE)) == {
        "ir_version": "8",
        "producer_name": "by hand",
        "graph": "main",
        "input.x": "f32[batch,3,224]",
        "output.y": "bf16[]",
        "opset.ai.onnx": "17",
        "metadata.author": "nobody",
        "external.model.data": "1",
        "nodes.Constant": "3",
        "nodes.Custom": "1",
        "nodes.If": "2",
    }


@pytest.mark.parametrize("dtype", CODES)
def test_every_dtype_is_read(dtype):
    data = bytes(range(DTYPES[dtype].nbytes((3, 5))))
    assert contents(model(graph(tensor("x", dtype, (3, 5), data)))) == {"x": (dtype, (3, 5), data)}


@pytest.mark.parametrize(("dtype", "number", "item"), [("f32", 4, 4), ("c64", 4, 8), ("f64", 10, 8), ("c128", 10, 16)])
def test_typed_runs_are_tensors(dtype, number, item):
    data = bytes(range(3 * item))
    assert contents(model(graph(tensor("x", dtype, (3,), None, (number, data))))) == {"x": (dtype, (3,), data)}


@pytest.mark.parametrize(
    ("dtype", "fields"),
    [
        ("i32", [(5, b"\x01\x02\x03\x04")]),
        ("u64", [(11, b"\x01\x02\x03\x04")]),
        ("f32", [(4, F32[:8]), (4, F32[8:])]),
        ("f32", [(4, 1.0), (4, 1.0), (4, 1.0), (4, 1.0)]),
        ("f32", [(4, F32), (9, F32)]),
        ("f64", [(4, F32)]),
        ("f32", [(3, b""), (9, F32)]),
        ("f32", []),
        (8, [(6, b"text"), (6, b"more")]),
        (0, [(9, F32)]),
    ],
)
def test_what_is_not_one_run_stays_in_the_skeleton(dtype, fields):
    assert contents(model(graph(tensor("x", dtype, (4,), None, *fields)))) == {}


def test_packed_and_later_fields_count():
    data = message((2, 1), (1, b"\x02\x02"), (8, "early"), (2, CODES["u8"]), (9, b"abcd"), (8, "x"))
    assert contents(model(graph(data))) == {"x": ("u8", (2, 2), b"abcd")}


def test_names_that_come_twice_are_told_apart():
    found = contents(model(graph(*(tensor(name, "u8", (1,), b"x") for name in ("a", "a#2", "a", "a", "")))))
    assert list(found) == ["a", "a#2", "a#3", "a#4", ""]


def test_tensors_that_lie_elsewhere_are_not_the_models():
    assert "elsewhere" not in contents(SAMPLE)


@pytest.mark.parametrize(
    ("kind", "one"),
    [
        ("header-malformed", tensor("x", "f32", (4,), F32[:-1])),
        ("header-malformed", tensor("x", "f32", (4,), F32 + b"1")),
        ("header-malformed", tensor("x", "f32", (4,), None, (4, F32[:8]))),
        ("header-malformed", tensor("x", "f32", (-1,), F32)),
        ("header-malformed", tensor("x", "f32", (2**63 - 1,), F32)),
        ("header-malformed", tensor("x", "u8", (2**32, 2**32), F32)),
        ("header-malformed", tensor("x", "u8", (2**40, 2**40, 0))),
        ("header-malformed", tensor("x", "u8", (1,) * 65, b"1")),
        ("header-malformed", message((1, b"\x01" * 65), (2, 2), (9, b"1"))),
        ("header-malformed", message((1, b"\x81"), (2, 2), (9, b"1"))),
        ("header-malformed", tensor("two\nlines", "f32", (4,), F32)),
        ("header-malformed", tensor("\x1b[31m", "f32", (4,), F32)),
        ("header-malformed", tensor("x" * 9000, "f32", (4,), F32)),
        ("header-malformed", message((2, 1), (1, 4), (8, b"\xff"), (9, F32))),
        ("header-malformed", message((2, 1), (1, 4), (8, 5), (9, F32))),
        ("dtype-unknown", tensor("x", 29, (4,), F32)),
        ("dtype-unknown", tensor("x", 2**40, (4,), F32)),
    ],
)
def test_tensors_that_cannot_be_are_refused(kind, one):
    assert refusal(model(graph(one))) == kind


def test_graphs_nest_so_deep_and_no_deeper():
    assert len(contents(model(nested(limits.MAX_GRAPH_DEPTH)))) == 1
    for depth in (limits.MAX_GRAPH_DEPTH + 1, 200):
        assert refusal(model(nested(depth))) == "header-too-deep"
        with pytest.raises(FormatError):
            FORMAT.metadata(BytesFile(model(nested(depth))))


def test_types_may_nest_without_end():
    kind = message((1, message((1, 1))))
    for _ in range(2000):
        kind = message((4, message((1, kind))))
    data = model(graph(extra=((11, message((1, "x"), (2, kind))),)))
    assert FORMAT.metadata(BytesFile(data))["input.x"] == "sequence(" * 9 + "..." + ")" * 9


def test_types_are_written_as_people_do():
    def shown(kind: bytes) -> str:
        return FORMAT.metadata(BytesFile(model(graph(extra=((12, message((1, "x"), (2, kind))),)))))["output.x"]

    element = message((1, message((1, 7), (2, message((1, message((1, 2))), (1, b""))))))
    assert shown(element) == "i64[2,?]"
    assert shown(message((4, message((1, element))))) == "sequence(i64[2,?])"
    assert shown(message((9, message((1, element))))) == "optional(i64[2,?])"
    assert shown(message((5, message((1, 8), (2, element))))) == "map(string,i64[2,?])"
    assert shown(message((8, message((1, 1))))) == "sparse(f32)"
    assert shown(b"") == "?"
    assert shown(message((1, message((1, 1), (2, message(*((1, b"") for _ in range(99)))))))).endswith("?,...]")


def test_metadata_is_bounded(monkeypatch):
    monkeypatch.setattr(onnx_metadata, "MAX_METADATA_KEYS", 20)
    props = [(14, entry(f"key {number}", "x" * 10_000)) for number in range(100)]
    nodes = tuple(node(f"Op{number}", "x") for number in range(100))
    found = FORMAT.metadata(BytesFile(model(graph(nodes=nodes), *props)))
    assert len(found) == 20
    assert max(map(len, found.values())) <= limits.MAX_METADATA_NBYTES


def test_more_tensors_than_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMED_NBYTES", 5_000)
    assert refusal(model(graph(*(tensor(str(n), "u8", (0,)) for n in range(20))))) == "too-many-tensors"
    long = tensor("é" * 1000, "u8", (0,))
    assert refusal(model(graph(long, long, long))) == "too-many-tensors"


OTHERS = [
    b"",
    b"\x08",
    b"\x08\x08",
    b"\x08\x02" + SAMPLE[2:],
    b"\x08\x15" + SAMPLE[2:],
    SAMPLE[2:],
    message((1, 8), (2, "name"), (3, "1.0")),
    message((1, 4), (2, message((1, message((1, "image"))))), (500, b"net")),
    message((1, 8), (2, "name"), (7, 3)),
    message((1, 8), (2, "name"), (7, message((3, "no field of a graph")))),
    message((1, 8), (2, "name"), (9, "no field of a model"), (7, b"")),
    message((1, 8), (7, message((1, 5)))),
    message((1, 1), (2, message((1, b"meta")))),
    message((1, 8), (2, "x" * 5000), (7, b"")),
    b"\x08\x07" + bytes(100),
    b"\x08\x07\x12\x7f" + b"a" * 10,
    b"\x80\x02}q\x00.",
    b"PK\x03\x04" + bytes(60),
]


@pytest.mark.parametrize("data", OTHERS)
def test_what_is_no_model_is_not_claimed(data):
    assert not FORMAT.sniff(data[:4096], len(data))
    assert read_layout(BytesFile(data))[0].format != "onnx"


def test_a_model_is_claimed_by_its_head():
    long = model(graph(tensor("x", "u8", (10_000,), bytes(10_000))))
    assert FORMAT.sniff(long[:4096], len(long))
    assert not FORMAT.sniff(long[:4096], 5000)
    assert read_layout(BytesFile(long))[1] is None


def test_many_tensors_are_read_fast():
    data = model(graph(*(tensor(f"layer.{n}.weight", "f32", (2, 2), F32) for n in range(50_000))))
    start = time.process_time()
    assert len(FORMAT.layout(BytesFile(data)).tensors) == 50_000
    assert time.process_time() - start < 5


class Hole:
    """A file that is zeros behind its front; `read_nbytes` is how much of it was read."""

    def __init__(self, front: bytes, nbytes: int) -> None:
        self._front = front
        self.nbytes = nbytes
        self.read_nbytes = 0

    def read_at(self, offset, nbytes):
        self.read_nbytes += nbytes
        return self._front[offset : offset + nbytes].ljust(nbytes, b"\0")


def test_a_large_tensor_is_not_read():
    front, nbytes = b"", 1 << 30
    for number, before in ((9, message((1, nbytes), (2, 2), (8, "big"))), (5, b""), (7, message((1, 8), (2, "hole")))):
        front = before + varint(number << 3 | 2) + varint(nbytes + len(front)) + front
    file = Hole(front, len(front) + nbytes)
    assert [span.spec.shape for span in FORMAT.layout(file).tensors] == [(nbytes,)]
    assert file.read_nbytes < 1000
