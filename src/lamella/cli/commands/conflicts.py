"""`lamella conflicts`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.merge_json import conflicts_fields
from lamella.cli.merge_text import measured, sides_of
from lamella.cli.session import json_option, open_repository
from lamella.model.merging.plan import OPPOSED
from lamella.ops.conflicts import ConflictedFile, ConflictsReport, list_conflicts


@click.command()
@click.argument("paths", nargs=-1, type=click.Path())
@json_option
def command(paths: tuple[str, ...], as_json: bool) -> None:
    """List what a merge left to decide: the tensors in conflict of each model file, and why they are.

    With PATHS, those at and below them. Of each tensor it says who changed it, how far the changes are at odds, where
    that was measured, and what it can become; `lamella resolve` decides. Other files in conflict are Git's business.
    """
    with open_repository() as repository:
        report = list_conflicts(repository, paths)
    if as_json:
        render.emit_json("conflicts", conflicts_fields(report))
    else:
        _show(report)


def _show(report: ConflictsReport) -> None:
    if not report.files and not report.others:
        render.line("nothing is in conflict")
        if report.verb is not None:
            render.note(f"a {report.verb} is under way: `lamella merge --continue` goes on")
        return
    for file in report.files:
        _show_file(file)
    if report.others:
        render.line("other files, which Git resolves:")
        for path in report.others:
            render.line(f"  {path}")
    if any(file.found.open or file.found.failure for file in report.files):
        render.note("`lamella resolve GLOB --ours|--theirs|--base|--strategy S` decides about tensors, or about a file")


def _show_file(file: ConflictedFile) -> None:
    found = file.found
    if found.failure is not None:
        render.line(f"{file.path}: {found.failure}")
        render.line(f"  take {' or '.join(f'--{side}' for side in file.sides)}")
        return
    resolved = len(found.conflicts) - len(found.open)
    rest = f", {resolved:,} resolved" if resolved else ""
    render.line(f"{file.path}: {render.counted(len(found.open), 'tensor')} in conflict{rest}")
    for conflict in found.conflicts:
        choice = found.rules.resolutions.get(conflict.name)
        if choice is not None:
            render.line(f"  {conflict.name}  resolved: {choice.strategy}")
            continue
        render.line(f"  {conflict.name}  {conflict.kind}, {sides_of(conflict.changed_by)}")
        # What makes sides opposed is the cosine, so the reason says it.
        render.line(f"      {conflict.reason}{measured(conflict.score, cosine=conflict.kind != OPPOSED)}")
