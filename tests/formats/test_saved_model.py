"""TensorFlow's graphs: the suite, constants in nodes and functions, and graphs that lie."""

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
from lamella.formats.sniff import read_layout
from lamella.formats.tensorflow import graph_metadata
from lamella.formats.tensorflow.graphs import FrozenGraphFormat, SavedModelFormat
from lamella.testing.formats import FormatSuite
from tests.formats.wire import message

GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "saved_model"
EXPECTED = json.loads(GOLDEN.with_suffix(".json").read_text())

F32 = struct.pack("<4f", 1.0, 2.0, -3.0, 0.5)
TYPES = {
    "f32": 1, "f64": 2, "i32": 3, "u8": 4, "i16": 5, "i8": 6, "c64": 8, "i64": 9, "bool": 10, "bf16": 14, "u16": 17,
    "c128": 18, "f16": 19, "u32": 22, "u64": 23, "f8_e5m2": 24, "f8_e4m3": 25, "f8_e4m3fnuz": 26, "f8_e5m2fnuz": 28,
}  # fmt: skip


def tensor(code: int, shape: tuple[int, ...], content: bytes, *extra: tuple[int, bytes | int]) -> bytes:
    """A TensorProto with `tensor_content`."""
    return message((1, code), (2, message(*((2, message((1, n))) for n in shape))), (4, content), *extra)


def node(name: str, operator: str = "NoOp", **tensors: bytes) -> bytes:
    """A NodeDef with tensors as attributes."""
    kind = message((1, "dtype"), (2, message((6, 1))))
    attributes = [message((1, key), (2, message((8, value)))) for key, value in tensors.items()]
    return message((1, name), (2, operator), (3, "input"), (5, kind), *((5, one) for one in attributes))


def graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    """A GraphDef."""
    return message(
        *((1, one) for one in nodes), (2, message(*((1, one) for one in functions))), (4, message((1, 2000)))
    )


def saved_model(*graphs: bytes, signatures: tuple[bytes, ...] = ()) -> bytes:
    """A SavedModel, each of its graphs with the same signatures."""
    information = message((4, "serve"), (4, "gpu"), (5, "2.21.0"))
    return message(
        (1, 1), *((2, message((1, information), (2, one), *((5, each) for each in signatures))) for one in graphs)
    )


