"""`lamella merge A B C`: any number of branches at once, in one commit."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lamella.cli import render
from lamella.cli.merge_json import evidence_fields, filled_fields
from lamella.cli.merging.asked import RULES, Asked
from lamella.cli.merging.evidence import show_evidence
from lamella.cli.passthrough import code_of, show_filled
from lamella.cli.session import open_repository, progress
from lamella.ops.merge_many import ManyMerged, merge_many
from lamella.repo.evaluation_settings import evaluation_settings
from lamella.repo.settings import merge_settings


def run(asked: Asked) -> int:
    """Merge, print what became of the model files, and return 0, or the code of a file that could not be written."""
    told = () if asked.dry_run else ("evaluate",)
    asked.refuse_others("several commits", *RULES, "message", "unrelated", "no_evaluate", "dry_run", *told)
    with open_repository() as repository:
        rules = asked.rules(merge_settings(repository.git.worktree))
        report = merge_many(
            repository,
            asked.commits,
            rules,
            message=asked.message,
            unrelated=asked.unrelated,
            dry_run=asked.dry_run,
            evaluation=None if asked.no_evaluate else evaluation_settings(repository.git, asked.evaluate),
            progress=progress(quiet=asked.quiet or asked.as_json),
        )
        if asked.as_json:
            render.emit_json("merge-many", _fields(report))
            return code_of(report.filled)
        _show(report, asked)
        return show_filled(repository, report.filled, quiet=asked.quiet)


def _fields(report: ManyMerged) -> dict[str, Any]:
    files = [
        {
            "path": file.record.path,
            "blob": file.record.result,
            "model_id": file.record.model_id,
            "tensors": Counter(one.state for one in file.model.plan.tensors),
            "warnings": file.model.plan.warnings,
        }
        for file in report.files
    ]
    sides = report.sides
    named = [{"name": name, "commit": commit} for name, commit in zip(sides.names, sides.commits, strict=True)]
    strategy = None if report.record is None else report.record.strategy
    return {
        "commit": report.commit,
        "base": sides.base,
        "sides": named,
        "strategy": strategy,
        "files": files,
        **evidence_fields(report.evidence),
        **filled_fields(report.filled),
    }


def _show(report: ManyMerged, asked: Asked) -> None:
    if asked.quiet:
        return
    if report.sides.contained:
        render.note(f"contained in the others: {', '.join(report.sides.contained)}")
    for file in report.files:
        counts = Counter(one.state for one in file.model.plan.tensors)
        listed = ", ".join(f"{number:,} {state}" for state, number in counts.items())
        render.line(f"{file.record.path}: {render.counted(sum(counts.values()), 'tensor')}: {listed}")
        for sentence in file.model.plan.warnings:
            render.warning(f"{file.record.path}: {sentence}")
    show_evidence(report.evidence, planned=True)
    names = ", ".join(report.sides.names)
    if asked.dry_run:
        render.line(f"would merge {names}")
    elif report.record is not None:
        render.line(f"merged {names}, in {report.commit[:10]}")
    elif report.commit == report.sides.head:
        render.line("already up to date")
    else:
        render.line(f"moved on to {report.commit[:10]}, which has all of this branch")
