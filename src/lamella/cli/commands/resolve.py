"""`lamella resolve`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.merging.asked import parameters
from lamella.cli.session import json_option, open_repository, progress, quiet_option
from lamella.core.errors import UsageError
from lamella.model.merging.rules import Choice
from lamella.ops.resolve import resolve


@click.command()
@click.argument("globs", nargs=-1, required=True, metavar="GLOB...")
@click.option("--ours", is_flag=True, help="Take the tensor of this branch.")
@click.option("--theirs", is_flag=True, help="Take the tensor of what is merged into it.")
@click.option("--base", is_flag=True, help="Take the tensor that both come from.")
@click.option("--strategy", metavar="S", help="Merge it, as `lamella merge --strategy` does.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="A number that the strategy takes.")
@click.option("--path", "paths", multiple=True, type=click.Path(), help="Only in this model file.")
@quiet_option
@json_option
def command(
    globs: tuple[str, ...],
    ours: bool,
    theirs: bool,
    base: bool,
    strategy: str | None,
    params: tuple[str, ...],
    paths: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Decide about tensors in conflict whose names match GLOB, or about all of a model file, by its path.

    With the last one of a file decided, the file is merged anew, written to the worktree and staged, as `git add`
    would. A file that cannot be merged in parts is taken whole: by its path, with --ours or --theirs. Your own answer
    is as good: edit the file and `lamella add` it, or take a side with `git checkout --ours PATH`.
    """
    sides = [name for name, is_set in (("ours", ours), ("theirs", theirs), ("base", base)) if is_set]
    ways = [*sides, *([] if strategy is None else [strategy])]
    if len(ways) != 1:
        said = "two ways to resolve are named" if ways else "it is not said how to resolve"
        raise UsageError(said, kind="bad-argument", hint="one of --ours, --theirs, --base and --strategy S")
    choice = Choice(ways[0], parameters(params))
    with open_repository() as repository:
        done = resolve(repository, globs, choice, paths, progress(quiet=quiet or as_json))
    if as_json:
        render.emit_json("resolve", {"files": done})
        return
    for file in () if quiet else done:
        what = render.counted(len(file.tensors), "tensor") if file.tensors else "the whole file"
        rest = "settled and staged" if file.staged else f"{file.open:,} left"
        render.line(f"{file.path}: {what} resolved, {rest}")
