"""What happened to a computation graph: the value that reports show."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.graphs import Extent, Port

ADDED, REMOVED, CHANGED, MOVED, RENAMED, REWIRED = "added", "removed", "changed", "moved", "renamed", "rewired"


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """One attribute of a node, its operator ("op"), the roles of its tensors ("parameters") or its output ("shape").

    A missing side did not have it.
    """

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class NodeChange:
    """One node that is not as it was. `whats` are words from above, the weightiest first, ADDED and REMOVED alone.

    `before` and `after` are names, None on the side that lacks the node. CHANGED goes with `attributes`, REWIRED with
    the inputs of both sides, those of before under the names that the nodes have now. An added or removed node has the
    inputs of its side.
    """

    before: str | None
    after: str | None
    op: str
    whats: tuple[str, ...]
    attributes: tuple[AttributeChange, ...] = ()
    inputs_before: tuple[str, ...] = ()
    inputs_after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortChange:
    """One input or output of the model, `side`, that is not as it was; a missing side did not have it."""

    side: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class GraphDifference:
    """Two graphs put beside each other: of so many nodes so many were matched, and what changed.

    A node of which `nodes` says nothing is the one of its name on the other side, as it was. `attributes` are those of
    the graphs themselves.
    """

    nodes_before: int
    nodes_after: int
    matched: int
    interface: tuple[PortChange, ...]
    nodes: tuple[NodeChange, ...]
    attributes: tuple[AttributeChange, ...] = ()

    @property
    def distance(self) -> float:
        """The structural distance 1 - 2 * matched / (nodes before + nodes after), from 0, the same, to 1.

        A matched node that does something else, by its operator, its attributes or what feeds it, counts half.
        """
        total = self.nodes_before + self.nodes_after
        other = sum(bool({CHANGED, REWIRED} & set(change.whats)) for change in self.nodes)
        return 1 - (2 * self.matched - other) / total if total else 0.0

    def count(self, what: str) -> int:
        """Return how many nodes are said to be so; a node that moved and changed counts for both."""
        return sum(what in change.whats for change in self.nodes)


def shape_text(shape: tuple[Extent, ...] | None) -> str | None:
    """Return a shape as it is printed, None where it is not known."""
    return None if shape is None else f"[{','.join('?' if extent is None else str(extent) for extent in shape)}]"


def port_text(port: Port) -> str:
    """Return type and shape of an input or output as they are printed, "?" for what is not known."""
    return f"{port.dtype or '?'} {shape_text(port.shape) or '?'}"
