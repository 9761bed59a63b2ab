"""`lamella commit`."""

from __future__ import annotations

import click

from lamella.cli import passthrough


@click.command(cls=passthrough.GitVerb)
@passthrough.arguments
def command(arguments: tuple[str, ...]) -> int:
    """Record what is staged, as `git commit` does.

    Objects, index and references reach the disk before the command returns. All of Git's arguments are understood.
    """
    return passthrough.run("commit", arguments)
