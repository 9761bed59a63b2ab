"""Commands that are Git's own, with the model files written directly after Git has moved."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import open_repository, progress, warn_where_not_set_up
from lamella.ops.gitverbs import run_verb
from lamella.repo.filling import Filled
from lamella.repo.repository import Repository

arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[GIT'S ARGUMENTS]")


class GitVerb(click.Command):
    """A command that hands all its arguments to Git as they were given, ``--`` included."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take everything but a first ``--help``."""
        if args[:1] == ["--help"]:
            return super().parse_args(ctx, args)
        ctx.params["arguments"] = tuple(args)
        return []


def run(verb: str, given: tuple[str, ...]) -> int:
    """Run a verb of Git's that leaves the worktree alone, and return its exit code."""
    with open_repository() as repository:
        return repository.git.passthrough([verb, *given])


def run_and_fill(verb: str, given: tuple[str, ...]) -> int:
    """Run a verb of Git's and write the model files that it put into the worktree, and return the exit code."""
    quiet = bool({"-q", "--quiet"} & set(given))
    with open_repository() as repository:
        report = run_verb(repository, [verb, *given], progress(quiet=quiet))
        code = show_filled(repository, report.filled, quiet=quiet)
    return report.status or code


def show_filled(repository: Repository, filled: Filled, *, quiet: bool = False) -> int:
    """Print what was written, and return the exit code of the first failure."""
    if filled.paths:
        warn_where_not_set_up(repository)
    if filled.paths and not quiet:
        render.note(f"{render.counted(len(filled.paths), 'model file')} written, {render.size(filled.nbytes)}")
    for path, error in filled.failed:
        render.note(f"error: {path}: {error.message}")
        if error.hint:
            render.note(f"hint: {error.hint}")
    return code_of(filled)


def code_of(filled: Filled) -> int:
    """Return the exit code of the first file that could not be written."""
    return filled.failed[0][1].exit_code if filled.failed else 0
