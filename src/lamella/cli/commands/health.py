"""`lamella health`."""

from __future__ import annotations

import os
from contextlib import ExitStack

import click

from lamella.cli import health_text, render
from lamella.cli.session import json_option, opened, progress, project_root
from lamella.model.health import SEVERITIES
from lamella.ops.health import health
from lamella.repo.repository import split_specification
from lamella.repo.settings import health_settings


@click.command()
@click.argument("name", metavar="PATH|REV:PATH")
@click.option("--against", metavar="REV|PATH|REV:PATH", help="The version that the model comes from.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where there is an error, or what the project says.")
@click.option("--fail-on", type=click.Choice(SEVERITIES), help="Exit with 1 where something is so bad, or worse.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Leave a check out; can be given again.")
@click.option("--all", "everything", is_flag=True, help="List every tensor of a finding.")
@json_option
def command(
    name: str,
    against: str | None,
    exit_code: bool,
    fail_on: str | None,
    skip: tuple[str, ...],
    everything: bool,
    as_json: bool,
) -> int:
    """Look for what is wrong with the weights of a model.

    Every float is read once: NaN and infinity, variances that are none, constants, dead units, matrices of rank one,
    copied layers, numbers that do not fit into f16. With --against also norms that jumped, weights no longer tied,
    ranks that fell, and tensors that are missing or of another type or shape; a revision alone stands for the same path
    there. Errors cannot be meant, warnings mostly are not, notes are worth knowing.
    """
    with ExitStack() as closing:
        model = closing.enter_context(opened(name))
        before = None if against is None else closing.enter_context(opened(_named(against, name)))
        settings = health_settings(project_root())
        report = health(model, before, skip={*skip, *settings.skip}, progress=progress(quiet=as_json))
    if as_json:
        render.emit_json("health", report)
    else:
        health_text.show(report, everything=everything)
    return int((exit_code or fail_on is not None) and report.fails(fail_on or settings.fail_on))


def _named(against: str, name: str) -> str:
    """Return what to compare with: `against`, or, where that is a revision alone, the path of `name` there."""
    if ":" in against or os.path.lexists(against):
        return against
    if os.path.lexists(name):
        return f"{against}:{os.path.join('.', os.path.relpath(name))}"
    return f"{against}:{split_specification(name)[1]}"
