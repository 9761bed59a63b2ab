"""How a computation graph reads on a terminal: a row for each module and each node, totals beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lamella.cli import render
from lamella.core.graphs import NAMES, Node
from lamella.model.graph_difference import shape_text
from lamella.ops.folded_tree import Branch
from lamella.ops.graph import GraphReport

_TITLES = ("NODE", "OP", "OUTPUT", "TENSORS", "COUNT", "SIZE")
_NUMBERS = ("COUNT", "SIZE")
_SHOWN_OPERATOR = 60
_SHOWN_TENSORS = 4


def graph_table(
    report: GraphReport, branches: Iterable[Branch[Node]], depth: int | None
) -> tuple[list[list[str]], frozenset[int]]:
    """Return the rows of a graph down to `depth` levels under their titles, and which columns are flush right.

    A column in which nothing stands is left out. What is folded counts as often as it is there.
    """
    rows = list(_rows(report, branches, depth, 0, 1))
    kept = [column for column in range(len(_TITLES)) if any(row[column] for row in rows)]
    table = [[row[column] for column in kept] for row in (list(_TITLES), *rows)] if rows else []
    return table, frozenset(place for place, column in enumerate(kept) if _TITLES[column] in _NUMBERS)


def _rows(
    report: GraphReport, branches: Iterable[Branch[Node]], depth: int | None, level: int, times: int
) -> Iterator[list[str]]:
    for branch in branches:
        many = times * branch.times
        node = branch.leaf
        if node is None:
            what = [render.counted(many * branch.count, "node"), "", ""]
        else:
            what = [_operator(report, node, many), shape_text(node.shape) or "", _tensors(report, node)]
        totals = [render.short(many * branch.elements), render.size(many * branch.nbytes)]
        shown = totals if branch.elements or branch.nbytes else ["", ""]
        yield ["  " * level + (branch.label or '""'), *what, *shown]
        if depth is None or level + 1 < depth:
            yield from _rows(report, branch.branches, depth, level + 1, many)


def _operator(report: GraphReport, node: Node, times: int) -> str:
    many = f"{times} x " if times > 1 else ""
    if report.graph.level == NAMES:
        return f"{many}{node.op}"  # its attributes are what its tensors are
    told = f"{many}{node.op}"
    for name, value in node.attributes:
        if len(told) + len(name) + len(value) > _SHOWN_OPERATOR:
            return f"{told} ..."
        told += f" {name}={value}"
    return told


def _tensors(report: GraphReport, node: Node) -> str:
    told = []
    for role, name in node.parameters[:_SHOWN_TENSORS]:
        spec = report.tensors.get(name)
        told.append(f"{role} {'missing' if spec is None else f'{spec.dtype.name} {render.shape(spec.shape)}'}")
    more = len(node.parameters) - len(told)
    return ", ".join([*told, *([f"{more} more"] if more else [])])
