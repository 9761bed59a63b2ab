"""`lamella checkout`."""

from __future__ import annotations

import click

from lamella.cli import passthrough, render
from lamella.cli.session import open_repository, progress
from lamella.ops.gitverbs import fill_worktree


@click.command(cls=passthrough.GitVerb)
@passthrough.arguments
def command(arguments: tuple[str, ...]) -> int:
    """Switch revisions or restore files, as `git checkout` does.

    Model files are written directly, in parallel and in bounded memory, and Git's index learns of them, so that a
    `git status` after it runs no filter. All of Git's arguments are understood. Without arguments, every model file of
    which the worktree has only the manifest is written.
    """
    if arguments:
        return passthrough.run_and_fill("checkout", arguments)
    with open_repository() as repository:
        filled = fill_worktree(repository, progress())
        if not filled.paths and not filled.failed:
            render.note("every model file is in the worktree")
        return passthrough.show_filled(repository, filled)
