"""What was found in merged models before they were committed, as text."""

from __future__ import annotations

from lamella.cli import render
from lamella.model.health import NOTE, Finding
from lamella.ops.merge_evidence import MergeEvidence


def show_evidence(evidence: MergeEvidence, *, planned: bool = False) -> None:
    """Print what was found in merged models before they were committed, less what warnings of the plan told already."""
    for one in evidence.checks:
        for found in one.findings:
            if planned and _is_planned(found):
                continue
            where = f"{one.path}: {found.where}" if found.where else one.path
            render.line(f"{where}: {found.severity}: {found.message}; {found.advice}")
    for evaluated in evidence.evaluations:
        value = "" if evaluated.value is None else f", {evaluated.metric} {evaluated.value:g}"
        render.line(f"{evaluated.path}: evaluated{value}, in {evaluated.seconds:.1f} s")


def _is_planned(found: Finding) -> bool:
    """Say whether a plan knows of it: statistics that it merges, and a tie that is not one on a side."""
    return found.check == "averaged-statistics" or (found.check == "untied" and found.severity == NOTE)
