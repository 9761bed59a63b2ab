"""Merging any number of branches at once: one commit with all of them as parents, as Git's octopus makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lamella.core.progress import SILENT, Progress
from lamella.model.merging.rules import Rules
from lamella.ops.after_merge import MergeChecks, check_merged
from lamella.ops.fast_forward import ensure_ready, fast_forward
from lamella.ops.merge_evidence import EvaluatedModel, MergeEvidence, evaluate_commit
from lamella.ops.merge_trees import MergedFile, MergedTree, Merging, merge_trees, model_of
from lamella.repo.branches import message_bytes
from lamella.repo.evaluation_settings import EvaluationSettings
from lamella.repo.filling import Filled
from lamella.repo.git import Git, GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.joined_model import Model, joined
from lamella.repo.merge_record import MergeRecord, record_path, record_text
from lamella.repo.merge_recording import trailers, with_trailers
from lamella.repo.merge_sides import MergeSides, find_sides
from lamella.repo.objects import ObjectReader
from lamella.repo.repository import Repository
from lamella.repo.stored_model_file import StoredModelFile
from lamella.repo.trees import FILE, changed_tree


@dataclass(frozen=True, slots=True)
class ManyMerged:
    """What a merge of several branches did: its commit and parents, the model files merged, and those written.

    `commit` is where HEAD is now. `record` is None where there was nothing to merge: HEAD had all of it, or only moved
    forward. `checks` are what was found in the models that no side had.
    """

    commit: GitOid
    sides: MergeSides
    record: MergeRecord | None
    files: tuple[MergedFile, ...]
    checks: tuple[MergeChecks, ...]
    filled: Filled
    evaluations: tuple[EvaluatedModel, ...] = ()


def merge_many(
    repository: Repository,
    revisions: Sequence[str],
    rules: Rules,
    *,
    message: str | None = None,
    unrelated: bool = False,
    dry_run: bool = False,
    evaluation: EvaluationSettings | None = None,
    progress: Progress = SILENT,
) -> ManyMerged:
    """Merge `revisions` into HEAD and go there; on a `dry_run`, say what would come of it.

    The sides are the commits that no other contains; HEAD is one unless all of them contain it. `rules.weights` are
    theirs, in that order. Models are merged by their tensors, what only one side changed being taken from it; all other
    files as Git merges them. Raises ConflictError (merge-conflict, merge-under-way) and UsageError (bad-argument,
    git-refused), as `merge_in_store` does, and ConflictError (evaluation-failed) where a command does not let it pass;
    nothing has changed then.
    """
    ensure_ready(repository)
    git = repository.git
    sides = find_sides(git, revisions, unrelated=unrelated)
    weights = sides.weights(rules.weights)
    reason = f"merge {' '.join(revisions)}"
    if len(sides.commits) == 1:
        moved = sides.commits[0] != sides.head and not dry_run
        filled = fast_forward(repository, sides.commits[0], reason, progress) if moved else NOTHING_FILLED
        return ManyMerged(sides.commits[0], sides, None, (), (), filled)

    def rules_for(models: Sequence[Model | None]) -> Rules:
        taking_part = [weight for weight, model in zip(weights, models, strict=False) if model is not None]
        return replace(rules, weights=tuple(taking_part))

    with ObjectWriter(git) as writer:
        merging = Merging(rules_for, sides.names, rules.settles, progress)
        merged = merge_trees(repository, writer, sides.base, sides.commits, merging)
        with repository.reader() as reader:
            checks = tuple(_checked(repository, reader, file, progress) for file in merged.files)
        told = tuple(f"{one.path}: {found.where}: {found.message}" for one in checks for found in one.findings)
        record = MergeRecord(sides.base, sides.commits, tuple(file.record for file in merged.files), told)
        if dry_run:
            return ManyMerged(sides.head, sides, record, merged.files, checks, NOTHING_FILLED)
        text = _message(git, message, sides)
        commit = write_merge(git, writer, merged, record, text)
        evaluations = () if evaluation is None else evaluate_commit(repository, commit, evaluation, progress)
        if evaluations:
            record = MergeEvidence(checks, evaluations).recorded(record)
            commit = write_merge(git, writer, merged, record, text)
    filled = fast_forward(repository, commit, reason, progress)
    return ManyMerged(commit, sides, record, merged.files, checks, filled, evaluations)


def _checked(repository: Repository, reader: ObjectReader, file: MergedFile, progress: Progress) -> MergeChecks:
    """Look at what no side had."""
    record = file.record
    assert file.model.manifest is not None
    opened = StoredModelFile(record.path, file.model.manifest, repository.existing_store)
    base, *sides = (
        None if blob is None else model_of(repository, reader, record.path, blob, record.path)
        for blob in (record.base, *record.sides)
    )
    there = [side for side in sides if side is not None]
    threads = repository.config.threads
    return check_merged(joined(record.path, [opened], ()), base, there, threads=threads, progress=progress)


NOTHING_FILLED = Filled((), 0, ())


def write_merge(git: Git, writer: ObjectWriter, merged: MergedTree, record: MergeRecord, message: bytes) -> GitOid:
    """Write the commit of a merge with its record, durably, and return it; no reference names it yet."""
    text = record_text(record)
    path = record_path(text)
    tree = changed_tree(writer, merged.tree, {path.encode(): (FILE, writer.add("blob", text))})
    assert tree is not None
    writer.flush()
    parents = [option for side in record.sides for option in ("-p", side)]
    told = with_trailers(git, message, trailers(record, path))
    return GitOid(git.run("commit-tree", *parents, "-F", "-", tree, input=told).decode().strip())


def _message(git: Git, message: str | None, sides: MergeSides) -> bytes:
    if message is not None:
        return message_bytes(message)
    others = [name for name in sides.names if name != "HEAD"]
    branch = git.run("symbolic-ref", "--quiet", "--short", "HEAD", check=False).decode("utf-8", "replace").strip()
    named = f"{', '.join(others[:-1])} and {others[-1]}" if len(others) > 1 else others[0]
    return message_bytes(f"Merge {named} into {branch or 'HEAD'}")
