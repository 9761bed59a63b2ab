"""`lamella init`."""

from __future__ import annotations

from pathlib import Path

import click

from lamella.cli import render
from lamella.cli.session import command_for_git, json_option, quiet_option
from lamella.ops.init import init


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=".")
@quiet_option
@json_option
def command(directory: Path, quiet: bool, as_json: bool) -> None:
    """Set up Lamella in a Git repository, and make one where there is none.

    Only this repository's own settings and hooks are touched. Running it again changes nothing, or repairs what is
    broken. After it, plain `git add`, `git commit` and `git checkout` work on model files.
    """
    report = init(directory, command_for_git())
    if as_json:
        render.emit_json("init", report)
    elif not quiet:
        for step in report.steps:
            render.line(step)
        if not report.steps:
            render.line(f"already set up in {report.worktree}")
        for sentence in report.notes:
            render.warning(sentence)
        render.line("next: `lamella track --models`, then `lamella add` a model")
