"""SavedModels that TensorFlow and Keras write: variables are called as in the checkpoint, and loops have bodies."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

from lamella.formats.base import Beside
from lamella.formats.file import BytesFile
from lamella.formats.hollow import graph_of
from lamella.formats.neighbours import FolderNeighbours
from lamella.formats.sniff import read_layout
from lamella.testing.formats import check_graph
from scripts.fixtures.make_keras import functional, plain


def read(folder):
    found = graph_of("tf-saved-model", BytesFile((folder / "saved_model.pb").read_bytes()))
    check_graph(found)
    return found


def variables(folder):
    (path,) = (folder / "variables").glob("*.data-*")
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        with FolderNeighbours(directory) as neighbours:
            layout, _ = read_layout(BytesFile(path.read_bytes()), Beside(path.name, neighbours))
    finally:
        os.close(directory)
    return {span.spec.name: span.spec.shape for span in layout.tensors if not span.part}


def taken(found):
    return {name for node in found.nodes for role, name in node.parameters if role == "variable"}


def test_a_keras_model_as_it_is_exported(tmp_path):
    for make in (plain, functional):
        keras.backend.clear_session()
        make().export(tmp_path / make.__name__, verbose=False)
        found = read(tmp_path / make.__name__)
        known = variables(tmp_path / make.__name__)
        assert taken(found) == {name for name in known if name.startswith("variables/")}
        assert "MatMul" in {node.op for node in found.nodes}
        assert found.outputs[0].value is not None


def test_a_module_with_a_loop(tmp_path):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = [tf.Variable(tf.ones((2, 2)), name="w"), tf.Variable(tf.ones(2), name="b")]

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def __call__(self, x):
            for _ in tf.range(tf.shape(x)[0]):
                x = tf.nn.relu(x @ self.weights[0] + self.weights[1])
            return {"y": x}

    tf.saved_model.save(Module(), tmp_path)
    found = read(tmp_path)
    assert taken(found) == {"weights/0", "weights/1"} <= set(variables(tmp_path))
    assert [(port.name, port.dtype, port.shape) for port in found.inputs] == [("x", "f32", (None, 2))]
    assert [port.name for port in found.outputs] == ["y"]
    assert {"Relu", "MatMul", "Function"} <= {node.op for node in found.nodes}
