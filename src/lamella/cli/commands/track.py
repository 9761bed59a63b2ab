"""`lamella track`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository
from lamella.ops.track import MODEL_PATTERNS, TrackReport, track


@click.command()
@click.argument("patterns", nargs=-1)
@click.option("--models", is_flag=True, help="Take the patterns of every model format that Lamella knows.")
@json_option
def command(patterns: tuple[str, ...], models: bool, as_json: bool) -> None:
    """Let Lamella keep the files that match PATTERNS; without patterns, list them.

    Patterns are those of .gitignore, for example '*.safetensors' (quoted, so that the shell leaves it alone). A folder
    stands for all that is below it, and ./FILE for this one file. They stand in .gitattributes, which is committed
    like any file.
    """
    if models:
        patterns += MODEL_PATTERNS
    with open_repository() as repository:
        report = track(repository, patterns)
    if as_json:
        render.emit_json("track", report)
    else:
        show(report, patterns, "now kept by lamella", "already kept by lamella")


def show(report: TrackReport, patterns: tuple[str, ...], done: str, idle: str) -> None:
    """Print a report of `track` or `untrack`."""
    if not patterns:
        for pattern in report.patterns:
            render.line(pattern)
    for pattern in patterns:
        render.line(f"{pattern}: {done if pattern in report.changed else idle}")
    if report.affected:
        names = ", ".join(report.affected[:3]) + (", ..." if len(report.affected) > 3 else "")
        render.line(f"{names}: in git already, and kept the new way once you `lamella add` it")
