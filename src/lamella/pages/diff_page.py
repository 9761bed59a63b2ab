"""The report of `diff` as a web page: summary, map, most changed, every tensor, the two graphs."""

from __future__ import annotations

from lamella.core.graphs import Graph
from lamella.ops.comparison import ModelComparison
from lamella.pages.diff_bars import most_changed
from lamella.pages.diff_graph import graph_rows
from lamella.pages.diff_map import map_section
from lamella.pages.diff_summary import summary
from lamella.pages.diff_tables import graph_section, notes, tensor_section
from lamella.pages.frame import framed
from lamella.pages.markup import shown
from lamella.pages.page import page
from lamella.pages.tensor_rows import tensor_rows

SCRIPTS = ("table.js", "details.js", "map.js", "columns.js")


def diff_page(comparison: ModelComparison, graphs: tuple[Graph | None, Graph | None] = (None, None)) -> str:
    """Return a comparison as the text of one HTML page, which loads nothing and needs no network.

    `graphs` are those of before and after; without them the page shows of structure what the comparison says. A page
    stays below some 5 MB however large the models are: it tells what of them it leaves out. Structure stands before
    weights where it changed, and where no weight moved there is no map of what did.
    """
    tensors, graph = tensor_rows(comparison), graph_rows(comparison, graphs)
    structure = ("graph", "Structure", graph_section(graph))
    moved = ("map", "Where it moved", map_section(comparison)), ("most", "Most changed", most_changed(comparison))
    rebuilt = bool(comparison.graph and comparison.graph.nodes) or bool(comparison.removed or comparison.added)
    sections = [
        ("summary", "Summary", summary(comparison)),
        *([structure] if rebuilt else ()),
        *(() if all(one.same for one in comparison.tensors) else moved),
        ("tensors", "Tensors", tensor_section(tensors)),
        *(() if rebuilt else [structure]),
        ("notes", "Measures", notes()),
    ]
    title = f"{shown(comparison.before)} → {shown(comparison.after)}"
    return page(title, framed("Model comparison", sections), {"tensors": tensors, "graph": graph}, SCRIPTS)
