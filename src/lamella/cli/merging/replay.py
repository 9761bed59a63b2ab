"""`lamella merge --replay REV`: a merge made again, to see whether the same bits come of it."""

from __future__ import annotations

from typing import Any

from lamella.cli import render
from lamella.cli.merging.asked import Asked
from lamella.cli.session import open_repository, progress
from lamella.core.errors import UsageError
from lamella.ops.merge_replay import ReplayedFile, ReplayReport, merge_replay

_SHOWN = 5


def run(asked: Asked) -> int:
    """Make the merge again, print what is the same, and return 0, or 1 where something is not."""
    assert asked.replay is not None
    if asked.commits:
        raise UsageError("--replay takes one merge", kind="bad-argument", hint="`lamella merge --replay REV`")
    asked.refuse_others("--replay, which goes by the record", "replay")
    with open_repository() as repository:
        report = merge_replay(repository, asked.replay, progress(quiet=asked.quiet or asked.as_json))
    if asked.as_json:
        render.emit_json("merge-replay", _fields(report))
    elif not asked.quiet:
        for file in report.files:
            render.line(_line(file), fg=None if file.same else "red")
        render.line(_summary(report))
    return 0 if report.same else 1


def _fields(report: ReplayReport) -> dict[str, Any]:
    files = [
        {
            "path": one.path, "strategy": one.strategy, "same": one.same, "committed": one.committed,
            "made": one.made, "differing": one.differing, "reason": one.reason or None,
        }
        for one in report.files
    ]  # fmt: skip
    return {
        "commit": report.commit, "parents": report.parents, "base": report.base, "record": report.record,
        "same": report.same, "files": files,
    }  # fmt: skip


def _line(file: ReplayedFile) -> str:
    if file.reason:
        return f"{file.path}: cannot be made again: {file.reason}"
    if file.same:
        return f"{file.path}: the same bits{f', by {file.strategy}' if file.strategy else ', from one side'}"
    more = f" and {len(file.differing) - _SHOWN:,} more" if len(file.differing) > _SHOWN else ""
    return f"{file.path}: not the same: {', '.join(file.differing[:_SHOWN])}{more}"


def _summary(report: ReplayReport) -> str:
    source = "its parents and the project's settings" if report.record is None else report.record
    if not report.files:
        return f"{report.commit[:10]} merged no model file"
    differing = sum(not file.same for file in report.files)
    said = "is the same again" if not differing else f"is not the same in {render.counted(differing, 'file')}"
    return f"{report.commit[:10]} {said}, made from {source}"
