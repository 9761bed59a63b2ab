"""`lamella commit`."""

from __future__ import annotations

import click

from lamella.cli import passthrough
from lamella.cli.session import open_repository
from lamella.ops.gitverbs import commit_staged


@click.command(cls=passthrough.GitVerb)
@passthrough.arguments
def command(arguments: tuple[str, ...]) -> int:
    """Record what is staged, as `git commit` does.

    Objects, index and references reach the disk before the command returns. All of Git's arguments are understood.
    In a clone without `lamella init`, where Git would commit whole models, nothing is committed.
    """
    with open_repository() as repository:
        return commit_staged(repository, arguments)
