"""A graph that Python records beside a model is the one that is found there."""

from __future__ import annotations

import pytest

import lamella
from lamella.core.errors import FormatError
from lamella.core.graphs import LAYERS, Graph, Node, Port
from lamella.repo.graphs import recorded_on_disk

GRAPH = Graph(
    LAYERS, "torch", (Port("x", "f32", ("n", 2)),), (Port("y", value="a"),), (Node("a", "Neg", inputs=("@x",)),)
)


def test_a_graph_lies_beside_its_model(tmp_path):
    path = lamella.save_graph(GRAPH, tmp_path / "model.safetensors")
    assert path == tmp_path / "model.graph.json"
    assert recorded_on_disk(tmp_path / "model.safetensors") == GRAPH


def test_a_graph_lies_in_its_folder_and_is_replaced(tmp_path):
    lamella.save_graph(Graph(LAYERS, "torch", (), (), ()), str(tmp_path))
    assert lamella.save_graph(GRAPH, tmp_path) == tmp_path / "model.graph.json"
    assert recorded_on_disk(tmp_path) == GRAPH


def test_a_graph_that_is_not_sound_is_not_written(tmp_path):
    with pytest.raises(FormatError):
        lamella.save_graph(Graph(LAYERS, "torch", (), (), (Node("a", "Neg", inputs=("b",)),)), tmp_path)
    assert not list(tmp_path.iterdir())
