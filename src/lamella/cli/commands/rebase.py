"""`lamella rebase`."""

from __future__ import annotations

import click

from lamella.cli import passthrough


@click.command(cls=passthrough.GitVerb)
@passthrough.arguments
def command(arguments: tuple[str, ...]) -> int:
    """Put the commits of this branch on top of another one, as `git rebase` does.

    To a model file that both changed, the change of each commit is added tensor by tensor. Model files are written
    directly when Git has moved. All of Git's arguments are understood, --continue, --skip and --abort among them.
    """
    return passthrough.run_and_fill("rebase", arguments)
