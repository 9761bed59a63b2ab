"""`lamella merge-driver`."""

from __future__ import annotations

import click

from lamella.cli.direct import merge_driver


@click.command()
@click.argument("base")
@click.argument("ours")
@click.argument("theirs")
@click.argument("marker_size")
@click.argument("path")
def command(base: str, ours: str, theirs: str, marker_size: str, path: str) -> int:
    """Merge one model file, tensor by tensor.

    Git starts this by itself for each model file that both sides changed, and takes the result from the file OURS. In a
    merge or a pull the project's rules hold; a cherry-pick, a revert, a rebase and a stash add the change. Rules of a
    command line come as JSON in LAMELLA_MERGE.
    """
    return merge_driver.run([base, ours, theirs, marker_size, path])
