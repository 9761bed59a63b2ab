"""`lamella add`."""

from __future__ import annotations

from pathlib import PurePosixPath

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository, progress, quiet_option, warn_where_not_set_up
from lamella.ops.add import AddedFile, add

_SHOWN_FOREIGN = 3


@click.command()
@click.argument("paths", nargs=-1, required=True)
@quiet_option
@json_option
def command(paths: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Stage PATHS for the next commit, as `git add` does.

    Model files are read directly and in parallel; only tensors that the store does not have yet are written, as a
    difference to the version before, or else to a relative in the store, where that is smaller. When the command
    returns, everything is on disk.
    """
    with open_repository() as repository:
        report = add(repository, paths, progress(quiet=quiet or as_json))
        if report.files:
            warn_where_not_set_up(repository)
    if as_json:
        render.emit_json("add", report)
        return
    for file in report.files:
        if file.warning is not None:
            render.warning(f"{file.path}: {file.warning}; it is kept as plain bytes")
        if file.foreign:
            render.note(foreign_note(file))
        if not quiet:
            render.line(_describe(file))
    for path in report.whole:
        pattern = f"*{PurePosixPath(path).suffix}" if PurePosixPath(path).suffix else path
        render.warning(f"{path} went into git whole: to keep it here, `lamella track '{pattern}'` and add it again")
    if not quiet and report.others:
        render.line(f"{render.counted(report.others, 'other path')} added by git")
    if not quiet and not report.files and not report.others:
        render.line("nothing to add: everything named is staged already")


def foreign_note(file: AddedFile) -> str:
    """Return the line that names code of which a file consists besides its tensors."""
    more = len(file.foreign) - _SHOWN_FOREIGN
    named = ", ".join(file.foreign[:_SHOWN_FOREIGN]) + (f" and {more} more" if more > 0 else "")
    return f"note: {file.path} names code that loading it would run ({named}); nothing of it was run"


def _describe(file: AddedFile) -> str:
    share = f", {file.stored_nbytes / file.nbytes:.1%} of {render.size(file.nbytes)}" if file.nbytes else ""
    what = render.counted(file.tensors, "part" if file.format == "opaque" else "tensor")
    new = render.counted(file.new_objects, "new object")
    return f"{file.path}: {what}, {new}, {render.size(file.stored_nbytes)} stored{share}"
