"""How a comparison of two models reads on a terminal, 80 columns wide and without colour if need be."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from lamella.cli import render
from lamella.cli.changes_text import show_metadata
from lamella.model.difference import TensorDifference
from lamella.model.graph_difference import RENAMED, REWIRED, GraphDifference, NodeChange
from lamella.ops.comparison import ModelComparison, Total

_SHOWN_TENSORS = 20
_SHOWN_LAYERS = 20
_SHOWN_NODES = 20
_SHOWN_ALIKE = 12
_LEAST_NAME = 24
_UNLIMITED = 1 << 16
_INDENT = "  "
_TOLD_BY_GRAPH = ("layer:", "nodes.")
"""Metadata that says of the layers and operators of a file what its graph says better."""
_HEADINGS = ("TENSOR", "D", "REL L2", "1-COS", "CHANGED", "MAX ULP", "")


def show_comparison(found: ModelComparison, *, every: bool = False) -> None:
    """Print what changed: interface, structure, parameters, training; `every` tensor, or those that moved furthest."""
    _heading(found)
    _interface(found)
    _structure(found, every=every)
    _parameters(found, every=every)
    other = [one for one in found.other if found.graph is None or not one.key.startswith(_TOLD_BY_GRAPH)]
    for title, changes in (("training", found.training), ("metadata", other)):
        if changes:
            render.line(title, bold=True)
            show_metadata(changes)


def _heading(found: ModelComparison) -> None:
    container = found.format_after
    if found.format_before != found.format_after:
        container = f"{found.format_before} -> {found.format_after}"
    names = found.after if found.before == found.after else f"{found.before} -> {found.after}"
    render.line(f"{names}: {container}", bold=True)
    render.line(f"difference  {total_line(found.total)}")


def total_line(total: Total) -> str:
    """Return the weighted total with its parts, in one line."""
    parts = ", ".join(
        f"{part.name} {'unknown' if part.distance is None else f'{part.distance:.3g}'}" for part in total.parts
    )
    return f"{total.value:.3g}  ({parts})"


def _interface(found: ModelComparison) -> None:
    if not found.interface:
        return
    render.line("interface", bold=True)
    for one in found.interface:
        before, after = (_cut(value) if value is not None else "nothing" for value in (one.before, one.after))
        render.line(f"{_INDENT}! {one.what} {one.name}: {before} -> {after}", fg="magenta")


def _cut(value: str, limit: int = 60) -> str:
    return f"{value[:limit]}..." if len(value) > limit else value


def _structure(found: ModelComparison, *, every: bool) -> None:
    alignment, graph = found.alignment, found.graph
    moved = [pair for pair in alignment.layers if pair.moved]
    renamed = [pair for pair in alignment.layers if pair.before != pair.after and not pair.moved]
    rows: list[tuple[str, str]] = []
    rows += [(f"+ {name}", "green") for name in alignment.added_layers]
    rows += [(f"- {name}", "red") for name in alignment.removed_layers]
    rows += [(f"> {pair.before} -> {pair.after}  moved, {_sure(pair.confidence)}", "cyan") for pair in moved]
    rows += [(f"= {pair.before} -> {pair.after}  {pair.reason}, {_sure(pair.confidence)}", "cyan") for pair in renamed]
    if not rows and (graph is None or not graph.nodes):
        return
    matched = 2 * len(alignment.pairs)
    tensors = matched + len(alignment.added) + len(alignment.removed)
    share = f"{100 * matched / tensors:.3g} %" if tensors else "none"
    counts = [
        f"{len(alignment.added_layers):,} added",
        f"{len(alignment.removed_layers):,} removed",
        f"{len(moved):,} moved",
        f"{len(renamed):,} renamed",
    ]
    told = ", ".join(count for count in counts if not count.startswith("0 "))
    render.line("structure" + (f"  layers: {told}; {share} of the tensors matched" if told else ""), bold=True)
    limit = len(rows) if every else _SHOWN_LAYERS
    for text, colour in rows[:limit]:
        render.line(_INDENT + text, fg=colour)
    if len(rows) > limit:
        render.line(f"{_INDENT}... {len(rows) - limit:,} more layers")
    if graph is not None:
        _nodes(graph, every=every)


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
    details = [
        f"{one.name} {_cut(one.before or 'nothing', 30)} -> {_cut(one.after or 'nothing', 30)}"
        for one in first.attributes
    ]
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


def _happened_words(change: NodeChange) -> list[str]:
    return [what for what in change.whats if what != RENAMED] or list(change.whats)


def _node_name(change: NodeChange) -> str:
    if change.before is not None and change.after is not None and change.before != change.after:
        return f"{change.before} -> {change.after}"
    return change.after if change.after is not None else change.before or ""


def _parameters(found: ModelComparison, *, every: bool) -> None:
    moved = [one for one in found.tensors if not one.same]
    if not moved:
        count = render.counted(len(found.tensors), "tensor")
        render.line(f"parameters  {count}, all the same" if found.tensors else "parameters  none in common", bold=True)
        return
    points = sum(one.change_point for one in moved)
    same = len(found.tensors) - len(moved)
    head = f"{len(moved):,} of {render.counted(len(found.tensors), 'tensor')} moved, {points:,} beyond epsilon"
    head += f"; {same:,} the same" if same else ""
    rounding = [one for one in moved if one.rounding_only]
    if len(rounding) == len(moved):
        head += "; all of it is rounding"
    render.line(f"parameters  {head}", bold=True)
    shown = moved if every else sorted(moved, key=_weight, reverse=True)[:_SHOWN_TENSORS]
    _table(shown)
    if len(moved) > len(shown):
        render.line(f"{_INDENT}... {len(moved) - len(shown):,} more moved less; --all shows them")


def _weight(one: TensorDifference) -> tuple[float, float]:
    """Sort by relative change; what went to or from NaN first, what cannot be measured last."""
    if one.measures is None:
        return (-1.0, 0.0)
    relative = one.measures.relative
    if one.measures.finite + one.measures.both < one.measures.count:
        return (float("inf"), float(one.measures.count))
    return (float("inf") if relative is None else relative, one.measures.mean_absolute)


def _table(shown: Sequence[TensorDifference]) -> None:
    cells = [(_name(one), *_cells(one)) for one in shown]
    width = _UNLIMITED if not sys.stdout.isatty() else shutil.get_terminal_size().columns
    rest = [max(len(row[column]) for row in (_HEADINGS, *cells)) for column in range(1, len(_HEADINGS))]
    room = max(_LEAST_NAME, width - len(_INDENT) - sum(rest) - 2 * len(rest))
    rows = [(shortened(name, room), *others) for name, *others in cells]
    render.columns([_HEADINGS, *rows], indent=_INDENT, right=frozenset(range(1, 6)))


def shortened(name: str, width: int) -> str:
    """Return a name with its middle left out where it is longer than `width`: its ends tell the most."""
    if len(name) <= width:
        return name
    tail = (width - 3) * 2 // 3
    return f"{name[: width - 3 - tail]}...{name[len(name) - tail :]}"


def _name(one: TensorDifference) -> str:
    return f"{one.before.name} -> {one.after.name}" if one.pair.renamed else one.after.name


def _cells(one: TensorDifference) -> Iterator[str]:
    found = one.measures
    if found is None:
        yield from ("-", "-", "-", "-", "-", one.unread)
        return
    yield f"{found.mean_absolute:.2g}"
    yield "new" if found.relative is None else percent(found.relative)
    yield "-" if found.cosine_distance is None else f"{found.cosine_distance:.1g}"
    yield f"{100 * found.changed / found.count:.0f}%" if found.count else "-"
    yield render.short(found.ulp_max) if found.ulps else "-"
    yield "; ".join(_remarks(one))


def percent(share: float) -> str:
    """Return a share in percent: two digits, or all of them before the point."""
    return f"{100 * share:.2g}%" if share < 1 else f"{100 * share:,.0f}%"


def _remarks(one: TensorDifference) -> Iterator[str]:
    found = one.measures
    assert found is not None
    if one.recast:
        yield f"{one.before.dtype.name} -> {one.after.dtype.name}"
    if one.overlap is not None:
        yield f"{render.shape(one.before.shape)} -> {render.shape(one.after.shape)}"
    for what, before, after in (
        ("NaN", found.nan_before, found.nan_after),
        ("infinite", found.infinite_before, found.infinite_after),
    ):
        if before != after:
            yield f"{what}: {before:,} -> {after:,}"
    if one.rounding_only:
        yield "rounding"
    if one.row_points and one.row_points <= one.row_count // 2:
        yield f"{one.row_points:,} of {one.row_count:,} rows"
    if one.spectrum is not None:
        yield f"rank {one.spectrum.rank:,}{'' if one.spectrum.exact else '+'}"
