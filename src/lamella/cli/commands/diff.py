"""`lamella diff`."""

from __future__ import annotations

import click

from lamella.cli import changes_text, render
from lamella.cli.revisions import split_arguments
from lamella.cli.session import json_option, open_repository, opened, progress
from lamella.ops.diff import diff, diff_models


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[A [B]] [-- PATHS]")
@click.option("--stat", is_flag=True, help="One line for each file, none for the tensors.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where something differs.")
@click.option("--no-index", is_flag=True, help="Compare two models, each a file or a folder anywhere, or REV:PATH.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, arguments: tuple[str, ...], stat: bool, exit_code: bool, no_index: bool, as_json: bool
) -> int:
    """Show which tensors differ between two revisions.

    With one revision, compare it with the worktree; with none, compare the index with the worktree. `A..B` is the same
    as `A B`, `A...B` compares B with what both come from. `REV:PATH REV:PATH` compares two models, files or folders.
    Files that are no models are left to `git diff`.
    """
    if no_index:
        if len(arguments) != 2:
            raise click.UsageError("--no-index compares two models")
        with opened(arguments[0]) as before, opened(arguments[1]) as after:
            report = diff_models(before, after)
    else:
        with open_repository() as repository:
            revisions, paths = split_arguments(repository, arguments, ctx)
            report = diff(repository, revisions, paths, progress(quiet=as_json))
    if as_json:
        render.emit_json("diff", report)
    else:
        for text, file in changes_text.told(report.files, report.repackaged):
            if file is None:
                render.line(text, bold=True)
            else:
                changes_text.show_file(file, stat=stat)
        render.incomplete((), report.missing)
        if not report.files:
            render.note(f"no model file differs between {report.before} and {report.after}")
    return 1 if exit_code and report.files else 0
