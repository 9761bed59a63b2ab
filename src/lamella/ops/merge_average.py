"""A running average on a branch: after every round of training, decay * branch + (1 - decay) * what was trained."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lamella.core.dtypes import DType
from lamella.core.errors import ConflictError, FormatError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.model.merging.averaging import AVERAGED
from lamella.model.merging.rules import THEIRS, Choice, Rules
from lamella.ops.fast_forward import ensure_ready, fast_forward
from lamella.ops.merge_evidence import MergeEvidence, evaluate_commit
from lamella.ops.merge_many import NOTHING_FILLED, write_merge
from lamella.ops.merge_trees import MergedFile, MergedTree, Merging, merge_trees
from lamella.ops.stalling import stalled_share
from lamella.repo.branches import branch_reference, commit_named, head_reference, message_bytes, move_branch, tip_of
from lamella.repo.evaluation_settings import EvaluationSettings
from lamella.repo.filling import Filled
from lamella.repo.git import GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.joined_model import Model, joined
from lamella.repo.manifest import describe
from lamella.repo.merge_record import MergeRecord, is_running
from lamella.repo.merge_recording import find_record
from lamella.repo.merge_sides import common_base
from lamella.repo.repository import Repository
from lamella.repo.stored_model_file import StoredModelFile
from lamella.repo.trees import changed_tree


@dataclass(frozen=True, slots=True)
class AveragedFile:
    """A model file of a running average: which tensors were taken as they are now, being no floats, and what stalled.

    `stalled` is the share, of the elements in which the two models differ, that the update left as they were, because
    the step is less than half of what the dtype can tell apart.
    """

    path: str
    model_id: str
    taken: tuple[str, ...]
    stalled: float


@dataclass(frozen=True, slots=True)
class Averaged:
    """An update of a branch: its commit before and after, which is the same where it contained the revision already."""

    branch: str
    before: GitOid
    commit: GitOid
    files: tuple[AveragedFile, ...]
    filled: Filled


def merge_average(
    repository: Repository,
    revision: str,
    branch: str,
    decay: float,
    *,
    message: str | None = None,
    evaluation: EvaluationSettings | None = None,
    progress: Progress = SILENT,
) -> Averaged:
    """Let every model of `branch` become decay * itself + (1 - decay) * that of `revision`, in a commit with both.

    Integers and flags are taken from `revision`, and files that are no models are merged by Git. The branch moves on
    its own; where it is HEAD's, index and worktree follow. Raises UsageError: bad-argument for a decay that is not
    between 0 and 1, git-refused for a branch of another worktree; NotFoundError (revision-unknown); ConflictError:
    merge-conflict where the models are not alike, or quantised, evaluation-failed, and lock-held where somebody else
    moves the branch.
    """
    if not 0 < decay < 1:
        hint = "0.99 keeps 99 % of what the branch has and takes 1 % of what is new"
        raise UsageError(f"the decay of a running average cannot be {decay:g}", kind="bad-argument", hint=hint)
    git = repository.git
    reference = branch_reference(git, branch)
    before, new = tip_of(git, reference), commit_named(git, revision)
    if before is None:
        hint = f"`git branch {branch} {revision}` lets it begin there"
        raise NotFoundError(f"there is no branch {branch!r}", kind="revision-unknown", hint=hint)
    if git.run("merge-base", before, new, check=False).decode().strip() == new:
        return Averaged(branch, before, before, (), NOTHING_FILLED)
    follows = git.worktree is not None and reference == head_reference(git)
    if follows:
        ensure_ready(repository)
    reason = f"merge {revision}: running average, {decay:g}"
    text = f"Merge {revision} into {branch}, a running average" if message is None else message
    average = _Average(decay)
    merging = Merging(average.rules_for, (branch, revision), settles=False, progress=progress)
    with ObjectWriter(git) as writer:
        base = common_base(git, (before, new))
        merged = merge_trees(repository, writer, base, (before, new), merging)
        if not merged.files:
            said = f"{branch} and {revision} have no model in common that is not the same"
            raise UsageError(said, kind="bad-argument", hint="`git merge` merges all else")
        merged = _without_earlier(repository, writer, merged, before)
        record = MergeRecord(base, (before, new), tuple(file.record for file in merged.files))
        if evaluation is not None:
            tried = write_merge(git, writer, merged, record, message_bytes(text))
            found = evaluate_commit(repository, before, tried, evaluation, progress)
            record = MergeEvidence(evaluations=found).recorded(record)
        commit = write_merge(git, writer, merged, record, message_bytes(text))
    files = average.told(repository, merged.files)
    if follows:
        return Averaged(branch, before, commit, files, fast_forward(repository, commit, reason, progress))
    move_branch(git, reference, before, commit, reason)
    # As `git merge` does: a loop that only moves this branch would leave thousands of loose objects.
    git.run("gc", "--auto", "--quiet", check=False)
    return Averaged(branch, before, commit, files, NOTHING_FILLED)


class _Average:
    """The rules of each model file of an average, and what there is to say of them afterwards."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._sides: list[tuple[Model, Model]] = []
        self._taken: list[tuple[str, ...]] = []

    def rules_for(self, sides: Sequence[Model | None]) -> Rules:
        """Return the rules of a file: floats are averaged, and all else is taken as it is now."""
        ours, theirs = sides
        assert ours is not None
        assert theirs is not None
        _ensure_alike(ours, theirs)
        moved = [name for name, row in ours.rows.items() if theirs.rows[name] != row]
        others = [name for name in moved if ours.spec(name).dtype.name not in AVERAGED]
        quantised = [name for name in others if not _is_plain(ours.spec(name).dtype)]
        if quantised:
            raise ConflictError(
                f"{quantised[0]} of {ours.path} is {ours.spec(quantised[0]).dtype.name}, which has no running average",
                kind="merge-conflict",
                hint="keep the average in floats, and quantise what is released",
            )
        self._sides.append((ours, theirs))
        self._taken.append(tuple(others))
        choices = tuple((glob.escape(name), Choice(THEIRS)) for name in others)
        return Rules(Choice("linear"), choices, weights=(self._decay, 1 - self._decay), settles=False)

    def told(self, repository: Repository, files: Sequence[MergedFile]) -> tuple[AveragedFile, ...]:
        """Return what became of the files."""
        found = []
        for file, sides, taken in zip(files, self._sides, self._taken, strict=True):
            assert file.model.manifest is not None
            after = StoredModelFile(file.record.path, file.model.manifest, repository.existing_store)
            stalled = stalled_share(*sides, joined(file.record.path, [after], ()))
            found.append(AveragedFile(file.record.path, file.record.model_id, taken, stalled))
        return tuple(found)


