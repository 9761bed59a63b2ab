"""Going on with what stopped for a conflict, and taking it back, whichever verb of Git's it was."""

from __future__ import annotations

from lamella.core.errors import ConflictError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.ops.gitverbs import VerbReport, run_verb
from lamella.ops.merge_commit import commit_merge
from lamella.repo.filling import Filled
from lamella.repo.merge_state import forget_states
from lamella.repo.repository import Repository
from lamella.repo.unmerged import under_way, unmerged

_SHOWN = 5


def continue_merge(repository: Repository, progress: Progress = SILENT) -> VerbReport:
    """Commit what was resolved, and let Git go on where there is more to do.

    Raises UsageError (no-merge) where nothing is under way and ConflictError (merge-open), which names the paths, while
    some are in conflict.
    """
    verb = _verb(repository)
    waiting = [one.path for one in unmerged(repository.git)]
    if waiting:
        names = ", ".join(waiting[:_SHOWN]) + (", ..." if len(waiting) > _SHOWN else "")
        raise ConflictError(
            f"still in conflict: {names}",
            kind="merge-open",
            hint="`lamella conflicts` says why, `lamella resolve` settles models, `git add` other files",
        )
    if verb == "merge":
        commit_merge(repository)
        report = VerbReport(0, Filled((), 0, ()))
    else:
        report = run_verb(repository, ["-c", "core.editor=:", verb, "--continue"], progress)
    _forget(repository)
    return report


def abort_merge(repository: Repository, progress: Progress = SILENT) -> VerbReport:
    """Take back what is under way, so that branch, index and worktree are what they were.

    Raises UsageError (no-merge) where nothing is.
    """
    report = run_verb(repository, [_verb(repository), "--abort"], progress)
    _forget(repository)
    return report


def _verb(repository: Repository) -> str:
    verb = under_way(repository.git)
    if verb is None:
        raise UsageError(
            "no merge is under way, nor a rebase, cherry-pick or revert",
            kind="no-merge",
            hint="`lamella status` says what there is to do",
        )
    return verb


def _forget(repository: Repository) -> None:
    forget_states(repository.git, [one.path for one in unmerged(repository.git)])
