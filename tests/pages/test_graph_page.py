"""The page of a graph holds every node once, what feeds it, and what is known of it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from lamella.core.graphs import NAMES, OPERATORS, Graph, Node, Port
from lamella.core.limits import MAX_PAGE_NODES
from lamella.pages.graph_page import graph_page
from tests.pages import believable
from tests.pages.parsed import Parsed
from tests.pages.test_markup import HOSTILE


def numbers(tree) -> list[int]:
    return [tree] if isinstance(tree, int) else [number for child in tree[3:] for number in numbers(child)]


def test_every_node_and_every_port_is_in_the_picture_once():
    page = Parsed(graph_page(believable.graph(12), "model.onnx"))
    nodes, tree = page.data["nodes"], page.data["tree"]
    assert len(nodes) == 2 + 184 + 1
    assert sorted(numbers(tree)) == list(range(187))
    assert "184 operators, from onnx" in page.visible
    assert "input_ids i64 batch × length" in page.visible


def test_edges_lead_to_what_they_name():
    nodes = Parsed(graph_page(believable.graph(12), "model.onnx")).data["nodes"]
    at = {name: index for index, (name, *_) in enumerate(nodes)}
    assert nodes[at["embed.tokens"]][4] == [at["@input_ids"]]
    assert nodes[at["h.0.attn.mask"]][4] == [at["h.0.attn.scores"], at["@mask"]]
    assert nodes[-1][4] == [at["classifier"]]
    assert nodes[at["h.3.ln_1"]][5] == [["axis", "-1"], ["epsilon", "1e-05"]]
    assert nodes[at["h.3.attn.q_proj"]][6] == [["weight", "h.3.attn.q_proj.weight"]]


def test_a_second_output_of_a_node_is_that_node():
    nodes = (
        Node("a", "Split"),
        Node("b", "Relu", inputs=("a:1", "", "gone", "@x")),
        Node("c:1", "Relu", inputs=("c:1",)),
    )
    rows = Parsed(graph_page(Graph(OPERATORS, "onnx", (Port("x"),), (), nodes), "t")).data["nodes"]
    assert [row[4] for row in rows] == [[], [], [1, 0], [3]]


def test_an_output_may_be_called_as_a_node_is():
    graph = Graph(OPERATORS, "fx", (), (Port("out", value="out"),), (Node("out", "output"),))
    assert [row[4] for row in Parsed(graph_page(graph, "t")).data["nodes"]] == [[], [0]]


def test_a_graph_of_names_says_that_it_has_no_edges():
    graph = replace(believable.graph(2), level=NAMES, source="names", inputs=(), outputs=())
    assert "Names do not tell what feeds what." in Parsed(graph_page(graph, "t")).visible


def test_an_empty_graph_has_a_page():
    page = Parsed(graph_page(Graph(OPERATORS, "onnx", (), (), ()), "nothing"))
    assert [section["id"] for section in page.all("section")] == ["overview"]


def test_a_huge_graph_is_bounded_and_told():
    nodes = tuple(Node(f"n{n}", "Op", "m" * 200, (("a", "v" * 5000),) * 20) for n in range(30_000))
    text = graph_page(Graph(OPERATORS, "onnx", (), (), nodes), "t")
    page = Parsed(text)
    assert len(page.data["nodes"]) == MAX_PAGE_NODES
    assert "20,000 nodes not in this page." in page.visible
    assert len(text) < 8_000_000


@settings(max_examples=40)
@given(HOSTILE, HOSTILE)
def test_hostile_text_stays_text(name, other):
    nodes = (Node(name, other, other, ((name, other),), ("@" + other,), ((other, name),), (name, None, 3)),)
    graph = Graph(OPERATORS, other, (Port(other, name, (other,)),), (Port(name, value=name),), nodes)
    text = graph_page(graph, name)
    text.encode("utf-8")
    page = Parsed(text)
    assert len(page.all("script")) == 2
    assert sorted(numbers(page.data["tree"])) == [0, 1, 2]
