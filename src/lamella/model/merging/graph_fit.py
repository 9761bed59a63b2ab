"""Whether a computation graph and the tensors of a merge fit: what it names is there, in a shape that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lamella.core.graphs import Graph, Node
from lamella.core.tensors import TensorSpec

MOST_PROBLEMS = 20
"""Problems that are told one by one."""

_SHARING = ("Linear", "Dense", "Gemm", "Embedding")
"""Operators whose output ends in an axis of their matrix."""


def graph_problems(graph: Graph, specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return in sentences what tensors a graph names that are not among `specs`, or cannot have their shapes.

    A shape is only looked at where the operator's output shows it. Tensors that no node names are no problem: graphs do
    not tell of all.
    """
    shapes = {spec.name: spec.shape for spec in specs}
    found = [problem for node in graph.nodes for problem in _problems(node, shapes)]
    if len(found) > MOST_PROBLEMS:
        found[MOST_PROBLEMS:] = [f"{len(found) - MOST_PROBLEMS} more parameters do not fit the graph"]
    return tuple(found)


def _problems(node: Node, shapes: dict[str, tuple[int, ...]]) -> Iterator[str]:
    for role, name in node.parameters:
        shape = shapes.get(name)
        if shape is None:
            yield f"{node.name} takes {name} as its {role}, which is gone"
            continue
        last = node.shape[-1] if node.shape else None
        if node.op in _SHARING and len(shape) == 2 and isinstance(last, int) and last not in shape:
            shown = ",".join(map(str, shape))
            yield f"{node.name} gives {last} values, and its {role} {name} has the shape [{shown}]"