def _ensure_alike(ours: Model, theirs: Model) -> None:
    """Raise ConflictError for models that have not the same tensors, each of one shape and dtype."""
    specs = [{name: model.spec(name) for name in model.names} for model in (ours, theirs)]
    for name in {**specs[0], **specs[1]}:
        one, other = specs[0].get(name), specs[1].get(name)
        if one != other:
            shown = " and ".join("nothing" if spec is None else describe(spec) for spec in (one, other))
            raise ConflictError(
                f"{ours.path} and {theirs.path} are not alike: {shown}",
                kind="merge-conflict",
                hint="start the average anew from the new structure, with `git branch --force`, or merge without --ema",
            )


def _is_plain(dtype: DType) -> bool:
    """Say whether elements are flags or numbers that mean something alone, and no part of a quantised matrix."""
    return dtype.name == "bool" or (dtype.block_elements == 1 and dtype.bits > 8)


def _without_earlier(repository: Repository, writer: ObjectWriter, merged: MergedTree, commit: GitOid) -> MergedTree:
    """Leave the record of the update before out of the tree, which would grow with every update: its commit has it."""
    # One that cannot be read is somebody's own file, and stays.
    with repository.reader() as reader, contextlib.suppress(FormatError, NotFoundError):
        earlier = find_record(repository.git, reader, commit)
        if earlier is not None and all(is_running(one.rules) for one in earlier.record.paths):
            tree = changed_tree(writer, merged.tree, {earlier.path.encode(): None})
            assert tree is not None
            return replace(merged, tree=tree)
    return merged
