"""The graphs of TensorFlow Lite models: what the converter writes, options, subgraphs that call others, and lies."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from lamella.core.errors import FormatError
from lamella.core.graphs import OPERATORS, Graph, Node, Port
from lamella.formats.file import BytesFile
from lamella.formats.hollow import graph_of
from lamella.formats.tflite import graph as tflite_graph
from lamella.formats.tflite.reader import TfliteFormat
from lamella.testing.formats import check_graph, hollow_file
from tests.formats.tables import Number, Numbers, flatbuffer, model, tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "tflite"


def read(data: bytes) -> Graph:
    found = graph_of("tflite", BytesFile(data))
    check_graph(found)
    assert found == graph_of("tflite", hollow_file(data, TfliteFormat().layout(BytesFile(data))))
    return found


def made(*operators: dict, codes: tuple[dict, ...] = ({0: Number("b", 0)},), second: tuple[dict, ...] = ()) -> Graph:
    """The graph of a model with the tensors x, w, y and z, of which w is in the file and x an input."""
    four = [tensor(name, "f32", (extent,), int(name == "w")) for extent, name in enumerate("xwyz")]
    subgraphs = [("main", four), *(("more", [tensor("a", "f32", (1,), 0)]) for _ in second)]
    tables = model(subgraphs, [struct.pack("<f", 1.0)], _1=list(codes))
    tables[2][0] |= {1: Numbers([0]), 2: Numbers([2]), 3: list(operators)}
    for table, operator in zip(tables[2][1:], second, strict=True):
        table |= {1: Numbers([0]), 2: Numbers([0]), 3: [operator]}
    return read(flatbuffer(tables))


def operator(inputs: list[int], outputs: list[int], code: int = 0, **more: object) -> dict:
    fields = {int(key[1:]): value for key, value in more.items()}
    return {0: Number("I", code), 1: Numbers(inputs), 2: Numbers(outputs), **fields}


def test_a_network_as_the_converter_writes_it():
    found = read((GOLDEN / "plain.tflite").read_bytes())
    assert (found.level, found.source, found.attributes) == (OPERATORS, "tflite", (("version", "3"),))
    assert found.inputs == (Port("serving_default_keras_tensor:0", "f32", (1, 8, 8, 1)),)
    assert [node.op for node in found.nodes] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    convolution = found.nodes[0]
    assert convolution.module == "sequential_1.conv_1"
    assert convolution.inputs == ("@serving_default_keras_tensor:0", "", "")
    assert convolution.parameters[0] == ("input 1", "sequential_1/conv_1/convolution")
    assert convolution.shape == (1, 6, 6, 4)
    assert dict(convolution.attributes) == {
        "activation": "RELU",
        "dilation_h": "1",
        "dilation_w": "1",
        "padding": "VALID",
        "stride_h": "1",
        "stride_w": "1",
    }


@pytest.mark.parametrize("name", ["plain", "half", "quantised", "controlled"])
def test_parameters_are_the_tensors_of_the_layout(name):
    data = (GOLDEN / f"{name}.tflite").read_bytes()
    layout = TfliteFormat().layout(BytesFile(data))
    known = {span.spec.name for span in layout.tensors if not span.part} | {view.spec.name for view in layout.views}
    assert {tensor for node in read(data).nodes for _, tensor in node.parameters} == known


def test_a_loop_takes_the_subgraphs_that_it_runs():
    nodes = {node.name: node for node in read((GOLDEN / "controlled.tflite").read_bytes()).nodes}
    assert nodes["Identity"].inputs == ("@x", "while_cond", "while_body")
    assert nodes["while_body"] == Node("while_body", "Subgraph", inputs=("while_body.while/mul",))
    assert nodes["while_body.while_body_arg0"].op == "Argument"


def test_edges_and_parameters():
    found = made(operator([3, -1, 1], [2]), operator([0, 1], [3]))
    assert [(node.name, node.inputs, node.parameters) for node in found.nodes] == [
        ("z", ("@x", ""), (("input 1", "w"),)),
        ("y", ("z", "", ""), (("input 2", "w"),)),
    ]
    assert found.outputs == (Port("y", "f32", (2,), "y"),)


def test_options():
    concatenation = operator([0], [2], _3=Number("B", 10), _4={0: Number("i", -1), 1: Number("b", 4)})
    leaky = operator([2], [3], 1, _3=Number("B", 75), _4={0: Number("f", 0.1)})
    cast = operator([3], [0], 2, _3=Number("B", 37), _4={0: Number("b", 1), 1: Number("b", 99)})
    squeeze = operator([3], [1], 9, _3=Number("B", 30), _4={0: Numbers([1, 2])})
    found = made(concatenation, leaky, cast, squeeze, codes=({0: Number("b", 2)}, {0: Number("b", 98)}, {1: "Mine"}))
    assert [(node.op, dict(node.attributes)) for node in found.nodes] == [
        ("CONCATENATION", {"activation": "TANH", "axis": "-1"}),
        ("LEAKY_RELU", {"alpha": "0.1"}),
        ("ADD", {"from": "f16", "to": "99"}),
        ("?", {"squeeze_dims": "[1, 2]"}),
    ]


def test_subgraphs_that_call_each_other():
    call = operator([0], [0], _3=Number("B", 16), _4={0: Number("i", 1)})
    found = made(operator([0], [2], _3=Number("B", 16), _4={0: Number("i", 1)}), second=(call,))
    nodes = {node.name: node for node in found.nodes}
    assert nodes["y"].inputs == ("@x", "more")
    assert nodes["more"].inputs == ("more.a#2",)
    assert nodes["more.a#2"].inputs == ("more.a#2", "more")


def test_an_operator_that_leaves_the_tensors_is_refused():
    with pytest.raises(FormatError) as raised:
        made(operator([0], [9]))
    assert raised.value.kind == "header-malformed"
    assert made(operator([99], [2])).nodes[0].inputs == ("",)


def test_options_inside_a_tensor_are_refused():
    tables = model([("main", [tensor("w", "u8", (4000,), 1), tensor("y", "f32", (), 0)])], [bytes(4000)])
    tables[2][0] |= {3: [operator([0], [1], _3=Number("B", 9), _4={0: Number("f", 1.0)})]}
    data = bytearray(flatbuffer(tables))
    start = TfliteFormat().layout(BytesFile(bytes(data))).tensors[0].offset
    option = data.index(struct.pack("<f", 1.0))
    pointers = [
        at for at in range(0, len(data) - 4, 4) if at + int.from_bytes(data[at : at + 4], "little") == option - 4
    ]
    for at in pointers:
        data[at : at + 4] = (start + 1000 - at).to_bytes(4, "little", signed=True)
    data[start + 1000 : start + 1004] = (4).to_bytes(4, "little")
    data[start + 996 : start + 1000] = struct.pack("<HH", 4, 4)
    with pytest.raises(FormatError):
        graph_of("tflite", BytesFile(bytes(data)))


def test_more_than_memory_holds_is_refused(monkeypatch):
    monkeypatch.setattr(tflite_graph, "MAX_GRAPH_PARTS", 20)
    with pytest.raises(FormatError):
        made(*(operator([0], [2]) for _ in range(10)))


def test_many_operators_are_read_fast():
    start = time.process_time()
    assert len(made(*(operator([0, 1], [2]) for _ in range(20_000))).nodes) == 20_000
    assert time.process_time() - start < 10
