"""Where the graph of a model comes from: beside it, its own file, or its names; and the differences of real ones."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from lamella.core.errors import FormatError
from lamella.core.graphs import LAYERS, NAMES, OPERATORS, Graph
from lamella.formats.file import BytesFile
from lamella.formats.hollow import graph_of
from lamella.model.graph_diff import graph_difference
from lamella.model.graph_difference import ADDED, CHANGED, RENAMED, REWIRED
from lamella.model.graph_text import parse_graph, write_graph
from lamella.repo.graphs import comparable_graphs, graph_name, graph_of_model, graph_of_names, recorded_graph
from lamella.repo.targets import opened_model
from lamella.testing.models import model, network, spec
from tests.model.toy_graphs import blocks, transformer

PATTERNS = ("*.safetensors", "*.onnx")
GOLDEN = Path(__file__).parents[1] / "golden" / "graphs"
RECORDED = transformer(blocks(1))
TEXT = write_graph(RECORDED)


def golden(path: str, container: str) -> Graph:
    found = graph_of(container, BytesFile((GOLDEN / path).read_bytes()))
    assert found is not None
    assert parse_graph(write_graph(found)) == found
    return found


def test_twelve_activations_of_an_exported_network_are_twelve_changes():
    difference = graph_difference(golden("onnx/gelu.onnx", "onnx"), golden("onnx/tanh.onnx", "onnx"))
    assert difference.matched == difference.nodes_before == difference.nodes_after
    assert Counter(change.whats for change in difference.nodes) == {(CHANGED, RENAMED): 12}
    assert {change.attributes[0].before for change in difference.nodes} == {"Gelu"}


def test_an_exported_network_of_which_all_names_changed_is_matched_as_a_whole():
    difference = graph_difference(golden("onnx/gelu.onnx", "onnx"), golden("onnx/renamed.onnx", "onnx"))
    assert (difference.matched, difference.distance) == (156, 0)
    assert Counter(change.whats for change in difference.nodes) == {(RENAMED,): 156}


def test_a_layer_inserted_into_a_keras_network_is_one_addition():
    difference = graph_difference(golden("keras/network.keras", "keras"), golden("keras/inserted.keras", "keras"))
    assert [(change.after, change.whats) for change in difference.nodes] == [
        ("extra", (ADDED,)),
        ("inner/input_layer", (REWIRED,)),
    ]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("model.safetensors", "model.graph.json"),
        ("net.weights.h5", "net.weights.graph.json"),
        ("model.safetensors.index.json", "model.graph.json"),
        ("model", "model.graph.json"),
    ],
)
def test_a_graph_is_recorded_under_the_name_of_the_model(model, name):
    assert graph_name(model) == name


@pytest.mark.parametrize("folder", ["", "deep/"])
def test_a_graph_is_found_beside_the_model_on_disk_in_the_index_and_in_a_commit(bench, folder):
    bench.commit(f"{folder}model.safetensors", network())
    assert recorded_graph(f"{folder}model.safetensors", bench.root) is None
    bench.write(f"{folder}model.graph.json", TEXT)
    assert recorded_graph(f"{folder}model.safetensors", bench.root) == RECORDED
    assert recorded_graph(f":{folder}model.safetensors", bench.root) is None
    bench.git("add", f"{folder}model.graph.json")
    assert recorded_graph(f":{folder}model.safetensors", bench.root) == RECORDED
    assert recorded_graph(f"HEAD:{folder}model.safetensors", bench.root) is None
    bench.git("commit", "--quiet", "--message", "graph")
    (bench.root / folder / "model.graph.json").unlink()
    assert recorded_graph(f"HEAD:{folder}model.safetensors", bench.root) == RECORDED
    assert recorded_graph(f"HEAD:{folder or '.'}", bench.root) == RECORDED
    assert recorded_graph(f"{folder}model.safetensors", bench.root) is None


def test_the_graph_of_a_folder_lies_in_it(bench):
    bench.write("bert/a.safetensors", network())
    bench.write("bert.graph.json", TEXT)
    assert recorded_graph("bert", bench.root) is None
    bench.write("bert/model.graph.json", TEXT)
    assert recorded_graph("bert", bench.root) == RECORDED
    assert recorded_graph("bert/", bench.root) == RECORDED
    assert recorded_graph("bert/a.safetensors", bench.root) is None


def test_what_is_recorded_and_is_no_graph_is_told_with_its_name(bench):
    bench.commit("model.safetensors", network())
    bench.write("model.graph.json", TEXT.replace(b"Gelu", b"Gelu\\q"))
    with pytest.raises(FormatError, match=r"model.graph.json: line \d+ of the graph is not as lamella writes it"):
        recorded_graph("model.safetensors", bench.root)
    bench.git("add", "model.graph.json")
    with pytest.raises(FormatError, match=r"model.graph.json: line"):
        recorded_graph(":model.safetensors", bench.root)


def test_what_stands_under_the_name_of_a_graph_and_is_no_file_is_none(bench):
    bench.commit("model.safetensors", network())
    recorded = bench.root / "model.graph.json"
    recorded.symlink_to(recorded.name)
    assert recorded_graph("model.safetensors", bench.root) is None
    recorded.unlink()
    os.mkfifo(recorded)
    assert recorded_graph("model.safetensors", bench.root) is None


@pytest.mark.parametrize("stored", [True, False])
def test_the_recorded_graph_goes_before_that_of_the_file_and_that_before_names(bench, stored):
    onnx = (GOLDEN / "onnx" / "gelu.onnx").read_bytes()
    bench.commit("model.onnx", onnx)
    bench.commit("weights.safetensors", network())
    with opened_model("HEAD:model.onnx" if stored else "model.onnx", bench.root) as found:
        assert graph_of_model(found, RECORDED) is RECORDED
        own = graph_of_model(found)
        assert own == golden("onnx/gelu.onnx", "onnx")
        assert own.level == OPERATORS
        assert {name for node in own.nodes for _, name in node.parameters} == set(found.names)
        names = graph_of_names(found)
        with opened_model("weights.safetensors", bench.root) as other:
            of_other = graph_of_model(other)
            assert (of_other.level, [node.name for node in of_other.nodes][:2]) == (NAMES, ["layer.0", "layer.1"])
            assert comparable_graphs(found, own, found, own) == (own, own)
            assert comparable_graphs(found, own, other, of_other) == (names, of_other)


def test_where_the_store_lacks_the_header_names_are_left(bench):
    bench.commit("model.onnx", (GOLDEN / "onnx" / "gelu.onnx").read_bytes())
    for pack in (bench.root / ".git/lamella/packs").iterdir():
        pack.unlink()
    with opened_model("HEAD:model.onnx", bench.root) as found:
        assert graph_of_model(found) == graph_of_names(found)


def test_the_graphs_of_several_files_are_none_of_the_model(bench):
    onnx = (GOLDEN / "onnx" / "gelu.onnx").read_bytes()
    for name in ("encoder", "decoder"):
        bench.write(f"pipeline/{name}.onnx", onnx)
    with opened_model("pipeline", bench.root) as found:
        assert graph_of_model(found).level == NAMES
    bench.write("mixed/a.onnx", onnx)
    bench.write("mixed/b.safetensors", model([spec("onnx::MatMul_303")]))
    with opened_model("mixed", bench.root) as found:
        graph = graph_of_model(found)
        assert graph.level == OPERATORS
        assert {name for node in graph.nodes for _, name in node.parameters} <= set(found.names)


def test_keras_layers_are_those_of_the_file(bench):
    bench.write("net.keras", (GOLDEN / "keras" / "network.keras").read_bytes())
    with opened_model("net.keras", bench.root) as found:
        assert graph_of_model(found).level == LAYERS
