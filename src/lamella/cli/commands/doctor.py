"""`lamella doctor`."""

from __future__ import annotations

import click

from lamella.cli import render
from lamella.cli.session import json_option, open_repository
from lamella.ops.doctor import doctor

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Check the program, Git, the settings, the hooks, the store and the worktree, and say what to do.

    Exits with 1 where there is a problem. Changes nothing.
    """
    with open_repository() as repository:
        report = doctor(repository)
    if as_json:
        render.emit_json("doctor", report)
    else:
        for finding in report.findings:
            render.line(f"{finding.state:8} {finding.subject}: {finding.message}", fg=_COLOURS[finding.state])
            if finding.hint:
                render.line(f"         hint: {finding.hint}")
    return 0 if report.healthy else 1
