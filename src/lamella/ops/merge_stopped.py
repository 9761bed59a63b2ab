"""Going on with what stopped for a conflict, and taking it back, whichever verb of Git's it was."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.errors import ConflictError, UsageError
from lamella.core.fsio import translated
from lamella.core.progress import SILENT, Progress
from lamella.ops.gitverbs import run_verb
from lamella.ops.merge_commit import commit_merge
from lamella.ops.merge_evidence import NO_EVIDENCE, MergeEvidence
from lamella.ops.pick import Picked, resume
from lamella.repo.evaluation_settings import EvaluationSettings, asked_before, evaluation_settings, forget_asked
from lamella.repo.filling import Filled
from lamella.repo.git import Git
from lamella.repo.merge_state import forget_states
from lamella.repo.pick_state import Picking, read_picking
from lamella.repo.repository import Repository
from lamella.repo.unmerged import under_way, unmerged

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ContinueReport:
    """How Git ended, what was written to the worktree, and what was found before a merge was committed.

    `picked` is what became of a sequence of scaled changes, where it was one.
    """

    status: int
    filled: Filled
    evidence: MergeEvidence = NO_EVIDENCE
    picked: Picked | None = None


def continue_merge(
    repository: Repository,
    progress: Progress = SILENT,
    *,
    evaluates: bool = True,
    command: str | None = None,
    to_stderr: bool = False,
) -> ContinueReport:
    """Commit what was resolved, and let Git go on where there is more to do; see `run_verb` for `to_stderr`.

    A merge is evaluated by `command`, by what was asked for when it began, or by what the configuration says, unless
    it is not to be (`evaluates`).
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
        settings = _evaluation(repository.git, command) if evaluates else None
        report = ContinueReport(0, Filled((), 0, ()), commit_merge(repository, settings, progress))
    elif (sequence := _sequence(repository.git, verb)) is not None:
        picked = resume(repository, sequence, "--continue", progress, to_stderr=to_stderr)
        report = ContinueReport(picked.status, picked.filled, picked=picked)
    else:
        ended = run_verb(repository, ["-c", "core.editor=:", verb, "--continue"], progress, to_stderr=to_stderr)
        report = ContinueReport(ended.status, ended.filled)
    _forget(repository)
    return report


def _evaluation(git: Git, command: str | None) -> EvaluationSettings | None:
    before = None if command is not None else asked_before(git, git.resolve("MERGE_HEAD"))
    return before or evaluation_settings(git, command)


@dataclass(frozen=True, slots=True)
class AbortReport:
    """How Git ended and what was written; `stays` says that commits which the user made meanwhile are still there."""

    status: int
    filled: Filled
    stays: bool


def abort_merge(repository: Repository, progress: Progress = SILENT, *, to_stderr: bool = False) -> AbortReport:
    """Take back what is under way, so that branch, index and worktree are what they were.

    Of a sequence of commits Git takes back nothing once the user committed one of them. Raises UsageError (no-merge)
    where nothing is under way.
    """
    verb, stays = _verb(repository), _has_moved(repository.git)
    if (sequence := _sequence(repository.git, verb)) is not None:
        picked = resume(repository, sequence, "--abort", progress, to_stderr=to_stderr)
        return AbortReport(picked.status, picked.filled, stays=False)
    report = run_verb(repository, [verb, "--abort"], progress, to_stderr=to_stderr)
    if under_way(repository.git) is None:
        forget_asked(repository.git)
    _forget(repository)
    return AbortReport(report.status, report.filled, stays)


def _has_moved(git: Git) -> bool:
    """Say whether somebody moved HEAD since Git last did in a sequence of commits, which keeps it from going back."""
    safety = git.git_dir / "sequencer" / "abort-safety"
    with translated(safety, reading=True):
        return safety.is_file() and safety.read_bytes().strip().decode("ascii", "replace") != git.resolve("HEAD")


def _sequence(git: Git, verb: str) -> Picking | None:
    """Return the sequence of scaled changes that what is under way is a step of, None where it is none."""
    return read_picking(git) if verb == "cherry-pick" else None


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
