"""`lamella graph`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lamella.cli import render
from lamella.cli.graph_text import graph_table
from lamella.cli.session import json_option, opened, recorded
from lamella.core.fsio import write_file
from lamella.core.graphs import LAYERS, NAMES, OPERATORS
from lamella.model.graph_difference import port_text
from lamella.model.graph_text import write_graph
from lamella.ops.graph import GraphReport, graph, node_tree

_NOUNS = {NAMES: "module", LAYERS: "layer", OPERATORS: "operator"}
_SHOWN_NAMES = 4


@click.command()
@click.argument("name", metavar="PATH|REV:PATH")
@click.option("--depth", type=click.IntRange(min=1), help="Show at most this many levels of modules.")
@click.option("--all", "unfolded", is_flag=True, help="Show every block, also those that are alike.")
@click.option("--html", "page", type=click.Path(dir_okay=False), help="Draw the graph on a page.")
@json_option
def command(name: str, depth: int | None, unfolded: bool, page: str | None, as_json: bool) -> None:
    """Show what a model computes, as a tree of its modules, with the tensors that each layer takes.

    The graph is the one recorded beside the model, `model.graph.json` of `model.safetensors`; else the one that the
    file has, as ONNX and Keras do; else the modules that the names of its tensors show. Numbered blocks that are alike
    are one line, `h.[0-11].`, whose sizes are those of all of them together. No tensor is read.
    """
    with opened(name) as model:
        report = graph(model, recorded(name))
    if page is not None:
        from lamella.pages.graph_page import graph_page

        write_file(Path(page), graph_page(report.graph, report.name).encode())
        render.note(f"wrote {page}")
    if as_json:
        text = json.loads(write_graph(report.graph))
        found = {"absent": report.absent, "unused": report.unused, "unread": report.unread, "missing": report.missing}
        totals = {"elements": report.elements, "nbytes": report.nbytes}
        render.emit_json("graph", {"name": report.name, "graph": text, **found, **totals})
        return
    _heading(report)
    render.incomplete(report.unread, report.missing)
    rows, right = graph_table(report, node_tree(report, fold=not unfolded), depth)
    render.columns(rows, right=right)
    total = f"{render.counted(len(report.tensors), 'tensor')}, {render.counted(report.elements, 'element')}"
    render.line(f"{total}, {render.size(report.nbytes)}")
    if report.unused:
        render.note(f"taken by no {_NOUNS[report.graph.level]}: {_some(report.unused)}")
    if report.absent:
        render.warning(f"the model does not have what its graph takes: {_some(report.absent)}")


def _heading(report: GraphReport) -> None:
    count = render.counted(len(report.graph.nodes), _NOUNS[report.graph.level])
    known = "known by names only" if report.graph.level == NAMES else f"from {report.graph.source}"
    render.line(f"{report.name}  {count}, {known}", bold=True)
    for title, ports in (("input", report.graph.inputs), ("output", report.graph.outputs)):
        if ports:
            render.line(f"{title}s:" if len(ports) > 1 else f"{title}:")
            render.columns([(port.name, port_text(port)) for port in ports], indent="  ")


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join([*(name[:80] for name in names[:_SHOWN_NAMES]), *([f"{more:,} more"] if more > 0 else [])])
