"""`lamella log`."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from lamella.cli import changes_text, render
from lamella.cli.revisions import split_arguments
from lamella.cli.session import json_option, open_repository
from lamella.ops.changes import FileChange
from lamella.ops.log import LogEntry, log


@click.command()
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[REV...] [-- PATHS]")
@click.option("-n", "--max-count", "limit", type=click.IntRange(min=0), help="Show at most this many commits.")
@click.option("--oneline", is_flag=True, help="One line for each commit.")
@json_option
@click.pass_context
def command(ctx: click.Context, arguments: tuple[str, ...], limit: int | None, oneline: bool, as_json: bool) -> None:
    """Show the history, and what each commit changed in the model files.

    With --json, one object for each commit, a line each.
    """
    with open_repository() as repository:
        revisions, paths = split_arguments(repository, arguments, ctx)
        for entry in log(repository, revisions, paths, limit):
            if as_json:
                render.emit_json("log", {**dataclasses.asdict(entry), "files": [_counts(file) for file in entry.files]})
            elif oneline:
                _show_line(entry)
            else:
                _show(entry)


def _counts(file: FileChange) -> dict[str, Any]:
    """Return a change with the number of tensors in place of the tensors: a first commit adds thousands."""
    fields = dataclasses.asdict(file)
    fields["changes"] = len(fields.pop("tensors"))
    del fields["metadata"]
    return fields


def _show_line(entry: LogEntry) -> None:
    files = "; ".join(changes_text.one_line(entry.files, entry.repackaged))
    refs = f" ({entry.refs})" if entry.refs else ""
    render.line(f"{entry.commit[:10]}{refs} {entry.subject}{f'  [{files}]' if files else ''}")


def _show(entry: LogEntry) -> None:
    head = f"commit {entry.commit}{f' ({entry.refs})' if entry.refs else ''}"
    lines = [f"Author: {entry.author} <{entry.email}>", f"Date:   {entry.date}", ""]
    if len(entry.parents) > 1:
        lines.insert(0, f"Merge:  {' '.join(parent[:10] for parent in entry.parents)}")
    lines += [f"    {text}" for text in entry.message.split("\n")]
    if entry.files:
        lines.append("")
    lines += [f"  {text}" for text in changes_text.one_line(entry.files, entry.repackaged)]
    render.lines([render.styled(head, fg="yellow"), *map(render.styled, [*lines, ""])])
