"""The graphs of Keras models: what Keras saves in its formats, both forms of a configuration, and those that lie."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from lamella.core.errors import FormatError
from lamella.core.graphs import LAYERS, Graph, Node, Port
from lamella.formats.file import BytesFile
from lamella.formats.hollow import graph_of
from lamella.formats.keras.graph import config_graph
from lamella.formats.sniff import read_layout
from lamella.testing.formats import check_graph, hollow_file

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(path: str) -> Graph | None:
    """The graph of a file, which is sound, the same where its tensors are not at hand, and takes its tensors."""
    data = (GOLDEN / path).read_bytes()
    layout = read_layout(BytesFile(data))[0]
    found = graph_of(layout.format, BytesFile(data))
    assert found == graph_of(layout.format, hollow_file(data, layout))
    if found is not None:
        check_graph(found)
        names = {span.spec.name for span in layout.tensors if not span.part and "optimizer" not in span.spec.name}
        assert {name for node in found.nodes for _, name in node.parameters} == names
    return found


def read(config: object) -> Graph | None:
    found = config_graph({"class_name": "Functional", "config": config}, (), by_path=True)
    if found is not None:
        check_graph(found)
    return found


def layer(name: str, *calls: object, kind: str = "Dense", **settings: object) -> dict[str, object]:
    return {"class_name": kind, "name": name, "config": {"name": name, **settings}, "inbound_nodes": list(calls)}


def given(name: str, shape: tuple[int | None, ...] = (None, 2)) -> dict[str, object]:
    return layer(name, kind="InputLayer", batch_input_shape=list(shape), dtype="float32")


DENSE = {"bias_initializer": "Zeros", "dtype": "f32", "kernel_initializer": "GlorotUniform", "use_bias": "false"}


def dense(name: str, layer: str, feeds: str, activation: str, module: str = "") -> Node:
    settings = tuple(sorted({**DENSE, "activation": activation, "units": "2"}.items()))
    kernel = (("kernel", f"{layer}/kernel"),)
    return Node(name, "Dense", module, settings, (feeds,), kernel, None if module else (None, 2))


def test_a_functional_network():
    found = golden("graphs/keras/network.keras")
    assert (found.level, found.source) == (LAYERS, "keras")
    assert found.inputs == (Port("left", "f32", (None, 3)), Port("right", "f16", (None, 3)))
    assert found.outputs == (Port("score", value="multiply"), Port("joined", "f32", (None, 4), "join"))
    plumbing = (("dtype", "f32"), ("optional", "false"), ("ragged", "false"), ("sparse", "false"))
    settings = (("axis", "-1"), ("dtype", "f32"))
    assert found.nodes == (
        dense("shared", "shared", "@left", "gelu"),
        dense("shared#2", "shared", "@right", "gelu"),
        Node("inner/input_layer", "InputLayer", "inner", plumbing, ("shared",)),
        dense("inner/inside", "inner/inside", "inner/input_layer", "linear", "inner"),
        Node("join", "Concatenate", "", settings, ("inner/inside", "shared#2"), (), (None, 4)),
        Node("multiply", "Multiply", "", (("argument 1", "2.0"),), ("join",)),
    )


def test_the_older_format_has_the_same_graph():
    assert golden("graphs/keras/network.h5") == golden("graphs/keras/network.keras")


def test_a_layer_that_was_inserted_renames_none():
    before, after = golden("graphs/keras/network.keras"), golden("graphs/keras/inserted.keras")
    names = [node.name for node in after.nodes]
    names.remove("extra")
    assert names == [node.name for node in before.nodes]
    assert [(node.name, node.inputs) for node in after.nodes if "extra" in (node.name, *node.inputs)] == [
        ("extra", ("shared",)),
        ("inner/input_layer", ("extra",)),
    ]


@pytest.mark.parametrize(
    "name", ["plain", "inserted", "functional", "attention", "recurrent", "words", "sgd", "lambda"]
)
def test_models_of_all_kinds_take_all_their_tensors(name):
    assert golden(f"formats/keras/{name}.keras").nodes


def test_layers_in_layers_are_one_node():
    (node,) = golden("formats/keras/attention.keras").nodes
    assert (node.op, node.inputs) == ("MultiHeadAttention", ("@given", "@given"))
    assert dict(node.parameters)["query_dense/kernel"] == "attend/query_dense/kernel"
    (node,) = golden("formats/keras/recurrent.keras").nodes
    assert dict(node.parameters)["backward_layer/cell/bias"] == "both/backward_layer/cell/bias"
    assert dict(node.attributes)["layer"].startswith('LSTM {"activation": "tanh"')


def test_classes_of_somebody_else_are_called_as_registered():
    assert golden("formats/keras/functional.keras").nodes[-1].op == "fixtures>Twice"


def test_code_is_text():
    (node,) = golden("formats/keras/lambda.keras").nodes
    assert dict(node.attributes)["function"].startswith('__lambda__ {"code":')


@pytest.mark.parametrize(
    "path", ["formats/keras/subclassed.keras", "formats/keras/plain.weights.h5", "formats/hdf5/many.h5"]
)
def test_models_without_a_configuration_of_layers_have_no_graph(path):
    assert golden(path) is None


def test_the_form_of_keras_2():
    found = read(
        {
            "layers": [
                given("a"),
                layer("one", [["a", 0, 0, {}]], units=2),
                layer("two", [["one", 0, 0, {"mask": ["a", 0, 0], "training": True}]], [["a", 0, 0]], kind="Split"),
                layer("add", [["two", 0, 1, {}], ["two", 1, 0, {}], ["_CONSTANT_VALUE", -1, 2.0, {}]], kind="Add"),
                layer("bare", ["add", 0, 0, {}], kind="ReLU"),
            ],
            "input_layers": [["a", 0, 0]],
            "output_layers": [["bare", 0, 0], ["a", 0, 0]],
        }
    )
    assert found.inputs == (Port("a", "f32", (None, 2)),)
    assert found.outputs == (Port("bare", value="bare"), Port("a", value="@a"))
    assert [(node.name, node.attributes, node.inputs) for node in found.nodes] == [
        ("one", (("units", "2"),), ("@a",)),
        ("two", (("argument training", "true"),), ("one", "@a")),
        ("two#2", (), ("@a",)),
        ("add", (("argument 2", "2.0"),), ("two:1", "two#2")),
        ("bare", (), ("add",)),
    ]


def test_a_sequence_without_an_input_layer():
    found = read({"layers": [layer("one", batch_input_shape=[None, 4]), layer("two")]})
    assert found.inputs == (Port("input", None, (None, 4)),)
    assert [(node.name, node.inputs) for node in found.nodes] == [("one", ("@input",)), ("two", ("one",))]
    assert read({"layers": []}).nodes == ()


def test_a_sequence_in_a_sequence():
    inner = layer("inner", kind="Sequential", layers=[layer("a"), layer("b")])
    found = read({"layers": [inner, layer("last")], "build_input_shape": [None, 3]})
    assert found.inputs == (Port("input", None, (None, 3)),)
    assert [(node.name, node.inputs) for node in found.nodes] == [
        ("inner/a", ("@input",)),
        ("inner/b", ("inner/a",)),
        ("last", ("inner/b",)),
    ]


def test_a_model_used_twice_is_there_twice():
    inner = layer(
        "inner",
        [["a", 0, 0, {}]],
        [["inner", 0, 0, {}]],
        kind="Functional",
        layers=[given("in"), layer("x", [["in", 0, 0, {}]])],
        input_layers=[["in", 0, 0]],
        output_layers=[["x", 0, 0]],
    )
    found = read({"layers": [given("a"), inner], "input_layers": ["a", 0, 0], "output_layers": ["inner", 1, 0]})
    assert [(node.name, node.module, node.inputs) for node in found.nodes] == [
        ("inner/in", "inner", ("@a",)),
        ("inner/x", "inner", ("inner/in",)),
        ("inner#2/in", "inner#2", ("inner/x",)),
        ("inner#2/x", "inner#2", ("inner#2/in",)),
    ]
    assert found.outputs == (Port("inner", value="inner#2/x"),)


def test_what_is_configured_is_its_class():
    found = read(
        {
            "layers": [
                layer(
                    "one",
                    dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
                    trainable=False,
                    left_out=None,
                    zeros={"class_name": "Zeros", "module": "keras", "config": {}},
                    random={"class_name": "Normal", "config": {"stddev": 0.1, "seed": None}},
                    pair=[{"class_name": "Zeros", "config": {}}, {"class_name": "One", "config": {"b": 1, "a": 2}}],
                    broken={"class_name": "Zeros", "more": 1, "config": 3},
                )
            ]
        }
    )
    assert dict(found.nodes[0].attributes) == {
        "broken": '{"class_name": "Zeros", "config": 3, "more": 1}',
        "dtype": "mixed_float16",
        "pair": '["Zeros", {"One": {"a": 2, "b": 1}}]',
        "random": 'Normal {"stddev": 0.1}',
        "trainable": "false",
        "zeros": "Zeros",
    }


BROKEN = [
    {"layers": [5, {}, {"class_name": 5}, {"class_name": "Dense", "config": 3, "inbound_nodes": {"args": 1}}]},
    {"layers": [layer("a", ["nobody", 0, 0]), layer("b", [["a", 0, -1]], ["a", True, 0], 7)], "input_layers": 5},
    {
        "layers": [layer("a", [["a", 0, 0, {}]])],
        "input_layers": [["a", 9, 9]],
        "output_layers": {"x": ["a", 0, 7], "y": 1},
    },
    {"layers": [layer("a", [["b", 0, 0]]), layer("b", [["a", 0, 0]])], "input_layers": []},
    {"layers": [layer("a"), layer("a"), layer("")], "build_input_shape": [-1, "x"]},
    {"layers": [layer("a", {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": 1}}]})]},
    {"layers": [layer("x" * 300, batch_shape=[None] * 99)], "input_layers": []},
]


@pytest.mark.parametrize("config", BROKEN)
def test_what_is_broken_is_left_out(config):
    assert read(json.loads(json.dumps(config))) is not None


@pytest.mark.parametrize("config", [None, 5, {}, {"layers": 5}, {"layers": {"a": 1}}])
def test_what_lists_no_layers_has_no_graph(config):
    assert read(config) is None


def test_settings_nest_without_end():
    value: object = 1
    for _ in range(900):
        value = {"class_name": "A", "config": {"x": [value]}}
    assert read({"layers": [layer("a", deep=value)]}).nodes


def test_models_that_double_at_each_step_are_refused():
    inner = layer("leaf", [["in", 0, 0]])
    for depth in range(40):
        calls = [[["in", 0, 0]], [["in", 0, 0]]]
        ends = {"input_layers": [["in", 0, 0]], "output_layers": [["in", 0, 0]]}
        inner = layer(f"m{depth}", *calls, kind="Functional", layers=[given("in"), inner], **ends)
    start = time.process_time()
    with pytest.raises(FormatError) as raised:
        read({"layers": [given("in"), inner], "input_layers": ["in", 0, 0], "output_layers": []})
    assert raised.value.kind == "header-too-large"
    assert time.process_time() - start < 10


def test_a_layer_that_is_called_often_is_read_once():
    calls = [[["in", 0, 0]]] * 40_000
    start = time.process_time()
    config = {
        "layers": [given("in"), layer("a", *calls, text="x" * 1_000_000)],
        "input_layers": [],
        "output_layers": [],
    }
    assert len(read(config).nodes) == 40_000
    assert time.process_time() - start < 10
