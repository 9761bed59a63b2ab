"""`lamella merge --continue` and `--abort`: what stopped for a conflict goes on, or is taken back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lamella.cli import picking, render
from lamella.cli.merge_json import evidence_fields, filled_fields
from lamella.cli.merging.asked import Asked
from lamella.cli.merging.evidence import show_evidence
from lamella.cli.passthrough import code_of, show_filled
from lamella.cli.session import open_repository, progress
from lamella.ops.merge_stopped import abort_merge, continue_merge
from lamella.repo.repository import Repository
from lamella.repo.unmerged import under_way


@contextlib.contextmanager
def telling_what_is_under_way(repository: Repository) -> Iterator[None]:
    """Let an interruption say so, where a merge or the like is under way after it."""
    try:
        yield
    except KeyboardInterrupt as exc:
        verb = under_way(repository.git)
        if verb is None:
            raise
        said = f"a {verb} is under way: `lamella merge --continue` goes on, `lamella merge --abort` takes it back"
        raise KeyboardInterrupt(said) from exc


def go_on(asked: Asked) -> int:
    """Commit what was resolved and let Git go on; return its status."""
    asked.refuse_others("--continue", "going_on", "evaluate", "no_evaluate")
    with open_repository() as repository:
        listener = progress(quiet=asked.quiet or asked.as_json)
        with telling_what_is_under_way(repository):
            report = continue_merge(
                repository, listener, evaluates=not asked.no_evaluate, command=asked.evaluate, to_stderr=asked.as_json
            )
        if asked.as_json:
            told = {"status": report.status, "commit": repository.git.resolve("HEAD")}
            render.emit_json(
                "merge-continue", {**told, **evidence_fields(report.evidence), **filled_fields(report.filled)}
            )
            return report.status or code_of(report.filled)
        if not asked.quiet:
            show_evidence(report.evidence)
        if report.picked is not None:
            picking.tell(repository, report.picked)
        code = show_filled(repository, report.filled, quiet=asked.quiet)
        if not (report.status or asked.quiet):
            render.note(f"done, HEAD is {repository.git.resolve('HEAD')[:10]}")
    return report.status or code


def abort(asked: Asked) -> int:
    """Take everything back; return Git's status."""
    asked.refuse_others("--abort", "aborting")
    with open_repository() as repository:
        report = abort_merge(repository, progress(quiet=asked.quiet or asked.as_json), to_stderr=asked.as_json)
        if asked.as_json:
            told = {"status": report.status, "commit": repository.git.resolve("HEAD"), "stays": report.stays}
            render.emit_json("merge-abort", {**told, **filled_fields(report.filled)})
            return report.status or code_of(report.filled)
        code = show_filled(repository, report.filled, quiet=asked.quiet)
        if not (report.status or asked.quiet):
            rest = "what was committed meanwhile stays" if report.stays else "branch and files are what they were"
            render.note(f"taken back: {rest}")
    return report.status or code
