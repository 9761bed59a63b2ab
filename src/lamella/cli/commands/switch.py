"""`lamella switch`."""

from __future__ import annotations

import click

from lamella.cli import passthrough


@click.command(cls=passthrough.GitVerb)
@passthrough.arguments
def command(arguments: tuple[str, ...]) -> int:
    """Switch to another branch, as `git switch` does.

    Model files are written directly, in parallel and in bounded memory, and Git's index learns of them, so that a
    `git status` after it runs no filter. All of Git's arguments are understood.
    """
    return passthrough.run_and_fill("switch", arguments)
