"""What was found in merged models before they were committed, as text."""

from __future__ import annotations

from lamella.cli import render
from lamella.ops.merge_evidence import MergeEvidence


def show_evidence(evidence: MergeEvidence) -> None:
    """Print what was found in merged models before they were committed."""
    for one in evidence.checks:
        for found in one.findings:
            where = f"{one.path}: {found.where}" if found.where else one.path
            render.line(f"{where}: {found.severity}: {found.message}; {found.advice}")
    for evaluated in evidence.evaluations:
        value = "" if evaluated.value is None else f", {evaluated.metric} {evaluated.value:g}"
        render.line(f"{evaluated.path}: evaluated{value}, in {evaluated.seconds:.1f} s")
