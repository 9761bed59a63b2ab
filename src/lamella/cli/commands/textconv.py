"""`lamella textconv`."""

from __future__ import annotations

import click

from lamella.cli.direct import textconv


@click.command()
@click.argument("file")
def command(file: str) -> int:
    """Print a version of a model file as text, a line a tensor.

    Git starts this by itself, for what it shows line by line: `git log -p` and `git show`.
    """
    return textconv.run([file])
