"""Commands that are Git's own, with the model files written directly after Git has moved."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import open_repository, progress
from lamella.ops.gitverbs import run_verb
from lamella.repo.worktree import Filled

CONTEXT = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": ["--help"]}
arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[GIT'S ARGUMENTS]")


def run(verb: str, given: tuple[str, ...]) -> int:
    """Run a verb of Git's and fill the worktree, and return the exit code."""
    with open_repository() as repository:
        report = run_verb(repository, [verb, *given], progress())
    return report.status or show_filled(report.filled)


def show_filled(filled: Filled) -> int:
    """Print what was written, and return the exit code of the first failure."""
    if filled.paths:
        render.note(f"{render.counted(len(filled.paths), 'model file')} written, {render.size(filled.nbytes)}")
    for path, error in filled.failed:
        render.note(f"error: {path}: {error.message}")
        if error.hint:
            render.note(f"hint: {error.hint}")
    return filled.failed[0][1].exit_code if filled.failed else 0
