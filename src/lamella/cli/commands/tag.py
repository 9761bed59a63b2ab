"""`lamella tag`."""

from __future__ import annotations

import click

from lamella.cli import passthrough


@click.command(cls=passthrough.GitVerb)
@passthrough.arguments
def command(arguments: tuple[str, ...]) -> int:
    """List, make and delete tags, as `git tag` does.

    All of Git's arguments are understood.
    """
    return passthrough.run("tag", arguments)
