"""The picture of a graph in a real browser: modules open, nodes tell, nothing lies on anything else."""

from __future__ import annotations

import json

from lamella.core.graphs import NAMES, OPERATORS, Graph, Node, Port
from lamella.pages.graph_page import graph_page
from tests.pages import believable


def whole() -> str:
    return graph_page(believable.graph(12), "model.onnx")


def labels(page) -> list[str]:
    return [found["aria-label"] for found in page.all("g") if "aria-label" in found]


def test_repeated_blocks_are_one_box(browser):
    page = browser.dump(whole())
    assert labels(page) == [
        "input input_ids",
        "input mask",
        "embed, 2 nodes, open",
        "Gather tokens",
        "Add add",
        "h.0 … 11, 12 alike, 180 nodes, closed",
        "LayerNormalization ln_f",
        "Gemm classifier",
        "output logits",
    ]


def test_all_modules_are_closed_on_request(browser):
    page = browser.after(whole(), """document.querySelector('[data-zoom="fold"]').click()""")
    assert "embed, 2 nodes, closed" in labels(page)


def test_a_module_opens_by_a_click_and_by_a_key(browser):
    script = """
      const open = (words, event) =>
        [...document.querySelectorAll("g.module")]
          .find((box) => box.getAttribute("aria-label").startsWith(words))
          .dispatchEvent(event);
      open("h.0", new MouseEvent("click"));
      open("3,", new KeyboardEvent("keydown", { key: "Enter" }));
    """
    found = labels(browser.after(whole(), script))
    assert "h.0 … 11, 12 alike, 180 nodes, open" in found
    assert "3, 15 nodes, open" in found
    assert "Add residual_1" in found


def test_a_node_tells_what_is_known_of_it(browser):
    nodes = [node.name for node in believable.graph(12).nodes]
    page = browser.dump(whole(), f"node={2 + nodes.index('h.3.attn.q_proj')}")
    assert "h.3.attn.q_proj.weight" in page.text("dd")
    assert page.text("h4") == "parameterstakesfeeds"
    (lit,) = [found for found in page.all("g") if "lit" in found.get("class", "") and "data-leaf" in found]
    assert lit["aria-label"] == "MatMul q_proj"


def test_nodes_are_found_by_name_operator_and_module(browser):
    assert "12 nodes found" in browser.dump(whole(), "g=softmax").visible
    assert "15 nodes found" in browser.dump(whole(), "g=h.7.*").visible


OVERLAPS = """
  for (let round = 0; round < 20; round += 1) {
    document.querySelector("g.module")?.dispatchEvent(new MouseEvent("click"));
  }
  const boxes = [...document.querySelectorAll("g.box:not(.frame) > rect:last-of-type")].map((rect) => rect.getBBox());
  const clash = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
  const clashes = boxes.flatMap((a, at) => boxes.slice(at + 1).filter((b) => clash(a, b)));
  const finite = boxes.every((box) => [box.x, box.y, box.width, box.height].every(Number.isFinite));
  document.body.dataset.found = JSON.stringify([boxes.length, clashes.length, finite]);
"""


def boxes(browser, graph: Graph) -> list[object]:
    return json.loads(browser.after(graph_page(graph, "t"), OVERLAPS).all("body")[0]["data-found"])


def test_no_box_lies_on_another(browser):
    shown, clashes, finite = boxes(browser, believable.graph(12))
    assert shown > 30
    assert (clashes, finite) == (0, True)


def test_loops_and_long_edges_are_drawn(browser):
    nodes = [Node(f"n{at}", "Op", inputs=(f"n{at - 1}", "n0", "n59") if at else ("n59",)) for at in range(60)]
    shown, clashes, finite = boxes(browser, Graph(OPERATORS, "onnx", (), (), tuple(nodes)))
    assert (shown, clashes, finite) == (60, 0, True)


def test_a_graph_of_names_alone_is_in_columns(browser):
    nodes = tuple(Node(f"m{at}", "Linear", f"m{at}") for at in range(40))
    shown, clashes, finite = boxes(browser, Graph(NAMES, "names", (), (), nodes))
    assert (shown, clashes, finite) == (40, 0, True)


def test_thousands_of_nodes_are_drawn_in_parts(browser):
    nodes = tuple(Node(f"n{at}", "Op", inputs=(f"n{at - 1}",) if at else ("@x",)) for at in range(8000))
    page = browser.dump(graph_page(Graph(OPERATORS, "onnx", (Port("x"),), (), nodes), "t"), "node=7000")
    assert "n6999" in page.text("p")
    assert len(labels(page)) < 400
