"""What people read of a computation graph."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from lamella.core.graphs import LAYERS, Graph, Node, Port
from lamella.model.graph_text import write_graph
from lamella.testing.models import model, spec

MODEL = "model.safetensors"
NETWORK = Graph(
    LAYERS,
    "keras",
    (Port("pixels", "f32", ("batch", 64)),),
    (Port("classes", "f32", ("batch", 10), "out"), Port("score")),
    (
        *(
            Node(
                f"block_{number}/dense",
                "Dense",
                f"block_{number}",
                (("activation", "relu"), ("units", "8")),
                (f"block_{number - 1}/dense" if number else "@pixels",),
                (("kernel", f"layer.{number}.weight"), ("bias", f"layer.{number}.bias")),
                ("batch", 8),
            )
            for number in range(3)
        ),
        Node("out", "Lambda", "", (("function", "f" * 60),), ("block_2/dense",)),
    ),
)
TENSORS = [spec(f"layer.{number}.{role}", 4, 6) for number in range(3) for role in ("weight", "bias")]


def test_a_graph_is_a_tree_with_the_interface_before_it(bench, call):
    bench.write(MODEL, model(TENSORS))
    bench.write("model.graph.json", write_graph(NETWORK))
    ended = call("graph", MODEL)
    assert ended.code == 0
    lines = [re.sub(" {2,}", "  ", line).rstrip() for line in ended.out.splitlines()]
    assert lines[:6] == [
        "model.safetensors  4 layers, from keras",
        *("input:", "  pixels  f32 [batch,64]"),
        *("outputs:", "  classes  f32 [batch,10]", "  score  ? ?"),
    ]
    dense = "3 x Dense activation=relu units=8  [batch,8]  kernel f32 [4,6], bias f32 [4,6]"
    assert lines[6:] == [
        "NODE  OP  OUTPUT  TENSORS  COUNT  SIZE",
        f"block_[0-2].dense  {dense}  144  576 B",
        "out  Lambda ...",
        "6 tensors, 144 elements, 576 B",
    ]
    assert ended.err == ""


def test_blocks_are_shown_one_by_one_and_down_to_a_depth(bench, call):
    two = [replace(node, name=f"{node.name}#2", inputs=(node.name,), parameters=()) for node in NETWORK.nodes[:3]]
    bench.write(MODEL, model(TENSORS))
    bench.write("model.graph.json", write_graph(replace(NETWORK, nodes=(*NETWORK.nodes, *two))))
    everything = call("graph", MODEL, "--all").out
    assert [line.split()[0] for line in everything.splitlines() if "dense" in line] == ["dense", "dense#2"] * 3
    shallow = call("graph", MODEL, "--depth", "1").out
    assert "dense" not in shallow
    assert "block_[0-2].  6 nodes" in shallow


def test_what_a_graph_and_its_model_do_not_have_in_common_is_told(bench, call):
    bench.write(MODEL, model([*TENSORS[1:], *(spec(f"other.{number}", 2) for number in range(6))]))
    bench.write("model.graph.json", write_graph(NETWORK))
    ended = call("graph", MODEL)
    assert "kernel missing, bias f32 [4,6]" in ended.out
    assert ended.err.splitlines() == [
        "taken by no layer: other.0, other.1, other.2, other.3, 2 more",
        "warning: the model does not have what its graph takes: layer.0.weight",
    ]


def test_json_holds_the_text_of_the_graph(bench, call):
    bench.write(MODEL, model(TENSORS))
    bench.write("model.graph.json", write_graph(NETWORK))
    report = json.loads(call("graph", MODEL, "--json").out)
    assert report["graph"] == json.loads(write_graph(NETWORK))
    assert (report["elements"], report["nbytes"]) == (144, 576)


def test_names_are_said_to_be_no_more(bench, call):
    ended = call("graph", f"HEAD:{MODEL}")
    assert ended.out.splitlines()[0] == f"HEAD:{MODEL}  4 modules, known by names only"
    assert [line.split()[:4] for line in ended.out.splitlines()[1:3]] == [
        ["NODE", "OP", "TENSORS", "COUNT"],
        ["layer.[0-3]", "4", "x", "matrix"],
    ]


def test_a_graph_that_is_none_is_refused(bench, call):
    bench.write("model.graph.json", write_graph(NETWORK).replace(b": 1,", b": 9,", 1))
    ended = call("graph", MODEL)
    assert (ended.code, "graph is of version 9" in ended.err, "upgrade lamella" in ended.err) == (6, True, True)
