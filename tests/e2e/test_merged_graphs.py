"""The computation graph beside a model is held against what the tensors of a merge became."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.core.graphs import Graph
from lamella.model.graph_text import write_graph
from lamella.repo.graphs import graph_of_model
from lamella.repo.targets import opened_model
from tests.e2e.mergebench import MODEL, weights

GRAPH = "model.graph.json"
GOLDEN = Path(__file__).parents[1] / "golden" / "graphs" / "keras"
START = dict.fromkeys(("shared/kernel", "extra/kernel", "inner/inside/kernel"), (1.0, 2.0, 3.0, 4.0))
GONE = "extra takes extra/kernel as its kernel, which is gone"


def described(name: str) -> Graph:
    """Return the graph of a golden file, of which `inserted` has the layer extra more than `network`."""
    with opened_model(f"{name}.keras", GOLDEN) as model:
        return graph_of_model(model)


def put(bench, graph: Graph, model: bytes) -> None:
    bench.write(GRAPH, write_graph(graph))
    bench.git("add", GRAPH)
    bench.commit(MODEL, model)


@pytest.fixture
def sides(make_bench):
    """The branch other removed a layer, from model and graph; third and main trained."""
    bench = make_bench()
    put(bench, described("inserted"), weights(start=START))
    bench.git("switch", "--quiet", "--create", "third")
    bench.commit(MODEL, weights({"shared/kernel": (1.0, 2.0, 3.0, 6.0)}, start=START))
    bench.git("switch", "--quiet", "--create", "other", "main")
    put(bench, described("network"), weights(start=START, without=["extra/kernel"]))
    bench.git("switch", "--quiet", "main")
    bench.commit(MODEL, weights({"inner/inside/kernel": (2.0, 2.0, 3.0, 4.0)}, start=START))
    return bench


def recorded(bench) -> list[str]:
    """Return the checks in the record of the merge."""
    (record,) = bench.git("ls-files", ".lamella/merges").split()
    return json.loads(bench.read(record))["checks"]


@pytest.mark.parametrize("others", [["other"], ["other", "third"]])
def test_a_graph_that_lost_the_layer_that_its_model_lost_fits(sides, others):
    report = json.loads(sides.lamella("merge", *others, "--json"))
    assert [one["findings"] for one in report["checks"]] == [[]]
    assert b'"extra"' not in sides.read(GRAPH)
    assert recorded(sides) == []


@pytest.fixture
def at_odds(sides):
    """Main also changed what its graph says of the layer, so that somebody has to decide about the graph."""
    graph = described("inserted")
    changed = (replace(node, op="EinsumDense") if node.name == "extra" else node for node in graph.nodes)
    sides.write(GRAPH, write_graph(replace(graph, nodes=tuple(changed))))
    sides.git("commit", "--quiet", "--all", "--message", "another operator")
    assert sides.try_lamella("merge", "other").code == 4
    return sides


def test_a_layer_that_is_gone_is_told_where_the_graph_taken_still_has_it(at_odds):
    at_odds.git("checkout", "--ours", GRAPH)
    at_odds.git("add", GRAPH)
    assert f"{MODEL}: warning: {GONE}; " in at_odds.lamella("merge", "--continue")
    assert recorded(at_odds) == [f"{MODEL}: {GONE}"]


def test_conflict_markers_in_a_graph_are_one_sentence(at_odds):
    assert b"<<<<<<<" in at_odds.read(GRAPH)
    at_odds.git("add", GRAPH)
    told = at_odds.try_lamella("merge", "--continue")
    assert told.code == 0
    (line,) = [line for line in told.out.splitlines() if GRAPH in line]
    assert line.startswith(f"{MODEL}: warning: {GRAPH}: ")
    (check,) = recorded(at_odds)
    assert check.startswith(f"{MODEL}: {GRAPH}: ")


def test_a_graph_that_did_not_fit_before_is_not_told_of_again(sides):
    sides.git("switch", "--quiet", "other")
    sides.git("checkout", "--quiet", "main", "--", GRAPH)
    sides.git("commit", "--quiet", "--message", "a graph with a layer that the model has not")
    sides.git("switch", "--quiet", "main")
    sides.lamella("merge", "other")
    assert recorded(sides) == []
