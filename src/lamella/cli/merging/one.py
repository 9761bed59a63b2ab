"""`lamella merge COMMIT`: one commit is merged into the branch."""

from __future__ import annotations

from lamella.cli import render
from lamella.cli.merge_json import merge_fields
from lamella.cli.merge_text import in_words, shown_conflicts
from lamella.cli.merging.asked import Asked
from lamella.cli.merging.evidence import show_evidence
from lamella.cli.merging.stopped import telling_what_is_under_way
from lamella.cli.passthrough import code_of, show_filled
from lamella.cli.session import open_repository, progress
from lamella.core.errors import ConflictError, UsageError
from lamella.ops.merge import FAST_FORWARD, MERGED, READY, STOPPED, UP_TO_DATE, MergeReport, MergeRequest, merge
from lamella.repo.evaluation_settings import evaluation_settings
from lamella.repo.settings import merge_settings

_SAID = {
    UP_TO_DATE: "already up to date",
    FAST_FORWARD: "moved on to {commit}, which has all of this branch",
    MERGED: "merged, in {commit}",
    READY: "merged and not committed; `git commit` does",
    STOPPED: "stopped: somebody has to decide",
}


def run(asked: Asked) -> int:
    """Merge, print what was found, and return 0, or the code of a conflict."""
    if asked.evaluate is not None and "--squash" in asked.git_options:
        hint = "`--no-ff` makes a commit that is evaluated"
        raise UsageError("--evaluate is not for --squash, which commits nothing", kind="bad-argument", hint=hint)
    with open_repository() as repository:
        rules = asked.rules(merge_settings(repository.git.worktree))
        request = MergeRequest(
            commit=asked.commits[0] if asked.commits else None,
            rules=rules,
            message=asked.message,
            commits=not asked.no_commit,
            unrelated=asked.unrelated,
            options=asked.git_options,
            evaluation=None if asked.no_evaluate else evaluation_settings(repository.git, asked.evaluate),
        )
        with telling_what_is_under_way(repository):
            report = merge(repository, request, progress(quiet=asked.quiet or asked.as_json))
        if asked.as_json:
            render.emit_json("merge", merge_fields(report))
            code = code_of(report.filled)
        else:
            _show(report, request, quiet=asked.quiet)
            code = show_filled(repository, report.filled, quiet=asked.quiet)
    return ConflictError.exit_code if report.outcome == STOPPED else code


def _show(report: MergeReport, request: MergeRequest, *, quiet: bool) -> None:
    if quiet and report.outcome != STOPPED:
        return
    for file in report.files:
        render.line(f"{file.path}: {file.failure or in_words(file)}")
        for text in shown_conflicts(file):
            render.line(f"  {text}")
        for sentence in file.warnings:
            render.warning(f"{file.path}: {sentence}")
    for path in report.others:
        render.line(f"{path}: in conflict, Git's business")
    show_evidence(report.evidence, planned=True)
    render.line(_SAID[report.outcome].format(commit=report.commit[:10]))
    squashes = "--squash" in request.options
    if report.outcome == STOPPED:
        back = "git reset --merge" if squashes else "lamella merge --abort"
        render.note(f"`lamella conflicts` lists them, `lamella resolve` settles, `{back}` takes it back")
    elif report.outcome in (FAST_FORWARD, READY) and request.evaluation is not None:
        later = report.outcome == READY and not squashes
        said = "`lamella merge --continue` evaluates and commits" if later else "there is no merge commit"
        render.note(f"not evaluated: {said}")
