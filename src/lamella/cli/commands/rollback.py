"""`lamella rollback`."""

from __future__ import annotations

import os

import click

from lamella.cli import passthrough, render
from lamella.cli.session import json_option, open_repository, progress, quiet_option
from lamella.ops.rollback import RollbackReport, rollback

_SHOWN_ID = 10


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.argument("revision", metavar="REV")
@click.option("-m", "--message", metavar="TEXT", help="The message (default: what was done, and REV's subject).")
@click.option("--branch", metavar="NAME", help="The branch that gets the commit (default: the current one).")
@quiet_option
@json_option
def command(
    paths: tuple[str, ...], revision: str, message: str | None, branch: str | None, quiet: bool, as_json: bool
) -> int:
    """Make files what they were at REV, bit for bit, in a new commit.

    PATH is a model file, any other tracked file, or a folder, of which goes what REV does not have. Everything else
    stays as it is, what is staged included, and the history is only added to, so that going back can itself be undone.
    Nothing is done where changes of PATH that are not committed would be lost, or where weights are not in the store.
    """
    with open_repository() as repository:
        git = repository.git
        named = [os.path.relpath(git.directory / path, git.root) if git.worktree else path for path in paths]
        listener = progress(quiet=quiet or as_json)
        report = rollback(repository, named, revision, message, branch=branch, progress=listener)
        code = passthrough.show_filled(repository, report.filled, quiet=quiet or as_json)
    if as_json:
        filled = {"files": report.filled.paths, "nbytes": report.filled.nbytes}
        fields = {
            name: getattr(report, name) for name in ("commit", "branch", "revision", "subject", "paths", "changed")
        }
        render.emit_json("rollback", {**fields, "filled": filled})
    elif not quiet:
        _show(report)
    return code


def _show(report: RollbackReport) -> None:
    goal = f"{report.revision[:_SHOWN_ID]} ({report.subject})"
    named = ", ".join(path or "everything" for path in report.paths)
    if report.commit is None:
        render.line(f"nothing to do: {named} is as in {goal} already")
        return
    render.line(f"{report.commit[:_SHOWN_ID]} on {report.branch}: {named} as in {goal}")
    render.columns([(one.state, one.path) for one in report.changed], indent="  ")
