"""How what happened to layers and to the nodes of a computation graph reads on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod

from lamella.cli import render
from lamella.core.tensors import TensorSpec
from lamella.model.graph_difference import RENAMED, REWIRED, GraphDifference, NodeChange
from lamella.model.tensor_names import module_of
from lamella.ops.comparison import ModelComparison

_INDENT = "  "
_SHOWN_LAYERS = 20
_SHOWN_NODES = 20
_SHOWN_ALIKE = 12
_SHOWN_VALUE = 30


def show_structure(found: ModelComparison, *, every: bool) -> None:
    """Print which layers and nodes were added, removed, moved, renamed, changed; `every` one, or the first."""
    alignment, graph = found.alignment, found.graph
    moved = [pair for pair in alignment.layers if pair.moved]
    renamed = [pair for pair in alignment.layers if pair.before != pair.after and not pair.moved]
    rows = [
        *((f"+ {text}", "green") for text in _alone(found.added, alignment.added_layers)),
        *((f"- {text}", "red") for text in _alone(found.removed, alignment.removed_layers)),
        *((f"> {pair.before} -> {pair.after}  moved, {_sure(pair.confidence)}", "cyan") for pair in moved),
        *((f"= {pair.before} -> {pair.after}  {pair.reason}, {_sure(pair.confidence)}", "cyan") for pair in renamed),
    ]
    if not rows and (graph is None or not graph.nodes):
        return
    matched = 2 * len(alignment.pairs)
    tensors = matched + len(alignment.added) + len(alignment.removed)
    counts = {
        "added": len(alignment.added_layers),
        "removed": len(alignment.removed_layers),
        "moved": len(moved),
        "renamed": len(renamed),
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    head = f"  layers: {told}; {100 * matched / tensors:.3g} % of the tensors matched" if told else ""
    render.line(f"structure{head}", bold=True)
    limit = len(rows) if every else _SHOWN_LAYERS
    for text, colour in rows[:limit]:
        render.line(_INDENT + text, fg=colour)
    if len(rows) > limit:
        render.line(f"{_INDENT}... {len(rows) - limit:,} more")
    if graph is not None:
        _nodes(graph, every=every)


def _alone(specs: Sequence[TensorSpec], layers: Sequence[str]) -> Iterator[str]:
    """Yield the layers that one side has alone, each with its tensors, and other tensors that it has alone."""
    within: dict[str, list[TensorSpec]] = {layer: [] for layer in layers}
    others: list[TensorSpec] = []
    for spec in specs:
        within.get(spec.name, within.get(module_of(spec.name), others)).append(spec)
    for layer, owned in within.items():
        if len(owned) == 1:
            yield _described(owned[0])
        else:
            elements, nbytes = sum(prod(spec.shape) for spec in owned), sum(spec.nbytes for spec in owned)
            tensors = render.counted(len(owned), "tensor")
            yield f"{layer}  {tensors}, {render.short(elements)} elements, {render.size(nbytes)}"
    yield from map(_described, others)


def _described(spec: TensorSpec) -> str:
    return f"{spec.name}  {spec.dtype.name} {render.shape(spec.shape)}  {render.size(spec.nbytes)}"


def _sure(confidence: float) -> str:
    return f"{100 * confidence:.0f} % sure"


def _nodes(graph: GraphDifference, *, every: bool) -> None:
    """Print what became of nodes, those to which the same happened together; mere renaming is counted."""
    told = [change for change in graph.nodes if change.whats != (RENAMED,)]
    alike: dict[object, list[NodeChange]] = {}
    for change in told:
        alike.setdefault(change if REWIRED in change.whats else _happened(change), []).append(change)
    groups = list(alike.values())
    limit = len(groups) if every else _SHOWN_NODES
    for group in groups[:limit]:
        _show_nodes(group, every=every)
    if len(groups) > limit:
        summed = Counter(change.whats[0] for group in groups[limit:] for change in group)
        render.line(f"{_INDENT}... {', '.join(f'{count:,} {what}' for what, count in summed.items())} more nodes")
    if len(graph.nodes) > len(told):
        render.line(f"{_INDENT}{render.counted(len(graph.nodes) - len(told), 'node')} of the graph only renamed")


def _happened(change: NodeChange) -> tuple[object, ...]:
    """Return what happened to a node, whatever it is called."""
    return change.op, tuple(what for what in change.whats if what != RENAMED), change.attributes


def _show_nodes(group: Sequence[NodeChange], *, every: bool) -> None:
    first = group[0]
    details = [f"{one.name} {_value(one.before)} -> {_value(one.after)}" for one in first.attributes]
    if REWIRED in first.whats:
        details.append(f"inputs {', '.join(first.inputs_before)} -> {', '.join(first.inputs_after)}")
    what = f"{', '.join(_happened_words(first))}{': ' + ', '.join(details) if details else ''}"
    if len(group) == 1:
        render.line(f"{_INDENT}node {_node_name(first)} ({first.op}) {what}", fg="yellow")
        return
    render.line(f"{_INDENT}{len(group):,} nodes ({first.op}) {what}", fg="yellow")
    shown = group if every else group[:_SHOWN_ALIKE]
    for change in shown:
        render.line(f"{_INDENT * 3}{_node_name(change)}")
    if len(group) > len(shown):
        render.line(f"{_INDENT * 3}... {len(group) - len(shown):,} more; --all shows them")


def _value(value: str | None) -> str:
    return "nothing" if value is None else render.cut(value, _SHOWN_VALUE)


def _happened_words(change: NodeChange) -> list[str]:
    return [what for what in change.whats if what != RENAMED] or list(change.whats)


def _node_name(change: NodeChange) -> str:
    if change.before is not None and change.after is not None and change.before != change.after:
        return f"{change.before} -> {change.after}"
    return change.after if change.after is not None else change.before or ""
