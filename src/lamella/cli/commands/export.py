"""`lamella export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lamella.cli import render
from lamella.cli.session import json_option, opened, progress, quiet_option
from lamella.cli.sizes import parse_size
from lamella.core.errors import UsageError
from lamella.core.fsio import translated
from lamella.formats.writers import NAMES
from lamella.ops.export import export
from lamella.ops.export_values import ExportOptions, ExportReport
from lamella.repo.loaded import LoadedModel
from lamella.repo.outgoing import Casting, Renaming


@click.command()
@click.argument("source", metavar="PATH|REV:PATH")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--format", type=click.Choice(NAMES), help="The container, where the name of OUT does not say it.")
@click.option("--select", multiple=True, metavar="GLOB", help="Write only these tensors; `!GLOB` leaves some out.")
@click.option(
    "--rename", multiple=True, metavar="REGEX=TEXT", help="Replace in every name what the expression matches."
)
@click.option(
    "--names", type=click.Path(path_type=Path), metavar="TABLE.json", help='Rename by a table {"old": "new"}.'
)
@click.option(
    "--dtype", multiple=True, metavar="[GLOB=]DTYPE", help="Cast floats, or what a pattern names, and say what is lost."
)
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Write this into the header, beside the tensors.")
@click.option(
    "--template", type=click.Path(path_type=Path), metavar="FILE", help="Write the tensors into a copy of FILE."
)
@click.option(
    "--shard-size", metavar="SIZE", help="Divide safetensors into files of at most SIZE, such as 2GB, and an index."
)
@click.option("--force", is_flag=True, help="Replace OUT where it is there.")
@quiet_option
@json_option
def command(source: str, out: Path, quiet: bool, as_json: bool, **given: Any) -> None:
    """Write a model as a file that a framework loads.

    The model is one at a revision, or on disk: a file of any known format, or a folder or an index of several, which go
    into one. OUT is written tensor by tensor, in bounded memory, and is there when it is whole. In the container that
    it has, and without options, the file itself comes out.

    Patterns of --select and --dtype are a shell's and match whole names as they are in the model; --rename takes
    regular expressions. Integers and quantised tensors are cast only where a pattern names them.
    """
    options = ExportOptions(
        format=given["format"],
        select=given["select"],
        names=_table(given["names"]),
        rename=[Renaming.parse(text) for text in given["rename"]],
        dtype=[Casting.parse(text) for text in given["dtype"]],
        metadata=dict(_pair(text) for text in given["metadata"]),
        template=given["template"],
        shard_nbytes=parse_size(given["shard_size"]),
        force=given["force"],
    )
    with opened(source) as model:
        report = export(LoadedModel(model), out, options, progress(quiet=quiet or as_json))
    if as_json:
        render.emit_json("export", report)
    elif not quiet:
        _show(report)


def _table(path: Path | None) -> dict[str, str]:
    """Return a table of names; refuse what is no object of strings, and a name that comes twice."""
    if path is None:
        return {}
    with translated(path, reading=True):
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
        names = dict(pairs)
        strings = all(isinstance(name, str) for pair in pairs for name in pair)
        if isinstance(pairs, tuple) and strings and len(names) == len(pairs):
            return names
    except (ValueError, TypeError, RecursionError):
        pass
    hint = 'it has to be one JSON object of strings, {"old": "new"}, each old name once'
    raise UsageError(f"{path} is no table of names", kind="bad-argument", hint=hint)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"{text!r} is not KEY=VALUE", kind="bad-argument")
    return key, value


def _show(report: ExportReport) -> None:
    for file in report.files:
        what = "the file itself" if report.restored else report.format
        render.line(f"{file.path}: {what}, {render.counted(file.tensors, 'tensor')}, {render.size(file.nbytes)}")
    loss = report.loss
    if loss is not None:
        changed = f"{loss.changed:,} of {loss.elements:,} values changed"
        errors = f"by at most {loss.max_absolute:.3g}, relatively {loss.max_relative:.3g}"
        render.line(f"cast {render.counted(loss.tensors, 'tensor')}: {changed}{f', {errors}' if loss.changed else ''}")
        if loss.overflows:
            render.warning(f"{render.counted(loss.overflows, 'value')} overflowed and are finite no more")
        if loss.flushed:
            render.line(f"{render.counted(loss.flushed, 'value')} became zero")
        if loss.nans:
            render.line(f"{loss.nans:,} NaN kept")
    if report.uncast:
        render.line(f"left as they were: {render.counted(report.uncast, 'tensor')}")
    if report.metadata_left:
        render.note(f"{render.counted(report.metadata_left, 'key')} of the metadata left behind")
