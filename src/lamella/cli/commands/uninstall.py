"""`lamella uninstall`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository
from lamella.ops.init import uninstall


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Take Lamella's settings and hooks out of this repository.

    The store, the history and the files of the worktree stay; `lamella init` puts everything back. Without the
    settings, Git compares model files with their manifests and shows them as changed.
    """
    with open_repository() as repository:
        report = uninstall(repository)
    if as_json:
        render.emit_json("uninstall", report)
        return
    for step in report.steps or ("nothing was set up here",):
        render.line(step)
    render.line(f"the weights stay in {report.store}; `lamella init` sets everything up again")
