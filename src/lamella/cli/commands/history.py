"""`lamella history`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lamella.cli import render
from lamella.cli.comparison_json import measure_fields
from lamella.cli.comparison_text import percent
from lamella.cli.session import json_option, open_repository, progress
from lamella.core.fsio import write_file
from lamella.ops.history import HistoryReport, TensorVersion, history

_HEADINGS = ("COMMIT", "DATE", "D", "REL L2", "NORM", "AUTHOR", "SUBJECT")
_SHOWN_ID = 10
_SHOWN_DATE = len("2026-05-17")
_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_PLAIN_BARS = "_.-=+*%#"
_MOST_BARS = 60


@click.command()
@click.argument("specification", metavar="[REV:]PATH")
@click.argument("tensor")
@click.option("--plot", type=click.Choice(["html", "png"]), help="Draw it, as a page or as a picture.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Where the drawing goes; history.html or .png.")
@json_option
def command(specification: str, tensor: str, plot: str | None, output: str | None, as_json: bool) -> None:
    """Show one tensor through all versions of its model: how far each moved it, and its norm.

    It is followed through renames, of the tensor and of the file, and on all branches that were merged. D is the mean
    |b - a| from the version before. The line of bars is D from the oldest version to the newest.
    """
    if output is not None and plot is None:
        raise click.UsageError("--output goes with --plot")
    named = specification if ":" in specification else f"HEAD:./{specification}"
    with open_repository() as repository:
        report = history(repository, named, tensor, progress(quiet=as_json))
    if plot is not None:
        _draw(report, plot, Path(output or f"history.{plot}"))
    if as_json:
        render.emit_json("history", {**_plain(report), "versions": [_fields(one) for one in report.versions]})
        return
    render.unread_versions(report.unread)
    render.columns([_HEADINGS, *map(_row, report.versions)], right=frozenset({2, 3, 4}))
    bars = sparkline([one.measures.mean_absolute for one in reversed(report.versions) if one.measures is not None])
    if bars:
        render.line(f"D  {bars}")


def _plain(report: HistoryReport) -> dict[str, Any]:
    return {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}


def _fields(one: TensorVersion) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "measures": one.measures and measure_fields(one.measures)}


def _row(one: TensorVersion) -> tuple[str, ...]:
    found = one.measures
    return (
        one.commit.commit[:_SHOWN_ID],
        one.commit.date[:_SHOWN_DATE],
        "new" if one.source is None else "-" if found is None else f"{found.mean_absolute:.2g}",
        "-" if found is None or found.relative is None else percent(found.relative),
        "-" if one.norm is None else f"{one.norm:.4g}",
        one.commit.author,
        one.commit.subject,
    )


def sparkline(values: Sequence[float]) -> str:
    """Return a bar for each value, as high as it is beside the largest; of many values, the latest."""
    shown = list(values)[-_MOST_BARS:]
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    bars = _BARS if encoding.startswith("utf") else _PLAIN_BARS
    largest = max(shown, default=0.0)
    if not largest:
        return bars[0] * len(shown)
    return "".join(bars[min(len(bars) - 1, int(len(bars) * value / largest))] for value in shown)


def _draw(report: HistoryReport, plot: str, path: Path) -> None:
    oldest_first = report.versions[::-1]
    if plot == "html":
        from lamella.pages import history_page

        versions = [
            history_page.TensorVersion(
                one.commit.commit[:_SHOWN_ID],
                one.commit.date[:_SHOWN_DATE],
                one.commit.author,
                one.commit.subject,
                None if one.measures is None else one.measures.mean_absolute,
                one.norm,
            )
            for one in oldest_first
        ]
        write_file(path, history_page.history_page(report.name, report.path, versions).encode())
    else:
        from lamella.integrations.matplotlib import plot_history

        plot_history(report.name, oldest_first, path)
    render.note(f"wrote {path}")
