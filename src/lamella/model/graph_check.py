"""What must hold of a computation graph before anything else is asked of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from lamella.core.errors import FormatError
from lamella.core.graphs import LAYERS, NAMES, OPERATORS, Graph, Node, Port, node_of
from lamella.core.limits import MAX_DIMENSIONS, MAX_GRAPH_NODES, MAX_TENSOR_NBYTES

_HINT = "make it again with the program that it comes from"


def malformed(what: str) -> FormatError:
    """Return the error for a graph that says `what`."""
    return FormatError(what, kind="graph-malformed", hint=_HINT)


def check_graph(graph: Graph) -> None:
    """Hold a graph against what `core.graphs` says of it: names are unique, references are to something.

    The order of its nodes is not looked at. Raises FormatError: name-duplicate for two nodes, inputs or outputs of one
    name, graph-malformed for anything else.
    """
    if graph.level not in (NAMES, LAYERS, OPERATORS):
        raise malformed(f"a graph has no level {graph.level[:80]!r}")
    if len(graph.nodes) > MAX_GRAPH_NODES:
        raise malformed(f"a graph of {len(graph.nodes)} nodes is too large; {MAX_GRAPH_NODES} are read")
    _check_attributes("the graph", graph.attributes)
    names = _unique("nodes", (node.name for node in graph.nodes))
    inputs = _unique("inputs", (port.name for port in graph.inputs))
    _unique("outputs", (port.name for port in graph.outputs))
    for name in names:
        if not name or name.startswith("@") or node_of(name) != name:
            raise malformed(f"a node cannot be called {name[:80]!r}, which would read as a reference")
    for node in graph.nodes:
        _check_node(node)
        for reference in node.inputs:
            if reference and not _leads_somewhere(reference, names, inputs):
                raise malformed(f"node {node.name[:80]!r} takes {reference[:80]!r}, which is not there")
    for port in (*graph.inputs, *graph.outputs):
        _check_shape(port.name, port.shape)
    _check_ends(graph, names, inputs)


def _check_ends(graph: Graph, names: frozenset[str], inputs: frozenset[str]) -> None:
    for port in graph.inputs:
        if port.value is not None:
            raise malformed(f"input {port.name[:80]!r} is said to be {port.value[:80]!r}; only outputs are something")
    for port in graph.outputs:
        if port.value is not None and not _leads_somewhere(port.value, names, inputs):
            raise malformed(f"output {port.name[:80]!r} is {port.value[:80]!r}, which is not there")


def _check_node(node: Node) -> None:
    _check_attributes(f"node {node.name[:80]!r}", node.attributes)
    _check_shape(node.name, node.shape)


def _check_attributes(what: str, attributes: tuple[tuple[str, str], ...]) -> None:
    if any(before >= after for (before, _), (after, _) in pairwise(attributes)):
        raise malformed(f"the attributes of {what} are not in the order of their names, or one is there twice")


def _check_shape(name: str, shape: Port | tuple[object, ...] | None) -> None:
    if not isinstance(shape, tuple):
        return
    if len(shape) > MAX_DIMENSIONS:
        raise malformed(f"{name[:80]!r} has {len(shape)} dimensions")
    if any(isinstance(extent, int) and not 0 <= extent <= MAX_TENSOR_NBYTES for extent in shape):
        raise malformed(f"{name[:80]!r} has an axis of impossible length")


def _unique(what: str, names: Iterable[str]) -> frozenset[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FormatError(f"two {what} of the graph are called {name[:80]!r}", kind="name-duplicate", hint=_HINT)
        seen.add(name)
    return frozenset(seen)


def _leads_somewhere(reference: str, names: frozenset[str], inputs: frozenset[str]) -> bool:
    return reference[1:] in inputs if reference.startswith("@") else node_of(reference) in names
