"""`lamella merge REV --into BRANCH --ema 0.99`: one update of a running average."""

from __future__ import annotations

from lamella.cli import render
from lamella.cli.merge_json import filled_fields
from lamella.cli.merging.asked import Asked
from lamella.cli.passthrough import code_of, show_filled
from lamella.cli.session import open_repository, progress
from lamella.core.errors import UsageError
from lamella.ops.merge_average import Averaged, merge_average
from lamella.repo.evaluation_settings import evaluation_settings

_MOST_STALLED = 0.5
"""From this share on, an update that left elements as they were is worth a warning."""


def run(asked: Asked) -> int:
    """Update the branch, print what became of it, and return 0, or the code of a file that could not be written."""
    if asked.into is None or asked.ema is None:
        hint = "`lamella merge REV --into BRANCH --ema 0.99`; `git switch BRANCH` first for any other merge"
        raise UsageError("--into and --ema go together", kind="bad-argument", hint=hint)
    asked.refuse_others("a running average", "into", "ema", "message", "evaluate", "no_evaluate")
    if len(asked.commits) > 1:
        hint = "update it with one after the other"
        raise UsageError("a running average takes one revision at a time", kind="bad-argument", hint=hint)
    revision = asked.commits[0] if asked.commits else "HEAD"
    with open_repository() as repository:
        evaluation = None if asked.no_evaluate else evaluation_settings(repository.git, asked.evaluate)
        listener = progress(quiet=asked.quiet or asked.as_json)
        report = merge_average(
            repository, revision, asked.into, asked.ema, message=asked.message, evaluation=evaluation, progress=listener
        )
        if asked.as_json:
            fields = {"branch": report.branch, "before": report.before, "commit": report.commit, "files": report.files}
            render.emit_json("merge-average", {**fields, **filled_fields(report.filled)})
            return code_of(report.filled)
        _show(report, revision, quiet=asked.quiet)
        return show_filled(repository, report.filled, quiet=asked.quiet)


def _show(report: Averaged, revision: str, *, quiet: bool) -> None:
    for file in report.files:
        if file.taken and not quiet:
            shown = ", ".join(file.taken[:3]) + (", ..." if len(file.taken) > 3 else "")
            render.line(f"{file.path}: no floats, so taken as they are in {revision}: {shown}")
        if file.stalled >= _MOST_STALLED:
            share = f"{100 * file.stalled:.0f} %"
            render.warning(
                f"{file.path}: {share} of what differs did not move: the step is too small for the dtype; "
                "keep the average in float32, or lower the decay"
            )
    if quiet:
        return
    if report.commit == report.before:
        render.line(f"{report.branch} has {revision} already")
    else:
        render.line(f"{report.branch} is {report.commit[:10]}")
