"""The graphs of SavedModels and frozen graphs: what TensorFlow writes, calls and loops by hand, and graphs that lie."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lamella.core.errors import FormatError
from lamella.core.graphs import OPERATORS, Graph, Node, Port
from lamella.formats.file import BytesFile
from lamella.formats.hollow import graph_of
from lamella.formats.sniff import read_layout
from lamella.formats.tensorflow import graph_nodes
from lamella.testing.formats import check_graph, hollow_file
from tests.formats.test_saved_model import CONSTANT
from tests.formats.wire import message

GOLDEN = Path(__file__).parents[1] / "golden" / "formats" / "saved_model"
SHAPE = message((2, message((1, -1))), (2, message((1, 4))))


def read(data: bytes) -> Graph | None:
    layout = read_layout(BytesFile(data))[0]
    found = graph_of(layout.format, BytesFile(data))
    assert found == graph_of(layout.format, hollow_file(data, layout))
    if found is not None:
        check_graph(found)
    return found


def value(number: int, held: bytes | int | float | str) -> bytes:
    return message((number, held))


def node(name: str, op: str, *inputs: str, **attributes: bytes) -> bytes:
    pairs = (message((1, key), (2, one)) for key, one in attributes.items())
    return message((1, name), (2, op), *((3, one) for one in inputs), *((5, one) for one in pairs))


def calling(name: str) -> bytes:
    return value(10, message((1, name)))


def function(name: str, arguments: str, returned: dict[str, str], *nodes: bytes) -> bytes:
    given = ((2, message((1, one), (3, 1))) for one in arguments.split())
    made = ((3, message((1, one), (3, 1))) for one in returned)
    returns = ((4, message((1, key), (2, one))) for key, one in returned.items())
    return message((1, message((1, name), *given, *made)), *((3, one) for one in nodes), *returns)


def graph(nodes: list[bytes], *functions: bytes) -> bytes:
    return message(*((1, one) for one in nodes), (2, message(*((1, one) for one in functions))))


def end(key: str, name: str) -> bytes:
    return message((1, key), (2, message((1, name), (2, 1), (3, SHAPE))))


def saved(whole: bytes, outputs: dict[str, str], key: str = "serving_default", *extra: tuple[int, bytes]) -> bytes:
    ends = message((1, end("x", "serving_x:0")), *((2, end(*pair)) for pair in outputs.items()))
    meta = message((1, message((4, "serve"))), (2, whole), (5, message((1, key), (2, ends))), *extra)
    return message((1, 1), (2, meta))


def told(found: Graph) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.name, one.op, one.inputs) for one in found.nodes]


def test_a_model_as_tensorflow_saves_it():
    found = read((GOLDEN / "saved_model.pb").read_bytes())
    assert (found.level, found.source, found.attributes) == (
        OPERATORS,
        "tensorflow",
        (("signature", "serving_default"),),
    )
    assert found.inputs == (Port("x", "f32", (None, 4)),)
    assert found.outputs == (Port("answer", "f32", (None, 3), "Identity"), Port("table", "i64", (2, 5), "Identity_1"))
    nodes = {node.name: node for node in found.nodes}
    assert nodes["Variable"].parameters == (("variable", "weight"),)
    assert nodes["scale"].parameters == (("value", "__inference_call_29/scale"),)
    assert nodes["MatMul_1"].inputs == ("MatMul", "MatMul_1/ReadVariableOp")
    assert nodes["MatMul_1"].shape == (None, 3)
    assert dict(nodes["one"].attributes)["value"].startswith("f32[] 4 bytes blake3:")
    assert "SaveV2" not in {node.op for node in found.nodes}


def test_a_frozen_graph_as_tensorflow_writes_it():
    found = read((GOLDEN / "graph.pb").read_bytes())
    assert [port.name for port in found.inputs] == ["x", "MatMul_1/ReadVariableOp/resource"]
    assert [port.value for port in found.outputs] == ["Identity", "Identity_1"]
    layout = read_layout(BytesFile((GOLDEN / "graph.pb").read_bytes()))[0]
    assert {name for node in found.nodes for _, name in node.parameters} == {one.spec.name for one in layout.tensors}


def test_calls_are_put_in_their_place():
    inner = function("__inference_f_7", "a b", {"sum": "add:z:0", "same": "b"}, node("add", "Add", "a", "b"))
    call = node("call", "PartitionedCall", "c", "c", f=calling("__inference_f_7"))
    outer = function("__inference_g_8", "c", {"r": "call:output:0"}, call)
    nodes = [
        node("serving_x", "Placeholder"),
        node("a", "StatefulPartitionedCall", "serving_x", f=calling("__inference_g_8")),
        node("b", "PartitionedCall", "a", "serving_x:0", "^a", f=calling("__inference_f_7")),
        node("aside", "SaveV2", "serving_x"),
    ]
    found = read(saved(graph(nodes, inner, outer), {"y": "b:0", "z": "b:1"}))
    assert told(found) == [("add", "Add", ("@x", "@x")), ("add#2", "Add", ("add", "@x"))]
    assert [(port.name, port.value) for port in found.outputs] == [("y", "add#2"), ("z", "@x")]


def test_functions_that_are_only_named_stand_for_themselves():
    body = function("__inference_while_body_12", "i", {"i": "next:y:0"}, node("next", "Neg", "i"))
    loop = node("loop", "StatelessWhile", "serving_x", body=calling("__inference_while_body_12"), cond=calling("gone"))
    found = read(saved(graph([loop], body), {"y": "loop"}))
    assert told(found) == [
        ("while_body.i", "Argument", ()),
        ("while_body.next", "Neg", ("while_body.i",)),
        ("while_body", "Function", ("while_body.next",)),
        ("loop", "StatelessWhile", ("@x", "while_body")),
    ]
    assert found.nodes[-1].attributes == (("body", "while_body"), ("cond", "gone"))


def test_what_attributes_hold():
    listed = message((7, SHAPE), (6, 1))
    op = node(
        "op",
        "Op",
        "serving_x",
        text=value(2, "SAME"),
        bytes=value(2, b"\xff"),
        long=value(2, "x" * 5000),
        number=value(3, -1),
        float=value(4, 0.1),
        truth=value(5, 1),
        kind=value(6, 14),
        shape=value(7, SHAPE),
        rankless=value(7, message((3, 1))),
        few=value(8, message((1, 1), (2, SHAPE), (5, b"abcd"))),
        table=value(8, CONSTANT),
        strides=value(1, message((3, b"\x01\x02"))),
        floats=value(1, message((4, 0.1), (4, 2.0))),
        types=value(1, message((6, 1), (6, 7))),
        _output_shapes=value(1, listed),
        _class=value(2, "loc"),
    )
    (found,) = read(saved(graph([op]), {"y": "op"})).nodes
    attributes = dict(found.attributes)
    assert attributes.pop("long").startswith("5000 bytes blake3:")
    assert attributes.pop("bytes").startswith("1 bytes blake3:")
    assert attributes.pop("few").startswith("f32[None, 4] 4 bytes blake3:")
    assert attributes == {
        "text": "SAME",
        "number": "-1",
        "float": "0.1",
        "truth": "true",
        "kind": "bf16",
        "shape": "[null, 4]",
        "rankless": "?",
        "strides": "[1, 2]",
        "floats": "[0.1, 2.0]",
        "types": "[f32, string]",
    }
    assert found.parameters == (("table", "op/table"),)
    assert found.shape == (None, 4)


def test_outputs_with_names_are_numbered_as_they_come():
    ops = [node("top", "TopKV2", "a"), node("sum", "Add", "top:indices:0", "top:values:0"), node("split", "Split", "a")]
    body = function("f", "a", {"r": "sum:z:0", "s": "split:output:2"}, *ops)
    found = read(
        saved(graph([node("call", "PartitionedCall", "serving_x", f=calling("f"))], body), {"y": "call:1", "r": "call"})
    )
    assert {one.name: one.inputs for one in found.nodes}["sum"] == ("top", "top:1")
    assert {port.name: port.value for port in found.outputs} == {"r": "sum", "y": "split:2"}


def test_variables_are_called_by_the_shortest_path_to_them():
    def children(*pairs: tuple[int, str]) -> bytes:
        return message(*((1, message((1, number), (2, name))) for number, name in pairs))

    variable = message((7, message((1, 1), (6, "all have one name"))))
    objects = [children((1, "layer"), (3, "all"), (99, "gone")), children((2, "ker.nel/0")), variable]
    objects += [children((2, "x"), (4, "b"), (0, "round")), variable, variable]
    bound = message((1, "__inference_f_1"), (2, message((2, b"\x02\x05\x04\x00"))))
    handles = [node(name, "VarHandleOp", shared_name=value(2, "w")) for name in ("one", "lost", "two", "no_variable")]
    body = function("__inference_f_1", "a b c d e", {"r": "all:output:0"}, node("all", "Pack", "a", "b", "c", "d", "e"))
    taken = ("serving_x", "one", "lost", "two", "no_variable")
    call = node("call", "StatefulPartitionedCall", *taken, f=calling("__inference_f_1"))
    extra = (7, message(*((1, one) for one in objects), (2, bound)))
    found = read(saved(graph([*handles, call], body), {"y": "call"}, "serving_default", extra))
    assert {one.name: one.parameters for one in found.nodes} == {
        "one": (("variable", "layer/ker..nel.S0"),),
        "lost": (),
        "two": (("variable", "all/b"),),
        "no_variable": (),
        "all": (),
    }


def test_the_first_signature_that_is_not_for_loading():
    whole = graph([node("op", "Neg", "serving_x")])
    assert read(saved(whole, {"y": "op"}, "score")).attributes == (("signature", "score"),)
    assert read(saved(whole, {"y": "op"}, "__saved_model_init_op")) is None


def test_functions_that_call_themselves_end():
    once = function("f", "a", {"r": "call:output:0"}, node("call", "PartitionedCall", "a", f=calling("f")))
    found = read(saved(graph([node("call", "PartitionedCall", "serving_x", f=calling("f"))], once), {"y": "call"}))
    assert [node.op for node in found.nodes].count("PartitionedCall") >= 1
    named = function("g", "a", {"r": "loop:output:0"}, node("loop", "While", "a", body=calling("g")))
    found = read(saved(graph([node("loop", "While", "serving_x", body=calling("g"))], named), {"y": "loop"}))
    assert told(found)[-1] == ("loop", "While", ("@x", "g"))


def test_functions_that_double_at_each_step_are_refused(monkeypatch):
    calls = [
        node("a", "PartitionedCall", "x", f=calling("f")),
        node("b", "PartitionedCall", "a:output:0", f=calling("f")),
    ]
    twice = [function("f", "x", {"r": "b:output:0"}, *calls)]
    monkeypatch.setattr(graph_nodes, "MAX_GRAPH_PARTS", 50_000)
    start = time.process_time()
    with pytest.raises(FormatError) as raised:
        read(saved(graph([node("call", "PartitionedCall", "serving_x", f=calling("f"))], *twice), {"y": "call"}))
    assert raised.value.kind == "header-too-large"
    assert time.process_time() - start < 10


def test_cycles_and_what_is_not_there():
    nodes = [node("a", "Merge", "serving_x", "c:1"), node("b", "Switch", "a"), node("c", "Next", "b:1", "nothing")]
    found = read(saved(graph(nodes), {"y": "c", "gone": "nobody:0"}))
    assert told(found) == [
        ("a", "Merge", ("@x", "c:1")), ("b", "Switch", ("a",)), ("c", "Next", ("b:1", ""))
    ]  # fmt: skip
    assert [port.value for port in found.outputs] == [None, "c"]


def test_many_nodes_are_read_fast():
    nodes = [node("serving_x", "Placeholder"), *(node(str(n), "Neg", str(n - 1), T=value(6, 1)) for n in range(20_000))]
    start = time.process_time()
    assert len(read(saved(graph(nodes), {"y": "19999"})).nodes) == 20_000
    assert time.process_time() - start < 10


def test_nodes_are_as_deep_as_they_are_many():
    found = read(graph([node("x", "Placeholder"), node("y", "Neg", "x"), node("z", "Neg", "y")]))
    assert found.nodes == (Node("y", "Neg", inputs=("@x",)), Node("z", "Neg", inputs=("y",)))
