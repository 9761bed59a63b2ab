"""How the health of a model reads on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from lamella.cli import render
from lamella.model.health import ERROR, NOTE, SEVERITIES, Finding
from lamella.ops.health import HealthReport

_COLOURS = {ERROR: "red", "warning": "yellow", NOTE: "cyan"}
_SHOWN, _SHOWN_NOTES = 10, 3


def show(report: HealthReport, *, everything: bool) -> None:
    """Print what was looked at, the findings of one kind together, and how many there are."""
    read = f"{render.counted(report.examined, 'tensor')} of {report.tensors:,}, {render.size(report.nbytes)} read"
    against = f", against {report.against}" if report.against is not None else ""
    render.line(f"{report.name}: {read}{against}", bold=True)
    kinds = groupby(report.findings, key=lambda one: (one.severity, one.check, one.advice))
    for (severity, check, advice), alike in kinds:
        _show_kind(severity, check, advice, list(alike), everything=everything)
    if report.unread:
        render.note(f"{render.counted(report.unread, 'tensor')} without floats not looked at")
    if not report.findings:
        render.line("healthy" if report.examined else "nothing to look at", fg="green" if report.examined else "yellow")
        return
    counts = [(report.count(severity), severity) for severity in SEVERITIES]
    render.line(", ".join(render.counted(count, severity) for count, severity in counts if count))


def _show_kind(severity: str, check: str, advice: str, findings: Sequence[Finding], *, everything: bool) -> None:
    render.line(f"{severity}: {check}", fg=_COLOURS[severity])
    shown = len(findings) if everything else _SHOWN_NOTES if severity == NOTE else _SHOWN
    render.columns([(one.where or "the model", one.message) for one in findings[:shown]], indent="  ")
    if len(findings) > shown:
        render.line(f"  and {len(findings) - shown:,} more")
    render.line(f"  {advice}")