def contents(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Dtype, shape and bytes of every tensor, by name."""
    layout, error = read_layout(BytesFile(data))
    assert error is None
    assert layout.format != "opaque"
    return {
        span.spec.name: (span.spec.dtype.name, span.spec.shape, data[span.offset :][: span.spec.nbytes])
        for span in layout.tensors
    }


def refusal(data: bytes) -> str:
    """The kind with which a graph is refused."""
    with pytest.raises(FormatError) as raised:
        FrozenGraphFormat().layout(BytesFile(data))
    return raised.value.kind


CONSTANT = tensor(1, (2, 2), F32)
FUNCTION = message((1, message((1, "inner"))), (3, node("w", "Const", value=CONSTANT)))
SAMPLE = graph(
    node("x", "Placeholder"),
    node("layer/w", "Const", value=CONSTANT),
    node("other", "Custom", table=CONSTANT, value=CONSTANT),
    node("words", "Const", value=tensor(7, (4,), F32)),
    node("few", "Const", value=message((1, 1), (2, message((2, message((1, 4))))), (5, F32[:4]))),
    node("nibbles", "Const", value=tensor(29, (4,), b"abcd")),
    node("scalar", "Const", value=tensor(9, (), bytes(8))),
    functions=(FUNCTION,),
)
INFORMATION = message((1, "x:0"), (2, 1), (3, message((2, message((1, -1))), (2, message((1, 28))))))
SIGNATURE = message(
    (1, "serve"),
    (2, message((1, message((1, "x"), (2, INFORMATION))), (2, message((1, "y"), (2, message((2, 7))))))),
)
SAVED = saved_model(SAMPLE, graph(node("w", "Const", value=CONSTANT)), signatures=(SIGNATURE,))


class TestSavedModel(FormatSuite):
    format = SavedModelFormat()

    def files(self):
        return [SAVED, (GOLDEN / "saved_model.pb").read_bytes()]


class TestFrozenGraph(FormatSuite):
    format = FrozenGraphFormat()

    def files(self):
        return [SAMPLE, graph(node("a")), (GOLDEN / "graph.pb").read_bytes()]


def test_constants_stand_in_nodes_and_functions():
    expected = {
        "layer/w": ("f32", (2, 2), F32),
        "other/table": ("f32", (2, 2), F32),
        "other/value": ("f32", (2, 2), F32),
        "scalar": ("i64", (), bytes(8)),
        "inner/w": ("f32", (2, 2), F32),
    }
    assert contents(SAMPLE) == expected
    assert contents(SAVED) == expected | {"graph1/w": ("f32", (2, 2), F32)}


def test_metadata():
    counts = {
        "nodes.Const": "6",
        "nodes.Custom": "1",
        "nodes.Placeholder": "1",
    }
    assert FrozenGraphFormat().metadata(BytesFile(SAMPLE)) == {"version": "2000", **counts}
    assert SavedModelFormat().metadata(BytesFile(SAVED)) == {
        "tags": "serve, gpu",
        "tensorflow_version": "2.21.0",
        "input.serve.x": "f32[?,28]",
        "output.serve.y": "string[]",
        **counts,
        "nodes.Const": "7",
    }


def test_metadata_is_bounded(monkeypatch):
    monkeypatch.setattr(graph_metadata, "MAX_METADATA_KEYS", 20)
    many = graph(*(node(f"n{number}", f"Operator{number}") for number in range(100)))
    assert len(FrozenGraphFormat().metadata(BytesFile(many))) == 20


@pytest.mark.parametrize("dtype", TYPES)
def test_every_dtype_is_read(dtype):
    data = bytes(range(DTYPES[dtype].nbytes((3, 5))))
    assert contents(graph(node("x", "Const", value=tensor(TYPES[dtype], (3, 5), data)))) == {"x": (dtype, (3, 5), data)}


@pytest.mark.parametrize(
    ("kind", "one"),
    [
        ("header-malformed", tensor(1, (3,), F32)),
        ("header-malformed", tensor(1, (-1,), F32)),
        ("header-malformed", tensor(1, (2**40, 2**40), F32)),
        ("header-malformed", tensor(1, (2**63 - 1,), F32)),
        ("header-malformed", tensor(1, (1,) * 65, F32)),
        ("dtype-unknown", tensor(34, (4,), F32)),
        ("dtype-unknown", tensor(101, (4,), F32)),
    ],
)
def test_tensors_that_cannot_be_are_refused(kind, one):
    assert refusal(graph(node("x", "Const", value=one))) == kind


def test_names_that_are_not_text_are_refused():
    for name in ("two\nlines", "x" * 9000):
        assert refusal(graph(node(name, "Const", value=CONSTANT))) == "header-malformed"
    found = contents(graph(*(node("w", "Const", value=CONSTANT) for _ in range(3))))
    assert list(found) == ["w", "w#2", "w#3"]


def test_more_tensors_than_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMED_NBYTES", 5_000)
    many = [node(str(number), "Const", value=CONSTANT) for number in range(20)]
    assert refusal(graph(*many)) == "too-many-tensors"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a",
        b"\x0a\x00",
        b"\x0a\x03abc",
        message((1, message((1, "name")))),
        message((1, message((1, "<unk>"), (2, 0.5)))),
        message((1, message((1, "two words"), (2, "Op")))),
        message((1, message((1, "name"), (2, "Op"), (3, 4))), (9, 1)),
        message((1, message((1, b"\x0a\x01"), (2, "Op")))),
        message((1, message((1, "a.proto"), (2, "a.package"), (3, "b.proto")))),
        message((1, message((1, "name"), (2, "Op"))), (4, 7)),
        b"\x08\x01",
        b"\x08\x01\x12\x00",
        b"\x08\x02" + SAVED[2:],
        message((1, 1), (2, message((9, "no field")))),
        message((1, 1), (2, message((2, 5)))),
    ],
)
def test_what_is_no_graph_is_not_claimed(data):
    assert read_layout(BytesFile(data))[0].format == "opaque"


def test_nodes_of_many_tensors_are_read_in_linear_time():
    seconds = []
    for count in (2_000, 8_000):
        data = graph(node("x", "Custom", **{f"t{number}": CONSTANT for number in range(count)}))
        start = time.process_time()
        assert len(FrozenGraphFormat().layout(BytesFile(data)).tensors) == count
        seconds.append(time.process_time() - start)
    assert seconds[1] < 12 * seconds[0]
