"""`lamella status`."""

from __future__ import annotations

import click

from lamella.cli import changes_text, render
from lamella.cli.session import json_option, open_repository, progress, warn_where_not_set_up
from lamella.ops.status import StatusReport, status


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Show the branch, and what changed in the model files and around them."""
    with open_repository() as repository:
        report = status(repository, progress(quiet=as_json))
        warn_where_not_set_up(repository)
    if as_json:
        render.emit_json("status", report)
    else:
        _show(report)


def _show(report: StatusReport) -> None:
    render.line(f"on branch {report.branch}" if report.branch else f"HEAD is detached at {(report.commit or '')[:10]}")
    if report.ahead or report.behind:
        render.line(f"{report.ahead} ahead of and {report.behind} behind its upstream")
    if report.commit is None:
        render.line("no commits yet")
    if report.under_way is not None:
        todo = "decide about what is in conflict, or" if report.conflicts else "`lamella merge --continue` ends it,"
        render.line(f"a {report.under_way} is under way: {todo} `lamella merge --abort` takes it back")
    staged = tuple(changes_text.one_line(report.staged, report.repackaged))
    _listed("staged for the next commit", staged, "green")
    unstaged = tuple(changes_text.one_line(report.unstaged, report.unstaged_repackaged))
    _listed("changed, not staged (`lamella add`)", unstaged, "red")
    conflicts = tuple(_undecided(report, path) for path in report.conflicts)
    _listed("in conflict after a merge (`lamella conflicts`)", conflicts, "red")
    _listed("models not tracked yet (`lamella add`)", report.untracked_models, "red")
    _listed("only the manifest is here (`lamella checkout` gets the file)", report.unfilled, None)
    if report.others:
        render.line("other files:")
        for letters, path in report.others:
            render.line(f"  {letters} {path}")
    if report.clean:
        render.line("nothing changed")


def _undecided(report: StatusReport, path: str) -> str:
    count = report.undecided.get(path)
    return path if count is None else f"{path}, {render.counted(count, 'tensor')}"


def _listed(title: str, lines: tuple[str, ...], colour: str | None) -> None:
    if lines:
        render.line(f"{title}:")
    for line in lines:
        render.line(f"  {line}", fg=colour)
