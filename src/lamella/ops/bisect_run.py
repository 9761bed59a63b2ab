"""`bisect run`: the first version that a command calls bad, over branches and merges, in few evaluations."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lamella.core import fsio
from lamella.core.errors import ConflictError, NotFoundError
from lamella.core.progress import SILENT, Progress
from lamella.ops.bisect_search import BisectReport, Listener, Search
from lamella.ops.bisect_state import (
    LAYERS,
    STATE,
    TREE,
    BisectState,
    Question,
    alone,
    forget_state,
    load_state,
    save_state,
)
from lamella.ops.bisect_suspects import resolve_ends, resolve_paths
from lamella.ops.evaluate import Evaluator
from lamella.ops.verdict import Criterion
from lamella.repo.commits import CommitSummary, summaries
from lamella.repo.git import GitOid
from lamella.repo.repository import Repository
from lamella.repo.scratch_worktree import ScratchWorktree, remove_scratch


def bisect_run(
    repository: Repository,
    evaluator: Evaluator,
    criterion: Criterion,
    good: str,
    bad: str = "HEAD",
    paths: Sequence[str] = (),
    *,
    hear: Listener = lambda _: None,
    progress: Progress = SILENT,
) -> BisectReport:
    """Return the first version between `good` and `bad` that is bad by `criterion`, as the command of `evaluator` says.

    Suspects are the versions that changed `paths`, seen from where the user stands, or the model files of `bad` where
    none are given. Each is put into a worktree of its own; the user's is not touched. The model that the command is
    given is the first model file of `bad` that is named; where a version lacks it, one that `bad` lacks. What each
    version came to is kept, so that the same question, asked again after an interruption, evaluates nothing twice.

    With a metric, the good version is evaluated first. Without one it is believed to be good until everything else
    was bad, and the bad one to be bad until everything else was good: then they are evaluated too.

    Raises NotFoundError (revision-unknown, path-unknown); UsageError: bad-argument where `good` is not behind `bad`,
    undecided where the suspects that are left cannot be tested, ends-agree where both ends come out alike;
    ConflictError (lock-held, bisect-unfinished); BackendError as `Evaluator.evaluate`, and what putting a version into
    a worktree raises.
    """
    repository.existing_store()
    with alone(repository):
        ends = resolve_ends(repository.git, good, bad)
        question = Question(
            evaluator.command, os.fspath(evaluator.directory), *ends, resolve_paths(repository, ends, paths), criterion,
            evaluator.timeout_seconds,
        )  # fmt: skip
        state = _continued(repository, question)
        with ScratchWorktree(repository, repository.store_directory / TREE) as scratch:
            return Search(repository, scratch, evaluator, state, hear, progress).run()


def bisect_log(repository: Repository) -> tuple[BisectState, dict[GitOid, CommitSummary]]:
    """Return the search that was begun last, and who made the versions that were tested.

    Raises NotFoundError (bisect-none) where there is none, and FormatError (settings-malformed).
    """
    state = load_state(repository)
    if state is None:
        hint = "`lamella bisect run COMMAND --good REV` begins one"
        raise NotFoundError("no search for a bad version was begun", kind="bisect-none", hint=hint)
    return state, dict(summaries(repository.git, [one.commit for one in state.outcomes]))


def bisect_reset(repository: Repository) -> bool:
    """Forget the search that was begun last, and remove what a killed one left; say whether there was any.

    Raises ConflictError (lock-held) while one is running.
    """
    where = repository.store_directory
    if not where.is_dir():
        return False
    with alone(repository):
        found = any((where / name).exists() for name in (TREE, STATE, LAYERS))
        remove_scratch(repository.git, where / TREE)
        fsio.remove_tree(where / LAYERS)
        forget_state(repository)
        return found


def _continued(repository: Repository, question: Question) -> BisectState:
    """Return the search for this question, begun before or now; raise ConflictError where another is not at its end."""
    state = load_state(repository)
    if state is not None and state.answer is None and state.outcomes:
        if state.question == question:
            return state
        hint = "the same command goes on with it; `lamella bisect reset` forgets it"
        raise ConflictError("another search is not at its end", kind="bisect-unfinished", hint=hint)
    state = BisectState(question)
    save_state(repository, state)
    return state
