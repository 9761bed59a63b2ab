"""A computation graph as a web page: a picture whose modules open, and what is known of each node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lamella.core.graphs import NAMES, OPERATORS, Graph, Node, Port
from lamella.core.limits import MAX_PAGE_NODES
from lamella.pages.frame import framed, search_box
from lamella.pages.graph_tree import Group, graph_tree
from lamella.pages.markup import Markup, broken, element, joined, shown
from lamella.pages.numbers import count, counted, extents
from lamella.pages.page import page

_MOST_PAIRS, _MOST_INPUTS, _MOST_PORTS, _MOST_OPERATORS = 12, 32, 24, 16
_MOST_CHARACTERS = 2_000_000
"""Of attributes and parameters together."""


def graph_page(graph: Graph, title: str) -> str:
    """Return a computation graph, called `title`, as the text of one HTML page.

    A page holds some thousand nodes, the first ones, and tells how many more there are.
    """
    nodes = _with_ports(graph)
    kept = nodes[:MAX_PAGE_NODES]
    sections = [
        ("overview", "Overview", _overview(graph, title)),
        ("picture", "Picture", _picture(len(nodes) - len(kept), flat=graph.level == NAMES) if kept else None),
    ]
    first_output = len(nodes) - len(graph.outputs)
    data = {"nodes": _rows(kept, first_output), "tree": _written(graph_tree(kept))}
    return page(shown(title), framed("Computation graph", sections), data, ("layout.js", "graph.js"))


def _with_ports(graph: Graph) -> list[Node]:
    """Return the nodes between one for each input, named as references name it, and one for each output."""
    inputs = [Node(f"@{port.name}", "input", shape=port.shape) for port in graph.inputs]
    outputs = [
        Node(port.name, "output", inputs=(port.value,) if port.value else (), shape=port.shape)
        for port in graph.outputs
    ]
    return [*inputs, *graph.nodes, *outputs]


def _rows(nodes: Sequence[Node], first_output: int) -> list[list[Any]]:
    """Return each node as name, operator, module, shape, positions of its inputs, attributes, parameters."""
    positions = {node.name: index for index, node in enumerate(nodes[:first_output])}
    room = _MOST_CHARACTERS
    rows = []
    for node in nodes:
        inputs = [_source(reference, positions) for reference in node.inputs[:_MOST_INPUTS]]
        pairs = [_pairs(node.attributes), _pairs(node.parameters)]
        room -= sum(len(name) + len(value) for written in pairs for name, value in written)
        shape = "" if node.shape is None else extents(node.shape)
        known = [position for position in inputs if position is not None]
        rows.append(
            [shown(node.name), shown(node.op), shown(node.module), shape, known, *(pairs if room > 0 else [[], []])]
        )
    return rows


def _source(reference: str, positions: dict[str, int]) -> int | None:
    """Return the position of the node that a reference names, for its first output or another."""
    return positions.get(reference, positions.get(reference.rpartition(":")[0]))


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[shown(name), shown(value)] for name, value in pairs[:_MOST_PAIRS]]


def _written(group: Group | int) -> Any:
    """Return the tree as nested lists: a number is a node, a list is label, path, times and children."""
    if isinstance(group, int):
        return group
    return [shown(group.label), shown(group.path), group.times, *map(_written, group.children)]


def _overview(graph: Graph, title: str) -> Markup:
    operators = Counter(node.op for node in graph.nodes).most_common()
    most = ", ".join(f"{count(number)} {shown(op)}" for op, number in operators[:_MOST_OPERATORS])
    beyond = f", and {counted(len(operators) - _MOST_OPERATORS, 'other')}" if len(operators) > _MOST_OPERATORS else ""
    what = {OPERATORS: "operator", NAMES: "module"}.get(graph.level, "layer")
    rows = [
        ("Graph", f"{counted(len(graph.nodes), what)}, from {shown(graph.source)}"),
        ("Inputs", _ports(graph.inputs)),
        ("Outputs", _ports(graph.outputs)),
        ("Operators", f"{most}{beyond}" if most else "none"),
    ]
    questions = [element("div", element("dt", label), element("dd", text)) for label, text in rows]
    return joined([element("h1", broken(title), id="overview-title"), element("dl", *questions, class_="questions")])


def _ports(ports: Sequence[Port]) -> str:
    written = [
        " ".join(
            [
                shown(port.name),
                *([shown(port.dtype)] if port.dtype else []),
                *([extents(port.shape)] if port.shape else []),
            ]
        )
        for port in ports[:_MOST_PORTS]
    ]
    beyond = [f"and {counted(len(ports) - _MOST_PORTS, 'other')}"] if len(ports) > _MOST_PORTS else []
    return ", ".join([*written, *beyond]) or "none known"


def _picture(beyond: int, *, flat: bool) -> Markup:
    search = search_box("g", "node, operator or module", "Search nodes")
    buttons = [
        element("button", label, type="button", data_zoom=way, aria_label=meaning)
        for way, label, meaning in (
            ("out", "−", "Smaller"),
            ("in", "+", "Larger"),
            ("fold", "fold all", "Close all modules"),
        )
    ]
    hint = "Modules open and close by a click; a node tells more." + (
        " Names do not tell what feeds what." if flat else ""
    )
    told = f"{counted(beyond, 'node')} not in this page." if beyond else None
    return joined(
        [
            element("div", search, element("div", *buttons, class_="chips"), class_="tools", role="search"),
            element("p", hint, f" {told}" if told else None, class_="small", id="nodes", role="status"),
            element("div", id="hits"),
            element("noscript", element("p", "The picture needs the script of this page to run.", class_="small")),
            element(
                "div",
                element("div", id="canvas", tabindex=0, role="group", aria_label="Picture of the graph"),
                element("aside", id="node", aria_label="Node", aria_live="polite"),
                class_="graph",
            ),
        ]
    )
