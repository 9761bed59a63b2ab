"""`lamella filter-process`."""

from __future__ import annotations

import click

from lamella.cli.direct import filter_process


@click.command()
def command() -> int:
    """Serve Git's filter protocol on stdin and stdout.

    Git starts this by itself, once for each command that touches model files. LAMELLA_CLEAN=identify lets it hash
    files without storing them; LAMELLA_SMUDGE=manifest leaves manifests in the worktree.
    """
    return filter_process.run([])
