"""What a computation graph is: operators, the values between them, and the tensors that they take as parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

NAMES, LAYERS, OPERATORS = "names", "layers", "operators"
"""How much a graph knows: the modules that names of tensors show, the layers of a framework and what feeds what, or
every operator."""

Extent = int | str | None
"""The length of an axis: a number, the name of one that is open, or None where nothing is said."""


@dataclass(frozen=True, slots=True)
class Port:
    """A value that enters or leaves a graph. `dtype` is a name of `core.dtypes`, or what the framework calls it.

    A dtype of None, and a shape of None, are not known; `shape` is outermost first. `value` is what an output is: a
    reference as in `Node.inputs`. An input has none.
    """

    name: str
    dtype: str | None = None
    shape: tuple[Extent, ...] | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One operator, or one layer.

    `name` is unique in its graph; what it says of the node is the framework's affair. It begins with no ``@`` and ends
    in no colon and number, so that a reference says one thing.

    `attributes` are pairs of name and value, by name, the value in one canonical text. `inputs` are references to
    values, in order: the name of a node for its first output, ``NAME:1`` for its second, ``@NAME`` for an input of the
    graph, and "" for one left out or that is a parameter. `parameters` are pairs of a role ("weight", "bias", "input
    1") and the name of the tensor in the model's file. `module` is the dotted path of what the node is part of, ""
    where it is not known. `shape` is that of its first output.
    """

    name: str
    op: str
    module: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    inputs: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    shape: tuple[Extent, ...] | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A computation graph: its interface, and its nodes in an order in which none comes before what it needs.

    A graph with cycles, as control flow and recurrent layers make, has the nodes of a cycle in the order of its source.
    `level` is one of NAMES, LAYERS and OPERATORS; `source` says what it was made from, as "onnx" and "names" do.
    `attributes` are what holds for all nodes, as versions of operators, in the form of those of a node.
    """

    level: str
    source: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    attributes: tuple[tuple[str, str], ...] = ()


_AMBIGUOUS = re.compile(r"\A@|:(?=[0-9]+\Z)")


def unambiguous(name: str) -> str:
    """Return a name for a node in which nothing reads as a reference to something else."""
    return _AMBIGUOUS.sub("_", name)


def node_of(reference: str) -> str:
    """Return the name of the node that a reference is to, "" for one to an input of the graph or to nothing."""
    if reference.startswith("@"):
        return ""
    name, colon, number = reference.rpartition(":")
    return name if colon and number.isdecimal() else reference


def in_order(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return nodes so that none comes before what it needs, otherwise in the order in which they are given.

    The nodes of a cycle follow each other as they are given. References to nodes that are not there do not count.
    """
    numbers = {node.name: number for number, node in enumerate(nodes)}
    needs = [[numbers[name] for one in node.inputs if (name := node_of(one)) in numbers] for node in nodes]
    if all(needed <= number for number, one in enumerate(needs) for needed in one):
        return tuple(nodes)
    groups = _cycles(needs)
    group_of = {number: group for group, members in groups.items() for number in members}
    waits = {group: {group_of[one] for number in groups[group] for one in needs[number]} - {group} for group in groups}
    feeds: dict[int, list[int]] = {group: [] for group in groups}
    for group, needed in waits.items():
        for one in needed:
            feeds[one].append(group)
    missing = {group: len(needed) for group, needed in waits.items()}
    ready = sorted(group for group, count in missing.items() if not count)
    ordered: list[Node] = []
    while ready:
        group = heappop(ready)
        ordered += (nodes[number] for number in groups[group])
        for fed in feeds[group]:
            missing[fed] -= 1
            if not missing[fed]:
                heappush(ready, fed)
    return tuple(ordered)


def _cycles(needs: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """Return the numbers of nodes in groups, by the first of each: those that need each other are in one.

    These are the strongly connected components, found as Tarjan describes in "Depth-first search and linear graph
    algorithms", SIAM Journal on Computing 1 (1972), without recursion.
    """
    groups: dict[int, list[int]] = {}
    index = [0] * len(needs)
    low = [0] * len(needs)
    open_nodes: list[int] = []
    closed = [False] * len(needs)
    count = 0
    for root in range(len(needs)):
        path = [] if index[root] else [(root, iter(needs[root]))]
        while path:
            number, rest = path[-1]
            if not index[number]:
                count += 1
                index[number] = low[number] = count
                open_nodes.append(number)
            for one in rest:
                if not index[one]:
                    path.append((one, iter(needs[one])))
                    break
                if not closed[one]:
                    low[number] = min(low[number], low[one])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[number])
                if low[number] == index[number]:
                    at = len(open_nodes) - 1
                    while open_nodes[at] != number:
                        at -= 1
                    members = sorted(open_nodes[at:])
                    del open_nodes[at:]
                    groups[members[0]] = members
                    for one in members:
                        closed[one] = True
    return groups
