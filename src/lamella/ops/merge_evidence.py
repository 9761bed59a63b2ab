"""What is found out about a merge before it is committed: what no side had, and what a command of the user's says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lamella.core.errors import BackendError, ConflictError, FormatError, LamellaError
from lamella.core.graphs import Graph
from lamella.core.progress import SILENT, Progress
from lamella.model.health import WARNING, Finding, finding
from lamella.ops.after_merge import MergeChecks, check_merged
from lamella.ops.evaluate import SKIP, Evaluation, Evaluator
from lamella.ops.merge_trees import model_of
from lamella.repo.attributes import filtered
from lamella.repo.evaluation_settings import EvaluationSettings
from lamella.repo.git import Git, GitOid
from lamella.repo.graphs import recorded_at
from lamella.repo.merge_record import Evaluated, MergedPath, MergeRecord
from lamella.repo.repository import Repository
from lamella.repo.scratch_worktree import ScratchWorktree
from lamella.repo.settings import health_settings

_TREE = "evaluation"
_HINT = (
    "`lamella merge --continue` tries again, with `--no-evaluate` it is committed all the same, and"
    " `lamella merge --abort` takes the merge back"
)


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """What a command said of one model file: its exit status, the value of its metric if it has one, and how long."""

    path: str
    command: str
    status: int
    metric: str | None
    value: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class MergeEvidence:
    """What was found in the model files that were merged tensor by tensor, and in all that the merge changed here."""

    checks: tuple[MergeChecks, ...] = ()
    evaluations: tuple[EvaluatedModel, ...] = ()

    def recorded(self, record: MergeRecord) -> MergeRecord:
        """Return a record with this; of several evaluations, all but the first stand among the checks."""
        said = [
            ": ".join(filter(None, (one.path, found.where, found.message)))
            for one in self.checks
            for found in one.findings
        ]
        said += [
            f"{one.path}: the evaluation ended with {one.status}"
            + ("" if one.value is None else f", {one.metric} = {one.value:g}")
            for one in self.evaluations[1:]
        ]
        first = next(iter(self.evaluations), None)
        told = None if first is None else Evaluated(first.command, first.status, first.metric, first.value)
        return replace(record, checks=tuple(said), evaluation=told)


NO_EVIDENCE = MergeEvidence()


def find_evidence(
    repository: Repository,
    record: MergeRecord | None,
    settings: EvaluationSettings | None,
    progress: Progress = SILENT,
    *,
    tree: str = "",
) -> MergeEvidence:
    """Look at what was merged and is staged, and run the command, if there is one, on each model that is another now.

    What lies beside the models is taken from `tree`, where nothing is staged yet.
    Raises ConflictError (evaluation-failed), which leaves the merge under way, where the command ends with another
    status than 0, crashes, takes too long, or does not print its metric.
    """
    checks = () if record is None else tuple(_checked(repository, record, one, tree, progress) for one in record.paths)
    if settings is None:
        return MergeEvidence(checks)
    changed = _changed_models(repository)
    return MergeEvidence(checks, tuple(_evaluated(repository.worktree, repository.git, changed, settings, _HINT)))


def _checked(
    repository: Repository, record: MergeRecord, merged: MergedPath, tree: str, progress: Progress
) -> MergeChecks:
    skip = health_settings(repository.git.worktree).skip
    blobs = (merged.result, merged.base, *merged.sides)
    with repository.reader() as reader:
        result, base, *sides = (
            None if blob is None else model_of(repository, reader, merged.path, blob, merged.path) for blob in blobs
        )
    assert result is not None
    there = [(side, commit) for side, commit in zip(sides, record.sides, strict=True) if side is not None]
    graph, unread = (None, ()) if "graph" in skip else _recorded(repository, tree, merged.path)
    before = [] if graph is None else [_recorded(repository, commit, merged.path)[0] for _, commit in there]
    found = check_merged(
        result,
        base,
        [side for side, _ in there],
        recorded=graph,
        recorded_before=before,
        skip=skip,
        threads=repository.config.threads,
        progress=progress,
    )
    return replace(found, path=merged.path, findings=(*found.findings, *unread))


def _recorded(repository: Repository, tree: str, path: str) -> tuple[Graph | None, tuple[Finding, ...]]:
    """Return the graph beside a model in a tree, "" being the index, and a finding where it cannot be read."""
    try:
        return recorded_at(repository, tree, path), ()
    except FormatError as exc:
        advice = "record the graph of the merged model anew, or take the file from one side"
        return None, (finding("graph", WARNING, "", exc.message.removeprefix(f"{tree}:"), advice),)


def evaluate_commit(
    repository: Repository, before: GitOid, commit: GitOid, settings: EvaluationSettings, progress: Progress = SILENT
) -> tuple[EvaluatedModel, ...]:
    """Run the command on each model file that a commit has otherwise than `before`, in a worktree beside the user's.

    Raises ConflictError (evaluation-failed), and as filling a worktree does.
    """
    paths = _changed_models(repository, before, commit)
    if not paths:
        return ()
    with ScratchWorktree(repository, repository.store_directory / _TREE) as scratch:
        for _, error in scratch.put(commit, paths, progress):
            raise error
        hint = "nothing has changed; with `--no-evaluate` it is merged all the same"
        return tuple(_evaluated(scratch.path, repository.git, paths, settings, hint))


def _evaluated(
    root: Path, git: Git, paths: Sequence[str], settings: EvaluationSettings, hint: str
) -> Iterator[EvaluatedModel]:
    evaluator = Evaluator(settings.command, root, git.environment, settings.metric, settings.timeout_seconds)
    return (_judged(evaluator, path, hint) for path in paths)


def _changed_models(repository: Repository, *commits: str) -> Sequence[str]:
    """Return the model files that are another in the second commit, or staged otherwise than HEAD, and not gone."""
    compared = commits or ("--cached", "HEAD")
    listing = repository.git.run("diff", "--name-only", "--diff-filter=d", "--no-renames", "-z", *compared)
    return sorted(filtered(repository.git, (os.fsdecode(path) for path in listing.split(b"\0")[:-1])))


def _judged(evaluator: Evaluator, path: str, hint: str) -> EvaluatedModel:
    try:
        found = evaluator.evaluate(evaluator.directory / path, path)
    except BackendError as exc:
        raise _failed(exc.message, hint) from exc
    if found.status:
        raise _failed(_told(found, path), hint)
    return EvaluatedModel(path, evaluator.command, found.status, evaluator.metric, found.value, found.seconds)


def _told(found: Evaluation, path: str) -> str:
    said = f"the command cannot judge {path}" if found.status == SKIP else f"{path} failed with status {found.status}"
    return f"{said}: {found.lines[-1][:160]}" if found.lines else said


def _failed(reason: str, hint: str) -> LamellaError:
    return ConflictError(f"the merge is not committed: {reason}", kind="evaluation-failed", hint=hint)
