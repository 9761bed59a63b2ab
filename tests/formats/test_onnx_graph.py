"""The graphs of ONNX models: what a real exporter writes, everything a node can hold, and graphs that lie."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from lamella.core import limits
from lamella.core.errors import FormatError
from lamella.core.graphs import OPERATORS, Graph, Node, Port
from lamella.formats.file import BytesFile
from lamella.formats.hollow import graph_of
from lamella.formats.onnx import operations
from lamella.formats.onnx.reader import OnnxFormat
from lamella.testing.formats import check_graph, hollow_file
from tests.formats.wire import attribute, entry, field, graph, message, model, node, tensor, value

GOLDEN = Path(__file__).parents[1] / "golden" / "graphs" / "onnx"
F32 = struct.pack("<2f", 1.0, 2.0)


def read(data: bytes) -> Graph:
    """The graph of a model, which is sound and the same where nothing of the tensors is at hand."""
    found = graph_of("onnx", BytesFile(data))
    check_graph(found)
    assert found == graph_of("onnx", hollow_file(data, OnnxFormat().layout(BytesFile(data))))
    return found


def golden(name: str) -> Graph:
    return read((GOLDEN / name).read_bytes())


def nodes(*made: bytes, tensors: tuple[bytes, ...] = (), extra: tuple[tuple[int, bytes], ...] = ()) -> dict[str, Node]:
    """The nodes of a graph with one input, by name."""
    return {
        one.name: one for one in read(model(graph(*tensors, nodes=made, extra=((11, value("x", 1)), *extra)))).nodes
    }


def test_a_transformer_as_pytorch_exports_it():
    found = golden("gelu.onnx")
    assert (found.level, found.source, found.attributes) == (OPERATORS, "onnx", (("opset.ai.onnx", "20"),))
    assert found.inputs == (Port("hidden", "f32", ("batch", 3, 4)),)
    assert found.outputs == (Port("out", "f32", ("batch", 3, 4), "/blocks.11/Add_1"),)
    assert len(found.nodes) == 12 * 13
    assert found.nodes[9:12] == (
        Node(
            "/blocks.0/up/MatMul",
            "MatMul",
            "blocks.0.up",
            (),
            ("/blocks.0/Add", ""),
            (("input 1", "onnx::MatMul_305"),),
        ),
        Node(
            "/blocks.0/activation/Gelu",
            "Gelu",
            "blocks.0.activation",
            (("approximate", "none"),),
            ("/blocks.0/up/MatMul",),
        ),
        Node(
            "/blocks.0/down/MatMul",
            "MatMul",
            "blocks.0.down",
            (),
            ("/blocks.0/activation/Gelu", ""),
            (("input 1", "onnx::MatMul_306"),),
        ),
    )


def test_parameters_are_the_tensors_that_the_layout_lists():
    data = (GOLDEN / "gelu.onnx").read_bytes()
    tensors = {span.spec.name for span in OnnxFormat().layout(BytesFile(data)).tensors}
    assert {name for one in golden("gelu.onnx").nodes for _, name in one.parameters} == tensors


def test_only_the_activations_differ():
    pairs = zip(golden("gelu.onnx").nodes, golden("tanh.onnx").nodes, strict=True)
    assert [(one.op, other.op) for one, other in pairs if one.op != other.op] == 12 * [("Gelu", "Tanh")]


def test_other_names_leave_the_rest_as_it_is():
    before, after = golden("gelu.onnx"), golden("renamed.onnx")
    names = {one.name: other.name for one, other in zip(before.nodes, after.nodes, strict=True)}
    for one, other in zip(before.nodes, after.nodes, strict=True):
        assert (one.op, one.attributes) == (other.op, other.attributes)
        assert tuple(names.get(name, name) for name in one.inputs) == other.inputs
    assert before.inputs == after.inputs


def test_what_attributes_hold():
    found = nodes(
        node(
            "Op",
            "y",
            "",
            attribute("float", 2, 0.1),
            attribute("floats", 7, struct.pack("<3f", 1.0, 1e-5, 3.4028235e38)),
            attribute("integer", 3, -1),
            attribute("integers", 8, 1, 2, -3),
            attribute("packed", 8, b"\x01\x02"),
            attribute("text", 4, b"none"),
            attribute("texts", 9, b"a", b"b"),
            attribute("bytes", 4, b"\xff\x00"),
            attribute("line", 4, b"two\nlines"),
            attribute("long", 4, b"x" * 2000),
            attribute("longer", 4, b"x" * 2_000_000),
            attribute("many", 8, bytes(9000)),
            attribute("type", 14, message((1, message((1, 1))))),
            message((1, "zero"), (20, 2)),
            message((1, "outer"), (21, "alpha")),
            message((1, "infinite"), (2, float("inf"))),
        )
    )["y"]
    attributes = dict(found.attributes)
    assert attributes.pop("long").startswith("x" * 256 + "... blake3:")
    assert attributes.pop("longer").startswith("2000000 bytes blake3:")
    assert attributes.pop("many").startswith("9000 bytes blake3:")
    assert attributes.pop("bytes").startswith("2 bytes blake3:")
    assert attributes == {
        "float": "0.1",
        "floats": "[1.0, 1e-05, 3.4028235e+38]",
        "infinite": "Infinity",
        "integer": "-1",
        "integers": "[1, 2, -3]",
        "line": '"two\\nlines"',
        "outer": "attribute alpha of the function",
        "packed": "[1, 2]",
        "text": "none",
        "texts": '["a", "b"]',
        "type": "f32",
        "zero": "0",
    }


def test_tensors_are_parameters_and_other_constants_are_text():
    found = nodes(
        node("Constant", "three", "", attribute("value", 5, tensor("", "f32", (2,), F32))),
        node("Constant", "shape", "", attribute("value", 5, tensor("", "i64", (2,), None, (7, b"\x01\x02")))),
        node("Gather", "y", "", inputs=("w", "varints", "words", "s", "three", "x", "nothing")),
        node("Lookup", "z", "", attribute("tables", 10, *2 * [tensor("t", "f32", (2,), F32)])),
        tensors=(
            tensor("w", "f32", (2,), F32),
            tensor("varints", "i64", (3,), None, (7, b"\x01\x02\x03")),
            tensor("words", 8, (2,), None, (6, b"one"), (6, b"two")),
        ),
        extra=((15, message((1, tensor("s", "f32", (2,), F32)), (2, tensor("", "i64", (2,), bytes(16))), (3, 9))),),
    )
    assert found["three"].parameters == (("value", "three"),)
    assert found["shape"].attributes == (("value", "i64[2] [1, 2]"),)
    assert found["y"].inputs == ("", "", "", "", "three", "@x", "")
    assert found["y"].parameters == (("input 0", "w"), ("input 3 values", "s.values"), ("input 3 indices", "s.indices"))
    assert [key for key, _ in found["y"].attributes] == ["input 1", "input 2"]
    assert dict(found["y"].attributes)["input 1"] == "i64[3] [1, 2, 3]"
    assert dict(found["y"].attributes)["input 2"].startswith("string[2] 6 bytes blake3:")
    assert found["z"].parameters == (("tables 0", "z.tables.0"), ("tables 1", "z.tables.1"))


def test_initializers_are_no_inputs():
    found = read(model(graph(tensor("w", "f32", (2,), F32), extra=((11, value("w", 1, 2)), (11, value("x", 1, "n"))))))
    assert found.inputs == (Port("x", "f32", ("n",)),)


def test_types_of_values():
    sequence = message((4, message((1, message((1, message((1, 7))))))))
    found = read(
        model(
            graph(
                nodes=(node("Op", "y", inputs=("x",)),),
                extra=(
                    (11, message((1, "x"), (2, sequence))),
                    (11, value("text", 8, 1)),
                    (11, message((1, "untold"))),
                    (12, value("y", 16, "n", 3)),
                ),
            )
        )
    )
    assert found.inputs == (Port("x", "sequence(i64)"), Port("text", "string", (1,)), Port("untold"))
    assert found.outputs == (Port("y", "bf16", ("n", 3), "y"),)
    assert found.nodes[0].shape == ("n", 3)


def test_graphs_within_nodes_stand_before_them():
    body = graph(
        nodes=(node("Add", "sum", "add", inputs=("carried", "outside")), node("Cast", "go", "", inputs=("condition",))),
        extra=(
            *((11, value(one, 1, 2)) for one in ("number", "condition", "carried")),
            *((12, value(one, 1)) for one in ("go", "sum")),
        ),
    )
    found = read(
        model(
            graph(
                nodes=(
                    node("Neg", "outside", "/a/neg", inputs=("x",)),
                    node("Loop", "y", "/a/loop", attribute("body", 6, body), inputs=("", "x", "x")),
                ),
                extra=((11, value("x", 1)), (12, value("y", 1))),
            )
        )
    )
    assert [(one.name, one.op, one.inputs, one.module) for one in found.nodes] == [
        ("/a/neg", "Neg", ("@x",), "a"),
        ("/a/loop.body.number", "Argument", (), "a"),
        ("/a/loop.body.condition", "Argument", ("@x",), "a"),
        ("/a/loop.body.carried", "Argument", ("@x",), "a"),
        ("/a/loop.body.add", "Add", ("/a/loop.body.carried", "/a/neg"), "a"),
        ("/a/loop.body.go", "Cast", ("/a/loop.body.condition",), "a"),
        ("/a/loop", "Loop", ("", "@x", "@x", "/a/loop.body.go", "/a/loop.body.add"), "a"),
    ]
    assert found.nodes[-1].attributes == (("body", "graph of 3 inputs and 2 outputs"),)
    assert found.nodes[1].shape == (2,)


def test_functions_and_other_domains():
    function = message(
        (1, "Twice"),
        (4, "a"),
        (5, "b"),
        (7, node("Constant", "two", "", attribute("value", 5, tensor("", "f32", (2,), F32)))),
        (7, node("Mul", "b", "", inputs=("a", "two"))),
        (10, "own"),
    )
    call = node("Twice", "y", "call", inputs=("x",)) + field(7, "own") + field(8, "v2")
    found = {one.name: one for one in read(model(graph(nodes=(call,)), (25, function))).nodes}
    assert found["call"].op == "own.Twice:v2"
    assert found["Twice.a"].op == "Argument"
    assert found["Twice.two"].parameters == (("value", "Twice.two"),)
    assert found["Twice.b"].inputs == ("Twice.a", "Twice.two")
    assert (found["Twice"].op, found["Twice"].inputs) == ("Function own.Twice", ("Twice.b",))


def test_modules_as_the_later_exporter_of_pytorch_tells_them():
    told = entry("pkg.torch.onnx.name_scopes", "['', 'encoder', 'encoder.norm', 'layer_norm_1']")
    found = nodes(node("LayerNormalization", "y", "node_3") + field(9, told))
    assert found["node_3"].module == "encoder.norm"


def test_names_that_come_twice_or_read_as_references_are_told_apart():
    made = [node("A", "a:0"), node("B", "@b"), node("C", "p", "same"), node("D", "q", "same"), node("E", "r", "same#2")]
    found = nodes(*made, node("F", "", "\n", inputs=("a:0", "@b", "q")), node("G"))
    assert list(found) == ["a_0", "_b", "same", "same#2", "same#2#2", '"\\n"', "G"]
    assert found['"\\n"'].inputs == ("a_0", "_b", "same#2")


def test_second_outputs():
    split = message((2, ""), (2, "left"), (2, "right"), (4, "Split"))
    found = nodes(split, node("Add", "y", inputs=("right", "left")))
    assert found["y"].inputs == ("left:2", "left:1")


def test_nodes_are_put_in_order_and_cycles_left_in_theirs():
    ordered = nodes(node("B", "b", inputs=("a",)), node("A", "a", inputs=("x",)))
    assert list(ordered) == ["a", "b"]
    cycle = nodes(node("C", "c", inputs=("b",)), node("A", "a", inputs=("b",)), node("B", "b", inputs=("a",)))
    assert list(cycle) == ["a", "b", "c"]
    assert list(nodes(node("A", "a", inputs=("a",)))) == ["a"]


def test_graphs_nest_so_deep_and_no_deeper():
    def nested(depth: int) -> bytes:
        inner = graph(nodes=(node("Leaf", "leaf"),))
        for _ in range(depth):
            inner = graph(nodes=(node("If", "y", "", attribute("then_branch", 6, inner)),))
        return model(inner)

    assert len(read(nested(limits.MAX_GRAPH_DEPTH)).nodes) == limits.MAX_GRAPH_DEPTH + 1
    with pytest.raises(FormatError, match="too deep"):
        graph_of("onnx", BytesFile(nested(limits.MAX_GRAPH_DEPTH + 1)))


def test_more_than_memory_holds_is_refused(monkeypatch):
    data = model(graph(nodes=tuple(node("Op", f"y{n}", inputs=("a", "b")) for n in range(20))))
    monkeypatch.setattr(operations, "MAX_GRAPH_PARTS", 60)
    with pytest.raises(FormatError) as raised:
        graph_of("onnx", BytesFile(data))
    assert raised.value.kind == "header-too-large"


def test_many_nodes_are_read_fast():
    made = (
        node("MatMul", f"/{n}/out", f"/{n}/MatMul", attribute("axis", 3, n % 2), inputs=(f"/{n - 1}/out", f"w{n}"))
        for n in range(50_000)
    )
    data = model(graph(nodes=tuple(made)))
    start = time.process_time()
    assert len(graph_of("onnx", BytesFile(data)).nodes) == 50_000
    assert time.process_time() - start < 5


def test_many_nodes_of_one_name_and_in_the_wrong_order_are_read_fast():
    made = tuple(node("Op", str(n), "same", inputs=(str(n + 1),)) for n in range(50_000))
    start = time.process_time()
    found = graph_of("onnx", BytesFile(model(graph(nodes=made))))
    assert found.nodes[0].name == "same#50000"
    assert time.process_time() - start < 10
