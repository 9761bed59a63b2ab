"""`lamella ls`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import json_option, opened
from lamella.cli.tree_text import tree_rows
from lamella.ops.ls import LsReport, ls
from lamella.ops.tensor_tree import tensor_tree

_SHOWN_VALUE = 200
_SHOWN_OTHERS = 8


@click.command()
@click.argument("name", metavar="PATH|REV:PATH")
@click.argument("patterns", nargs=-1, metavar="[GLOB...]")
@click.option("--depth", type=click.IntRange(min=1), help="Show at most this many levels of names.")
@click.option("--all", "unfolded", is_flag=True, help="Show every layer, also those that are alike.")
@click.option("--flat", is_flag=True, help="One line for each tensor, with its whole name.")
@click.option("--metadata", is_flag=True, help="Show what the file says beside its tensors.")
@json_option
def command(
    name: str, patterns: tuple[str, ...], depth: int | None, unfolded: bool, flat: bool, metadata: bool, as_json: bool
) -> None:
    """List the tensors of a model as a tree, with types, shapes and sizes.

    Numbered layers that are alike are one line, `h.[0-11].`, whose sizes are those of all of them together. GLOBs say
    which tensors are shown, `*` stands for any letters. A PATH is a file or a folder anywhere, in a repository or not;
    the folder or the index of a sharded model is one model. Only headers are read, save where files of a folder have
    tensors of one name, which are compared.
    """
    with opened(name) as model:
        report = ls(model, patterns, metadata=metadata or as_json)
    if as_json:
        totals = {"elements": report.elements, "nbytes": report.nbytes}
        around = {"others": report.others, "unread": report.unread, "missing": report.missing}
        fields = {"name": report.name, "files": report.files, **around, "tensors": report.tensors}
        render.emit_json("ls", {**fields, **totals})
        return
    _heading(report)
    if metadata:
        _metadata(report)
    if flat:
        rows = [
            [one.name, one.dtype, render.shape(one.shape), render.short(one.elements), render.size(one.nbytes)]
            for one in report.tensors
        ]
    else:
        rows = list(tree_rows(tensor_tree(report.tensors, fold=not unfolded), depth))
    if rows:
        render.columns([["TENSOR", "DTYPE", "SHAPE", "COUNT", "SIZE"], *rows], right=frozenset({3, 4}))
    total = f"{render.counted(len(report.tensors), 'tensor')}, {render.counted(report.elements, 'element')}"
    render.line(f"{total}, {render.size(report.nbytes)}")


def _heading(report: LsReport) -> None:
    if len(report.files) == 1:
        render.line(f"{report.name}  {report.files[0].format}", bold=True)
    else:
        render.line(f"{report.name}  {render.counted(len(report.files), 'file')}", bold=True)
        rows = [(file.path, file.format, render.counted(file.tensors, "tensor")) for file in report.files]
        render.columns(rows, indent="  ", right=frozenset({2}))
    if report.others:
        more = len(report.others) - _SHOWN_OTHERS
        shown = [*report.others[:_SHOWN_OTHERS], *([f"{more} more"] if more > 0 else [])]
        render.line(f"beside them: {', '.join(shown)}")
    render.incomplete(report.unread, report.missing)


def _metadata(report: LsReport) -> None:
    for file in report.files:
        render.line(f"metadata of {file.path}:" if len(report.files) > 1 else "metadata:")
        if file.metadata is None:
            render.line("  not here: the store does not have it")
        for key, value in (file.metadata or {}).items():
            render.line(f"  {key}: {value[:_SHOWN_VALUE]}{'...' if len(value) > _SHOWN_VALUE else ''}")
