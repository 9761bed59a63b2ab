"""`lamella gc`."""

from __future__ import annotations

import dataclasses

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository, progress
from lamella.core.config import DAY_SECONDS
from lamella.ops.gc import gc
from lamella.ops.repack import repack
from lamella.store.gc import Collected
from lamella.store.repack import Repacked


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--grace-days", type=click.FloatRange(min=0), help="Keep what was written in the last days (default 14).")
@click.option(
    "--repack",
    "with_repack",
    is_flag=True,
    help="Then choose anew what every stored tensor leans on, over the whole history, and store it so.",
)
@json_option
def command(dry_run: bool, grace_days: float | None, with_repack: bool, as_json: bool) -> None:
    """Drop the weights of versions that nothing reaches any more.

    Kept is what any branch, tag, note, stash, reflog, index or worktree reaches, and everything written within the
    grace period. Git's own objects are left to `git gc`.

    With --repack, what is kept is made as small as it can be while no version takes more than twice as long to restore
    as one that is stored alone. No version changes. It may be interrupted at any time and goes on the next time.
    """
    grace_seconds = None if grace_days is None else grace_days * DAY_SECONDS
    listener = progress(quiet=as_json)
    with open_repository() as repository:
        report = gc(repository, grace_seconds=grace_seconds, dry_run=dry_run, progress=listener)
        repacked = None
        if with_repack:
            repacked = repack(repository, grace_seconds=grace_seconds, dry_run=dry_run, progress=listener)
    if as_json:
        fields = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
        render.emit_json("gc", fields | ({} if repacked is None else {"repacked": repacked}))
        return
    _print_collected(report, dry_run=dry_run)
    if repacked is not None:
        _print_repacked(repacked, dry_run=dry_run)


def _print_collected(report: Collected, *, dry_run: bool) -> None:
    verb = "would drop" if dry_run else "dropped"
    dropped = f"{render.counted(report.dropped_objects, 'object')}, {render.size(report.freed_nbytes)}"
    render.line(f"{verb} {dropped}")
    render.line(f"kept {render.counted(report.kept_objects, 'object')}, {render.size(report.kept_nbytes)}")
    if report.in_grace_objects:
        graced = f"{render.counted(report.in_grace_objects, 'object')}, {render.size(report.in_grace_nbytes)}"
        render.line(f"of these, {graced} are unreachable and kept by the grace period")
    if report.temporaries:
        render.line(f"removed {render.counted(report.temporaries, 'unfinished file')}")


def _print_repacked(report: Repacked, *, dry_run: bool) -> None:
    if not report.repacked_objects and report.after_nbytes == report.before_nbytes:
        render.line("nothing to repack")
        return
    verb, about = ("would repack", "about ") if dry_run else ("repacked", "")
    sizes = f"{render.size(report.before_nbytes)} before, {about}{render.size(report.after_nbytes)} after"
    render.line(f"{verb} {render.counted(report.repacked_objects, 'object')}: {sizes}")
    costs = f"{report.costliest_before:.2f} before, {report.costliest_after:.2f} after"
    render.line(f"restoring the costliest takes, as a multiple of what it takes stored alone: {costs}")
