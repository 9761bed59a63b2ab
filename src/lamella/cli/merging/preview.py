"""`lamella merge --dry-run`: what would become of every tensor."""

from __future__ import annotations

from collections import Counter

from lamella.cli import render
from lamella.cli.merge_json import preview_fields
from lamella.cli.merge_text import in_words, measured, sides_of
from lamella.cli.merging.asked import RULES, Asked
from lamella.cli.session import open_repository
from lamella.core.errors import ConflictError
from lamella.model.merging.plan import UNCHANGED
from lamella.ops.merge import FAST_FORWARD, UP_TO_DATE, MergeRequest
from lamella.ops.merge_preview import CONFLICT, UNTOLD, MergePreview, PreviewedFile, PreviewedTensor, preview
from lamella.repo.settings import merge_settings

_SAID = {UP_TO_DATE: "already up to date", FAST_FORWARD: "the branch would move on"}
_WHOLE = {
    CONFLICT: "one side removed, renamed or replaced it, the other changed it",
    UNTOLD: "a side has it in Git whole, so that only the merge itself can tell",
}


def run(asked: Asked) -> int:
    """Print what would become of every tensor; return 0, or the code of a conflict where the merge would stop."""
    taken = ("message", "no_commit", "git_options", "unrelated", "no_evaluate", "dry_run", "every")
    asked.refuse_others("--dry-run", *RULES, *taken)
    with open_repository() as repository:
        rules = asked.rules(merge_settings(repository.git.worktree))
        commit = asked.commits[0] if asked.commits else None
        found = preview(repository, MergeRequest(commit, rules, unrelated=asked.unrelated, options=asked.git_options))
    if asked.as_json:
        render.emit_json("merge-preview", preview_fields(found))
    elif not asked.quiet:
        _show(found, every=asked.every)
    return ConflictError.exit_code if found.stops else 0


def _show(found: MergePreview, *, every: bool) -> None:
    for sentence in found.warnings:
        render.warning(sentence)
    for file in found.files:
        _show_file(file, every=every)
    for path in found.others:
        render.line(f"{path}: in conflict, Git's business")
    ending = "the merge would stop: somebody has to decide" if found.stops else "the merge would go through"
    render.line(_SAID.get(found.outcome, ending))


def _show_file(file: PreviewedFile, *, every: bool) -> None:
    if file.found is None:
        render.line(f"{file.path}: {_WHOLE.get(file.outcome, file.outcome)}")
        return
    render.line(f"{file.path}: {file.found.failure or in_words(file.found)}")
    for sentence in file.found.warnings:
        render.warning(f"{file.path}: {sentence}")
    shown = [one for one in file.tensors if every or one.state != UNCHANGED or one.conflict]
    rows = [(one.spec.name, one.spec.dtype.name, render.shape(one.spec.shape), *_columns(one)) for one in shown]
    render.columns(rows, indent="  ")
    rest = Counter(one.state for one in file.tensors if one not in shown)
    for state, count in rest.items():
        render.line(f"  {render.counted(count, 'tensor')} {state}")


def _columns(tensor: PreviewedTensor) -> tuple[str, str, str]:
    score = measured(tensor.score).removeprefix("; ")
    who = sides_of(tensor.changed_by) if tensor.changed_by else "unchanged"
    if tensor.conflict is not None:
        return who, "CONFLICT", tensor.conflict
    return who, tensor.how or "removed", tensor.note or score
