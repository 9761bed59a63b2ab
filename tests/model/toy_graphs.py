"""Hand-built graphs of repeated blocks, as exporters make them, and what can be done to them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from lamella.core.graphs import OPERATORS, Graph, Node, Port, in_order


class Network:
    """Operators in a row, each taking the value before it where it is not told otherwise."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.last = "@x"

    def add(self, name: str, op: str, *inputs: str, tensors: str = "", **attributes: str) -> str:
        """Add a node and return the reference to it; `tensors` are roles of tensors called after the node."""
        parameters = tuple((role, f"{name}.{role}") for role in tensors.split())
        self.nodes.append(
            Node(name, op, "", tuple(sorted(attributes.items())), inputs or (self.last,), parameters, ("batch", 64))
        )
        self.last = name
        return name

    def block(self, name: str, activation: str = "Gelu") -> None:
        """Add a block of a transformer: 13 operators, with two branches around."""
        skip = self.last
        norm = self.add(f"{name}.norm1", "LayerNormalization", tensors="scale bias", epsilon="1e-05")
        query = self.add(f"{name}.q", "Gemm", norm, tensors="weight bias")
        key = self.add(f"{name}.k", "Gemm", norm, tensors="weight bias")
        value = self.add(f"{name}.v", "Gemm", norm, tensors="weight bias")
        turned = self.add(f"{name}.turned", "Transpose", key, perm="[0,2,1]")
        scores = self.add(f"{name}.scores", "MatMul", query, turned)
        self.add(f"{name}.softmax", "Softmax", scores, axis="-1")
        mixed = self.add(f"{name}.mixed", "MatMul", self.last, value)
        self.add(f"{name}.o", "Gemm", mixed, tensors="weight bias")
        skip = self.add(f"{name}.sum1", "Add", skip, self.last)
        self.add(f"{name}.norm2", "LayerNormalization", tensors="scale bias", epsilon="1e-05")
        self.add(f"{name}.up", "Gemm", tensors="weight bias")
        self.add(f"{name}.act", activation)
        self.add(f"{name}.down", "Gemm", tensors="weight bias")
        self.add(f"{name}.sum2", "Add", skip, self.last)

    def graph(self) -> Graph:
        """Return the graph, with one input and one output."""
        ends = (Port("x", "i64", ("batch", 64)),), (Port("y", "f32", ("batch", 64), self.last),)
        return Graph(OPERATORS, "onnx", *ends, tuple(self.nodes))


def transformer(
    names: list[str], activation: str = "Gelu", between: Callable[[Network, str], None] | None = None
) -> Graph:
    """Return a network of blocks of these names; `between` adds to it before each block."""
    network = Network()
    network.add("embedding", "Gather", tensors="weight")
    for name in names:
        if between is not None:
            between(network, name)
        network.block(name, activation)
    network.add("norm", "LayerNormalization", tensors="scale bias", epsilon="1e-05")
    network.add("head", "MatMul", tensors="weight")
    return network.graph()


def blocks(count: int) -> list[str]:
    return [f"h.{number}" for number in range(count)]


def tensors_of(graph: Graph) -> list[str]:
    return [name for node in graph.nodes for _, name in node.parameters]


def renamed(graph: Graph, seed: int = 0) -> tuple[Graph, dict[str, str]]:
    """Return a graph with everything called otherwise and in another order, and what its tensors became."""
    chance = random.Random(seed)
    numbers = list(range(len(graph.nodes)))
    chance.shuffle(numbers)
    names = {node.name: f"n{number}" for node, number in zip(graph.nodes, numbers, strict=True)}
    tensors = {
        name: f"t{number}" for number, name in enumerate(chance.sample(tensors_of(graph), len(tensors_of(graph))))
    }
    nodes = [
        replace(
            node,
            name=names[node.name],
            inputs=tuple(names.get(reference, reference) for reference in node.inputs),
            parameters=tuple((role, tensors[name]) for role, name in node.parameters),
        )
        for node in graph.nodes
    ]
    chance.shuffle(nodes)
    outputs = tuple(replace(port, value=names[port.value or ""]) for port in graph.outputs)
    return replace(graph, nodes=in_order(nodes), outputs=outputs), tensors


def with_ops(graph: Graph, ops: dict[str, str]) -> Graph:
    return replace(graph, nodes=tuple(replace(node, op=ops.get(node.op, node.op)) for node in graph.nodes))


def edited(graph: Graph, changed: int, inserted: int, removed: int, seed: int) -> Graph:
    """Return a graph in which so many nodes have another operator, are new or are gone, none beside another of them."""
    chance = random.Random(seed)
    nodes = {node.name: node for node in graph.nodes}
    names = chance.sample(list(nodes), len(nodes))
    touched: set[str] = set()
    (output,) = graph.outputs
    for kind in ["changed"] * changed + ["inserted"] * inserted + ["removed"] * removed:
        name = next(_apart(nodes, names, touched, single=kind == "removed"))
        node = nodes[name]
        becomes = name
        if kind == "changed":
            nodes[name] = replace(node, op=f"New{node.op}")
        elif kind == "removed":
            becomes = node.inputs[0]
            del nodes[name]
        else:
            becomes = f"{name}.new"
        output = replace(output, value=becomes if output.value == name else output.value)
        for user in list(nodes.values()):
            inputs = tuple(becomes if reference == name else reference for reference in user.inputs)
            nodes[user.name] = replace(user, inputs=inputs)
        if kind == "inserted":
            nodes[becomes] = Node(becomes, chance.choice(["Dropout", "Gelu", "Gemm"]), inputs=(name,))
    return replace(graph, nodes=in_order(list(nodes.values())), outputs=(output,))


def _apart(nodes: dict[str, Node], names: list[str], touched: set[str], *, single: bool) -> Iterator[str]:
    """Yield nodes that have nothing to do with those that were touched, with one input where `single`."""
    while names:
        name = names.pop()
        around = {name, *nodes[name].inputs, *(user.name for user in nodes.values() if name in user.inputs)}
        if not around & touched and (not single or len(nodes[name].inputs) == 1):
            touched |= around
            yield name
