"""`lamella fsck`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository, progress
from lamella.core.errors import IntegrityError
from lamella.ops.fsck import FsckReport, fsck


@click.command()
@click.option("--quick", is_flag=True, help="Check every stored byte, but decode nothing.")
@click.option("--repair", is_flag=True, help="Store again what the worktree still has; set damaged packs aside.")
@json_option
def command(quick: bool, repair: bool, as_json: bool) -> int:
    """Check every stored byte, and name the tensors and versions that are damaged.

    Exits with 5 where something is. With --repair, damaged packs are moved to a quarantine folder and never deleted.
    """
    with open_repository() as repository:
        report = fsck(repository, decode=not quick, repair=repair, progress=progress(quiet=as_json))
    if as_json:
        render.emit_json("fsck", report)
    else:
        _show(report)
    return 0 if report.sound else IntegrityError.exit_code


def _show(report: FsckReport) -> None:
    counts = f"{render.counted(report.packs, 'pack')}, {render.counted(report.objects, 'object')}"
    render.line(f"checked {counts}, {render.size(report.nbytes)}")
    if report.repaired:
        render.line(f"stored {render.counted(report.repaired, 'object')} again")
    for fault in report.damage:
        where = f"object {fault.object.hex()}" if fault.object is not None else "structure"
        render.line(f"damaged: pack {fault.pack}, {where}: {fault.message}", fg="red")
    for tensor in report.tensors:
        part = "everything but the tensors" if tensor.tensor is None else f"tensor {tensor.tensor}"
        render.line(f"{tensor.state}: {tensor.path}, {part}, {_version(tensor.revisions)}", fg="red")
    for manifest in report.manifests:
        render.line(f"broken: {manifest.path}, {_version(manifest.revisions)}: {manifest.message}", fg="red")
    for path, reason in report.unread:
        render.warning(f"{path} was not looked at: {reason}")
    if report.sound:
        render.line("everything is sound", fg="green")
    if report.manifests:
        render.note("hint: `git checkout REV -- PATH` takes a broken file from another revision")
    if report.damage or report.tensors:
        render.note("hint: `lamella fsck --repair` takes what the files of the worktree still have")


def _version(revisions: tuple[str, ...]) -> str:
    named = ", ".join(revision[:10] for revision in revisions)
    return f"version of {named}" if named else "version that is in no commit"
