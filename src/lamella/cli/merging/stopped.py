"""`lamella merge --continue` and `--abort`: what stopped for a conflict goes on, or is taken back."""

from __future__ import annotations

from lamella.cli import render
from lamella.cli.merging.asked import Asked
from lamella.cli.merging.evidence import show_evidence
from lamella.cli.passthrough import show_filled
from lamella.cli.session import open_repository, progress
from lamella.ops.merge_stopped import abort_merge, continue_merge


def go_on(asked: Asked) -> int:
    """Commit what was resolved and let Git go on; return its status."""
    asked.refuse_others("--continue", "going_on", "evaluate", "no_evaluate")
    with open_repository() as repository:
        listener = progress(quiet=asked.quiet)
        report = continue_merge(repository, listener, evaluates=not asked.no_evaluate, command=asked.evaluate)
        if not asked.quiet:
            show_evidence(report.evidence)
        code = show_filled(repository, report.filled, quiet=asked.quiet)
        if not (report.status or asked.quiet):
            render.note(f"done, HEAD is {repository.git.resolve('HEAD')[:10]}")
    return report.status or code


def abort(asked: Asked) -> int:
    """Take everything back; return Git's status."""
    asked.refuse_others("--abort", "aborting")
    with open_repository() as repository:
        report = abort_merge(repository, progress(quiet=asked.quiet))
        code = show_filled(repository, report.filled, quiet=asked.quiet)
        if not (report.status or asked.quiet):
            rest = "what was committed meanwhile stays" if report.stays else "branch and files are what they were"
            render.note(f"taken back: {rest}")
    return report.status or code
