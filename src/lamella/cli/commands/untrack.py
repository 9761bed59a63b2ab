"""`lamella untrack`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.commands.track import show
from lamella.cli.session import json_option, open_repository
from lamella.ops.track import untrack


@click.command()
@click.argument("patterns", nargs=-1, required=True)
@json_option
def command(patterns: tuple[str, ...], as_json: bool) -> None:
    """Stop keeping the files that match PATTERNS.

    What is committed stays as it is; from the next `git add` on, Git keeps the files itself.
    """
    with open_repository() as repository:
        report = untrack(repository, patterns)
    if as_json:
        render.emit_json("untrack", report)
    else:
        show(report, patterns, "no longer kept by lamella", "was not kept by lamella")
