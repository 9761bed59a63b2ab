"""Live Keras models: their graphs are those of the files that Keras saves, and of the golden ones."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy
import pytest
from keras import layers

import lamella.keras
from lamella.core.errors import UsageError
from lamella.formats.file import BytesFile
from lamella.formats.hollow import graph_of
from lamella.testing.formats import check_graph
from scripts.fixtures.make_keras import Subclassed, attention, functional, plain, recurrent, words
from scripts.fixtures.make_keras_graphs import network
from tests.formats.test_keras_graph import golden


def stacked() -> keras.Model:
    cells = [layers.LSTMCell(2), layers.GRUCell(2), layers.LSTMCell(3)]
    return keras.Sequential([layers.Input((3, 2)), layers.RNN(cells, name="stack"), layers.Dense(1, name="last")])


def wrapped() -> keras.Model:
    given = keras.Input((4, 3, 2), name="given")
    inner = keras.Sequential([layers.Input((3, 2)), layers.Flatten(), layers.Dense(2, name="inside")], name="inner")
    found = layers.TimeDistributed(inner, name="each")(given)
    found = layers.Conv1D(2, 3, padding="same", name="conv")(found)
    return keras.Model(given, layers.Dropout(0.1)(layers.BatchNormalization(name="norm")(found)))


@pytest.mark.parametrize("make", [plain, functional, attention, recurrent, words, network, stacked, wrapped])
def test_a_live_model_has_the_graph_of_its_file(make, tmp_path):
    model = make()
    model.save(tmp_path / "model.keras")
    captured = lamella.keras.capture(model)
    check_graph(captured)
    assert captured == graph_of("keras", BytesFile((tmp_path / "model.keras").read_bytes()))


def test_the_golden_files_are_what_keras_writes():
    keras.backend.clear_session()
    assert lamella.keras.capture(network()) == golden("graphs/keras/network.keras")
    keras.backend.clear_session()
    assert lamella.keras.capture(network(inserted=True)) == golden("graphs/keras/inserted.keras")


def test_a_node_takes_what_its_layer_takes():
    model = network()
    nodes = {node.name: node for node in lamella.keras.capture(model).nodes}
    for operation in model.operations:
        if operation.name in nodes and len(operation._inbound_nodes) == 1:
            feeding = [parent.operation.name for parent in operation._inbound_nodes[0].parent_nodes]
            assert [name.partition("/")[0].partition("#")[0] for name in nodes[operation.name].inputs] == feeding


def test_a_model_that_does_not_tell_its_layers_is_refused():
    model = Subclassed()
    model(numpy.zeros((1, 2), "float32"))
    with pytest.raises(UsageError) as raised:
        lamella.keras.capture(model)
    assert raised.value.kind == "bad-argument"
