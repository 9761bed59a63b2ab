"""`lamella blame`."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from lamella.cli import render
from lamella.cli.comparison_json import measure_fields
from lamella.cli.comparison_text import percent
from lamella.cli.session import json_option, open_repository, progress
from lamella.ops.blame import MERGED, BlamedTensor, BlameReport, blame
from lamella.repo.commits import CommitSummary

_HEADINGS = ("TENSOR", "COMMIT", "DATE", "AUTHOR", "D", "REL L2", "WHAT", "SUBJECT")
_SHOWN_ID = 10
_SHOWN_DATE = len("2026-05-17")


@click.command()
@click.argument("specification", metavar="REV:PATH")
@click.argument("patterns", nargs=-1, metavar="[TENSOR...]")
@click.option("--no-measure", is_flag=True, help="Do not read weights to say how far tensors moved.")
@json_option
def command(specification: str, patterns: tuple[str, ...], no_measure: bool, as_json: bool) -> None:
    """Show which commit last changed each tensor, by how much, who made it and why.

    Tensors that were only renamed, and files that were, are followed to where their bytes come from. A merge is named
    where it made a tensor what it was on neither side; then D is the change from each side. TENSOR is a name, or a
    pattern in which `*` stands for any letters.
    """
    with open_repository() as repository:
        report = blame(repository, specification, patterns, measured=not no_measure, progress=progress(quiet=as_json))
    if as_json:
        render.emit_json("blame", {**_plain(report), "tensors": [_fields(one) for one in report.tensors]})
        return
    render.unread_versions(report.unread)
    commits = {commit.commit: commit for commit in report.commits}
    rows = [_row(one, commits[one.commit]) for one in report.tensors]
    if rows:
        render.columns([_HEADINGS, *rows], right=frozenset({4, 5}))
    counts = render.counted(len(report.tensors), "tensor"), render.counted(len(report.commits), "commit")
    render.line(f"{counts[0]} from {counts[1]}, of {render.counted(report.versions, 'version')} of {report.path}")


def _plain(report: BlameReport) -> dict[str, Any]:
    return {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}


def _fields(one: BlamedTensor) -> dict[str, Any]:
    sources = [
        {**dataclasses.asdict(source), "measures": source.measures and measure_fields(source.measures)}
        for source in one.sources
    ]
    return {**dataclasses.asdict(one), "sources": sources}


def _row(one: BlamedTensor, commit: CommitSummary) -> tuple[str, ...]:
    moved = [source.measures for source in one.sources]
    what = one.what if one.name_then == one.name else f"{one.what} as {one.name_then}"
    return (
        one.name,
        one.commit[:_SHOWN_ID],
        commit.date[:_SHOWN_DATE],
        commit.author,
        " | ".join("-" if found is None else f"{found.mean_absolute:.2g}" for found in moved),
        " | ".join("-" if found is None or found.relative is None else percent(found.relative) for found in moved),
        f"{what} of {len(moved)}" if one.what == MERGED else what,
        commit.subject,
    )
