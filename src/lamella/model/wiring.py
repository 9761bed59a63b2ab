"""A computation graph as numbers: what feeds what, in an order that does not depend on names."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.core.graphs import Graph, Node, node_of

NOTHING = (-1, 0)
"""What feeds an input that is left out."""

Feed = tuple[int, int]
"""The number of what a value comes from, and which of its outputs it is."""


class Wiring:
    """A graph whose nodes have numbers from 0, followed by those of its inputs and then of its outputs.

    Nodes are numbered as they are reached from the outputs, what feeds a node before it: so graphs that differ in names
    and in the order of their source only have the same numbers. `feeds` are what each takes, slot by slot, and `users`
    what takes from each, with the slot in which.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = _walked(graph)
        self.count = len(self.nodes)
        self.first_output = self.count + len(graph.inputs)
        self.total = self.first_output + len(graph.outputs)
        self._numbers = {node.name: number for number, node in enumerate(self.nodes)}
        self._inputs = {port.name: self.count + number for number, port in enumerate(graph.inputs)}
        self.names = [*(node.name for node in self.nodes), *(port.name for port in (*graph.inputs, *graph.outputs))]
        ends = [port.value for port in graph.outputs]
        self.feeds: list[tuple[Feed, ...]] = [
            *(tuple(map(self._feed, _trimmed(node.inputs))) for node in self.nodes),
            *(() for _ in graph.inputs),
            *(() if value is None else (self._feed(value),) for value in ends),
        ]
        self.users: list[list[tuple[int, int]]] = [[] for _ in range(self.total)]
        for number, feeds in enumerate(self.feeds):
            for slot, (source, _) in enumerate(feeds):
                if source >= 0:
                    self.users[source].append((number, slot))

    def name(self, feed: Feed) -> str:
        """Return the reference that a feed is written as."""
        number, output = feed
        if number < 0:
            return ""
        if number >= self.count:
            return f"@{self.graph.inputs[number - self.count].name}"
        name = self.nodes[number].name
        return f"{name}:{output}" if output else name

    def _feed(self, reference: str) -> Feed:
        if not reference:
            return NOTHING
        if reference.startswith("@"):
            return self._inputs[reference[1:]], 0
        name = node_of(reference)
        return self._numbers[name], int(reference[len(name) + 1 :] or 0)


def _trimmed(inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Return references less those left out at the end, which say nothing."""
    length = len(inputs)
    while length and not inputs[length - 1]:
        length -= 1
    return inputs[:length]


def _walked(graph: Graph) -> list[Node]:
    """Return the nodes as they are reached from the outputs, those that no output needs behind them."""
    by_name = {node.name: node for node in graph.nodes}
    ends = [node_of(port.value) for port in graph.outputs if port.value]
    ordered: list[Node] = []
    seen: set[str] = set()
    for root in (*ends, *by_name):
        waiting = [(root, _sources(by_name, root))] if root and root not in seen else []
        seen.add(root)
        while waiting:
            name, sources = waiting[-1]
            source = next((one for one in sources if one not in seen), None)
            if source is None:
                waiting.pop()
                ordered.append(by_name[name])
            else:
                seen.add(source)
                waiting.append((source, _sources(by_name, source)))
    return ordered


def _sources(by_name: dict[str, Node], name: str) -> Iterator[str]:
    return iter([found for reference in by_name[name].inputs if (found := node_of(reference)) in by_name])
