"""`lamella revert`."""

from __future__ import annotations

import click

from lamella.cli import passthrough, picking


@click.command(cls=passthrough.GitVerb)
@passthrough.arguments
def command(arguments: tuple[str, ...]) -> int:
    """Take back the change of commits, as `git revert` does.

    A model file that changed since comes without that change and keeps all others: what the commit added to each number
    is taken from what the branch has. Where nothing changed since, the file is bit for bit what it was. `--scale 0.5`
    takes back half of it. All of Git's arguments are understood, --continue, --skip and --abort among them.
    """
    return picking.run("revert", arguments)
