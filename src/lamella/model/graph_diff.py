"""The difference of two computation graphs: their nodes matched, and what happened to each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod

from lamella.core.graphs import Extent, Graph, Node, Port
from lamella.core.tensors import TensorSpec
from lamella.model.alignment import Pair
from lamella.model.graph_difference import (
    ADDED,
    CHANGED,
    MOVED,
    REMOVED,
    RENAMED,
    REWIRED,
    AttributeChange,
    GraphDifference,
    NodeChange,
    PortChange,
    port_text,
    shape_text,
)
from lamella.model.graph_match import FREE, GraphMatch, match_graphs
from lamella.model.sequences import increasing
from lamella.model.tensor_names import natural
from lamella.model.wiring import Wiring

_NUMBER = re.compile(r"\d+")
_FEWEST_INTEGERS = 64

Attributes = tuple[tuple[str, str], ...]


def graph_difference(before: Graph, after: Graph, tensors: Mapping[str, str] | None = None) -> GraphDifference:
    """Return what became of the nodes of a graph; `tensors`, as `telling_tensors` gives, are those of `match_graphs`.

    Changes are in the order of `after`, a removed node behind the one that came before it. Lengths of open axes are the
    same where one name stands for another throughout; what one side does not know is no change.
    """
    found = match_graphs(before, after, tensors)
    extents = _Extents()
    interface = (
        *_interface("input", before.inputs, after.inputs, extents),
        *_interface("output", before.outputs, after.outputs, extents),
    )
    moved = _moved(found)
    changes = [_change(found, a, b, moved, extents) for a, b in _in_order(found)]
    kept = tuple(change for change in changes if change is not None)
    attributes = tuple(_differing(before.attributes, after.attributes))
    return GraphDifference(found.before.count, found.after.count, found.matched, interface, kept, attributes)


class _Extents:
    """Which name of an open axis stands for which."""

    def __init__(self) -> None:
        self._after: dict[str, str] = {}
        self._before: dict[str, str] = {}

    def same(self, before: tuple[Extent, ...] | None, after: tuple[Extent, ...] | None) -> bool:
        """Say whether two shapes may be the same; names that are new stand for each other from here on."""
        if before is None or after is None:
            return True
        return len(before) == len(after) and all(map(self._alike, before, after))

    def _alike(self, before: Extent, after: Extent) -> bool:
        if before is None or after is None:
            return True
        if not (isinstance(before, str) and isinstance(after, str)):
            return before == after
        first = self._after.setdefault(before, after) == after
        second = self._before.setdefault(after, before) == before
        return before == after or (first and second)


def telling_tensors(pairs: Iterable[Pair], spec: Callable[[str], TensorSpec]) -> dict[str, str]:
    """Return which tensor became which, for `graph_difference`, less what tells nothing about the nodes that take it.

    That are scalars and short lists of integers, such as shapes: many are equal. `spec` is that of a tensor before.
    """
    return {pair.before: pair.after for pair in pairs if _tells(spec(pair.before))}


def _tells(spec: TensorSpec) -> bool:
    elements = prod(spec.shape)
    return elements > 1 and (not spec.dtype.name.startswith(("i", "u")) or elements >= _FEWEST_INTEGERS)


def _interface(side: str, before: tuple[Port, ...], after: tuple[Port, ...], extents: _Extents) -> Iterator[PortChange]:
    there = {port.name: port for port in after}
    for port in before:
        other = there.pop(port.name, None)
        if other is None:
            yield PortChange(side, port.name, port_text(port), None)
        else:
            same_shape = extents.same(port.shape, other.shape)
            if not same_shape or (port.dtype != other.dtype and port.dtype is not None is not other.dtype):
                yield PortChange(side, port.name, port_text(port), port_text(other))
    for port in there.values():
        yield PortChange(side, port.name, None, port_text(port))


def _in_order(found: GraphMatch) -> Iterator[tuple[int, int]]:
    """Yield the numbers of all nodes, in the order of after, what was removed behind what it followed."""
    waiting = iter(range(found.before.count))
    removed_behind: dict[int, list[int]] = {}
    last = FREE
    for a in waiting:
        if found.partner[a] == FREE:
            removed_behind.setdefault(last, []).append(a)
        else:
            last = found.partner[a]
    for b in range(FREE, found.after.count):
        if b != FREE:
            yield found.mate[b], b
        for a in removed_behind.get(b, ()):
            yield a, FREE


def _change(found: GraphMatch, a: int, b: int, moved: frozenset[int], extents: _Extents) -> NodeChange | None:
    if a == FREE:
        added = found.after.nodes[b]
        return NodeChange(None, added.name, added.op, (ADDED,), inputs_after=_references(found.after, b))
    if b == FREE:
        removed = found.before.nodes[a]
        return NodeChange(removed.name, None, removed.op, (REMOVED,), inputs_before=_before_as_named_now(found, a))
    before, after = found.before.nodes[a], found.after.nodes[b]
    attributes = tuple(_attribute_changes(before, after, extents))
    rewired = not found.same_feeds(a, b)
    said = (
        (CHANGED, bool(attributes)), (REWIRED, rewired), (MOVED, b in moved), (RENAMED, before.name != after.name)
    )  # fmt: skip
    whats = tuple(what for what, holds in said if holds)
    if not whats:
        return None
    took, takes = (_before_as_named_now(found, a), _references(found.after, b)) if rewired else ((), ())
    return NodeChange(before.name, after.name, after.op, whats, attributes, took, takes)


def _attribute_changes(before: Node, after: Node, extents: _Extents) -> Iterator[AttributeChange]:
    if before.op != after.op:
        yield AttributeChange("op", before.op, after.op)
    yield from _differing(before.attributes, after.attributes)
    roles = [", ".join(sorted(role for role, _ in node.parameters)) for node in (before, after)]
    if roles[0] != roles[1]:
        yield AttributeChange("parameters", *roles)
    if not extents.same(before.shape, after.shape):
        yield AttributeChange("shape", shape_text(before.shape), shape_text(after.shape))


def _differing(before: Attributes, after: Attributes) -> Iterator[AttributeChange]:
    here, there = dict(before), dict(after)
    for name in sorted(here | there):
        if here.get(name) != there.get(name):
            yield AttributeChange(name, here.get(name), there.get(name))


def _references(side: Wiring, number: int) -> tuple[str, ...]:
    return tuple(side.name(feed) for feed in side.feeds[number])


def _before_as_named_now(found: GraphMatch, a: int) -> tuple[str, ...]:
    """Return what a node took, by the names that this has after, or had where it is gone."""
    named = []
    for source, output in found.before.feeds[a]:
        now = found.partner[source] if source >= 0 else FREE
        named.append(found.before.name((source, output)) if now == FREE else found.after.name((now, output)))
    return tuple(named)


def _moved(found: GraphMatch) -> frozenset[int]:
    """Return the numbers after of nodes that others went past: as few as leave the rest in its order.

    Where nodes feed each other, what merely stands elsewhere in the list has not moved: it has to take something else,
    or follow what has moved. Where nothing does, the numbers in names are the order: of nodes whose names differ in
    their numbers only.
    """
    matched = [(a, b) for b, a in enumerate(found.mate[: found.after.count]) if a != FREE]
    if not any(any(feeds) for feeds in found.after.feeds):
        return frozenset(_out_of_line(found, matched))
    in_line = {matched[place] for place in increasing([a for a, _ in matched])}
    moved: set[int] = set()
    for a, b in matched:
        if (a, b) not in in_line:
            follows = any(source in moved for source, _ in found.after.feeds[b])
            if follows or not found.same_feeds(a, b):
                moved.add(b)
    return frozenset(moved)


def _out_of_line(found: GraphMatch, matched: list[tuple[int, int]]) -> Iterator[int]:
    families: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for a, b in matched:
        names = found.before.nodes[a].name, found.after.nodes[b].name
        families.setdefault((_NUMBER.sub("#", names[0]), _NUMBER.sub("#", names[1])), []).append((a, b))
    for family in families.values():
        ordered = sorted(family, key=lambda pair: natural(found.after.nodes[pair[1]].name))
        by_name = sorted(family, key=lambda pair: natural(found.before.nodes[pair[0]].name))
        places = {a: place for place, (a, _) in enumerate(by_name)}
        kept = set(increasing([places[a] for a, _ in ordered]))
        yield from (b for place, (_, b) in enumerate(ordered) if place not in kept)
