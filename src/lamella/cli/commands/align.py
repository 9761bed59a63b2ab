"""`lamella align`."""

from __future__ import annotations

import dataclasses

import click

from lamella.cli import render
from lamella.cli.alignment_text import HEAD, layer_rows, summary, tensor_rows
from lamella.cli.session import json_option, known_sketches, opened, progress
from lamella.ops.align import align_models


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--tensors", is_flag=True, help="One line for each tensor, not for each layer.")
@click.option("--all", "everything", is_flag=True, help="Show also what kept its name, its place and its size.")
@json_option
def command(before: str, after: str, tensors: bool, everything: bool, as_json: bool) -> None:
    """Show which layer of a model became which of another.

    A and B are models, each a file or a folder anywhere, or REV:PATH. Layers are matched by their weights, whatever
    they are called: renamed (`=`), moved (`>`) and resized ones (`!`) are told from those that were added (`+`) or
    removed (`-`). Each match has a reason and how sure it is, from 0 to 1; below 0.3 (`?`) nothing but the name, or the
    place in a block, speaks for it.

    The reason is `content`, the same bytes; `name`, with similar weights; `block`, the place in a block of layers that
    became another; `weights`, which are similar, and nothing else; `resized`, where shapes differ and what both have is
    alike; or `order`, where there is nothing else to go by.
    """
    with opened(before) as old, opened(after) as new:
        report = align_models(old, new, known_sketches(), progress(quiet=as_json))
    if as_json:
        alignment = report.alignment
        told = {field.name: getattr(alignment, field.name) for field in dataclasses.fields(alignment)}
        render.emit_json("align", {"before": report.before, "after": report.after, **told})
        return
    rows = (
        tensor_rows(report, everything=everything) if tensors else layer_rows(report.alignment, everything=everything)
    )
    shown = list(rows)
    if shown:
        render.columns([HEAD, *shown], right=frozenset({4}))
    render.line(summary(report.alignment))
