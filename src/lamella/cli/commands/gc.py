"""`lamella gc`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository, progress
from lamella.core.config import DAY_SECONDS
from lamella.ops.gc import gc


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be dropped, and drop nothing.")
@click.option("--grace-days", type=click.FloatRange(min=0), help="Keep what was written in the last days (default 14).")
@json_option
def command(dry_run: bool, grace_days: float | None, as_json: bool) -> None:
    """Drop the weights of versions that nothing reaches any more.

    Kept is what any branch, tag, note, stash, reflog, index or worktree reaches, and everything written within the
    grace period. Git's own objects are left to `git gc`.
    """
    grace_seconds = None if grace_days is None else grace_days * DAY_SECONDS
    with open_repository() as repository:
        report = gc(repository, grace_seconds=grace_seconds, dry_run=dry_run, progress=progress(quiet=as_json))
    if as_json:
        render.emit_json("gc", report)
        return
    verb = "would drop" if dry_run else "dropped"
    dropped = f"{render.counted(report.dropped_objects, 'object')}, {render.size(report.freed_nbytes)}"
    render.line(f"{verb} {dropped}")
    render.line(f"kept {render.counted(report.kept_objects, 'object')}, {render.size(report.kept_nbytes)}")
    if report.in_grace_objects:
        graced = f"{render.counted(report.in_grace_objects, 'object')}, {render.size(report.in_grace_nbytes)}"
        render.line(f"of these, {graced} are unreachable and kept by the grace period")
    if report.temporaries:
        render.line(f"removed {render.counted(report.temporaries, 'unfinished file')}")
