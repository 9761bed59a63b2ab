"""Two graphs beside each other, line by line, as the script of a page takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lamella.core.graphs import Graph, Node
from lamella.core.limits import MAX_PAGE_ROWS
from lamella.model.graph_difference import (
    ADDED,
    CHANGED,
    MOVED,
    REMOVED,
    RENAMED,
    REWIRED,
    GraphDifference,
    NodeChange,
)
from lamella.model.sequences import increasing
from lamella.ops.comparison import ModelComparison
from lamella.pages.markup import shown
from lamella.pages.numbers import extents
from lamella.pages.places import block

MARKS = (ADDED, REMOVED, CHANGED, MOVED, RENAMED, REWIRED)
"""What can be true of a node, in the order of their bits."""

_MOST_NOTES = 6


@dataclass(frozen=True, slots=True)
class _Line:
    """A node before, or after, or both; `plain` lines in a row can be told as their number."""

    group: str
    marks: tuple[str, ...]
    before: tuple[str, str, str] | None
    after: tuple[str, str, str] | None
    notes: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        return not self.marks and not self.notes


def graph_rows(comparison: ModelComparison, graphs: tuple[Graph | None, Graph | None]) -> dict[str, Any] | None:
    """Return the lines of two graphs in groups by block, None where nothing is known of their structure.

    A line is the marks as bits, what stands on the left, what on the right, notes; a side is operator, name, shape, or
    0 for nothing, and 1 on the right is the same as the left. A number stands for so many nodes as before. A node that
    moved stands where it was and where it is. Lines of more than a page holds are of what changed alone.
    """
    before, after = graphs
    if comparison.graph is not None and before is not None and after is not None:
        lines, unlisted = _beside(comparison.graph, before.nodes, after.nodes), 0
    elif comparison.graph is not None:
        lines = [_line(change, None, None) for change in comparison.graph.nodes]
        both = sum(change.before is not None and change.after is not None for change in comparison.graph.nodes)
        unlisted = comparison.graph.matched - both
    else:
        lines, unlisted = list(_layers(comparison)), 0
    if not lines and not unlisted:
        return None
    brief = len(lines) > MAX_PAGE_ROWS
    return {
        "marks": MARKS,
        "sides": [shown(comparison.before), shown(comparison.after)],
        "groups": [
            _group(name, list(group), brief) for name, group in groupby(_bounded(lines), lambda line: line.group)
        ],
        "unlisted": unlisted,
        "beyond": len(lines) - len(_bounded(lines)),
    }


def _bounded(lines: list[_Line]) -> list[_Line]:
    """Return the lines up to where so many are no plain ones that a page is full."""
    told = 0
    for index, line in enumerate(lines):
        told += not line.plain
        if told > MAX_PAGE_ROWS:
            return lines[:index]
    return lines


def _group(name: str, lines: Sequence[_Line], brief: bool) -> dict[str, Any]:
    rows: list[Any] = []
    for plain, run in groupby(lines, lambda line: line.plain):
        if plain and brief:
            rows.append(sum(1 for _ in run))
        else:
            rows += map(_row, run)
    counts = [sum(mark in line.marks for line in lines) for mark in MARKS]
    return {"name": shown(name), "nodes": len(lines), "counts": counts, "rows": rows}


def _row(line: _Line) -> list[Any]:
    bits = sum(1 << MARKS.index(mark) for mark in line.marks)
    same = line.before == line.after
    row: list[Any] = [bits, line.before or 0, 1 if same else line.after or 0]
    return [*row, line.notes] if line.notes else row


def _beside(difference: GraphDifference, before: Sequence[Node], after: Sequence[Node]) -> list[_Line]:
    """Return both graphs in their orders: pairs that are in order on both sides share a line."""
    changes_before = {change.before: change for change in difference.nodes if change.before is not None}
    changes_after = {change.after: change for change in difference.nodes if change.after is not None}
    at_before = {node.name: index for index, node in enumerate(before)}
    partner: dict[int, int] = {}
    for index, node in enumerate(after):
        change = changes_after.get(node.name)
        name = change.before if change else None if node.name in changes_before else node.name
        if name in at_before:
            partner[index] = at_before[name]
    indexes = list(partner)
    shared = {indexes[place] for place in increasing([partner[index] for index in indexes])}
    lines: list[_Line] = []
    left = 0
    came_from = set(partner.values())
    for index, node in enumerate(after):
        change = changes_after.get(node.name)
        if index not in shared:
            lines.append(_line(change, None, node, moved=index in partner))
            continue
        lines += _left_alone(before[left : partner[index]], changes_before, came_from, left)
        left = partner[index] + 1
        lines.append(_line(change, before[partner[index]], node))
    return lines + _left_alone(before[left:], changes_before, came_from, left)


def _left_alone(nodes: Sequence[Node], changes: dict[str, NodeChange], pairs: set[int], start: int) -> list[_Line]:
    """Return the lines of nodes that stand on the left alone: they were removed, or went elsewhere."""
    return [_line(changes.get(node.name), node, None, moved=index in pairs) for index, node in enumerate(nodes, start)]


def _line(change: NodeChange | None, before: Node | None, after: Node | None, *, moved: bool = False) -> _Line:
    if before is None and after is None:
        assert change is not None
        left = (shown(change.op), shown(change.before), "") if change.before is not None else None
        right = (shown(change.op), shown(change.after), "") if change.after is not None else None
        return _Line(block(_module(change.after or change.before or "")), change.whats, left, right, _notes(change))
    newest = after or before
    assert newest is not None
    alone = () if before and after else (MOVED,) if moved else (ADDED,) if after else (REMOVED,)
    whats = change.whats if change else ()
    marks = (*alone, *(what for what in whats if what not in (ADDED, REMOVED, *alone)))
    group = block(newest.module or _module(newest.name))
    notes = _notes(change) if change and after else ()
    return _Line(group, marks, _side(before) if before else None, _side(after) if after else None, notes)


def _side(node: Node) -> tuple[str, str, str]:
    return shown(node.op), shown(node.name), "" if node.shape is None else extents(node.shape)


def _module(name: str) -> str:
    """Return the module that a name of a node or layer suggests."""
    return name.lstrip("/").rpartition("/" if "/" in name.lstrip("/") else ".")[0]


def _notes(change: NodeChange) -> tuple[str, ...]:
    notes = [
        f"{shown(attribute.name)}: {_or_none(attribute.before)} → {_or_none(attribute.after)}"
        for attribute in change.attributes[:_MOST_NOTES]
    ]
    if len(change.attributes) > _MOST_NOTES:
        notes.append(f"and {len(change.attributes) - _MOST_NOTES} more")
    if REWIRED in change.whats:
        notes.append(f"takes {_inputs(change.inputs_before)} → {_inputs(change.inputs_after)}")
    return tuple(notes)


def _or_none(value: str | None) -> str:
    return "nothing" if value is None else shown(value) or '""'


def _inputs(names: Sequence[str]) -> str:
    kept = ", ".join(shown(name) or "nothing" for name in names[:_MOST_NOTES]) or "nothing"
    return f"{kept}, …" if len(names) > _MOST_NOTES else kept


def _layers(comparison: ModelComparison) -> Iterator[_Line]:
    """Yield the layers that names show, where there is no graph: those of after, then those that are gone."""
    alignment = comparison.alignment
    for pair in alignment.layers:
        marks = tuple(mark for mark, true in ((MOVED, pair.moved), (RENAMED, pair.before != pair.after)) if true)
        yield _Line(block(pair.after), marks, ("", shown(pair.before), ""), ("", shown(pair.after), ""))
    for name in alignment.added_layers:
        yield _Line(block(name), (ADDED,), None, ("", shown(name), ""))
    for name in alignment.removed_layers:
        yield _Line(block(name), (REMOVED,), ("", shown(name), ""), None)
