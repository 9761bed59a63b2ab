"""Merging any number of branches at once: one commit with all of them as parents, as Git's octopus makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lamella.core.progress import SILENT, Progress
from lamella.model.merging.choosing import check_rules
from lamella.model.merging.rules import Rules
from lamella.ops.fast_forward import ensure_ready, fast_forward
from lamella.ops.merge_evidence import NO_EVIDENCE, MergeEvidence, evaluate_commit, find_evidence
from lamella.ops.merge_trees import MergedFile, MergedTree, Merging, merge_trees
from lamella.repo.branches import message_bytes
from lamella.repo.evaluation_settings import EvaluationSettings
from lamella.repo.filling import Filled
from lamella.repo.git import Git, GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.joined_model import Model
from lamella.repo.merge_record import MergeRecord, record_path, record_text
from lamella.repo.merge_recording import trailers, with_trailers
from lamella.repo.merge_sides import MergeSides, find_sides
from lamella.repo.repository import Repository
from lamella.repo.trees import FILE, changed_tree


@dataclass(frozen=True, slots=True)
class ManyMerged:
    """What a merge of several branches did: its commit and parents, the model files merged, and those written.

    `commit` is where HEAD is now. `record` is None where there was nothing to merge: HEAD had all of it, or only moved
    forward. `evidence` is what was found in the models before they were committed.
    """

    commit: GitOid
    sides: MergeSides
    record: MergeRecord | None
    files: tuple[MergedFile, ...]
    evidence: MergeEvidence
    filled: Filled


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
    files as Git merges them. What comes of it is evaluated, where that is asked for, before the branch moves. Raises
    ConflictError (merge-conflict, evaluation-failed, local-changes), UsageError (bad-argument, git-refused), and as
    `merge_in_store` does; nothing has changed then.
    """
    ensure_ready(repository)
    git = repository.git
    sides = find_sides(git, revisions, unrelated=unrelated)
    weights = sides.weights(rules.weights)
    check_rules(rules, len(sides.commits))
    reason = f"merge {' '.join(revisions)}"
    if len(sides.commits) == 1:
        moved = sides.commits[0] != sides.head and not dry_run
        filled = fast_forward(repository, sides.commits[0], reason, progress) if moved else NOTHING_FILLED
        return ManyMerged(sides.commits[0], sides, None, (), NO_EVIDENCE, filled)

    def rules_for(models: Sequence[Model | None]) -> Rules:
        taking_part = [weight for weight, model in zip(weights, models, strict=False) if model is not None]
        return replace(rules, weights=tuple(taking_part))

    with ObjectWriter(git) as writer:
        merging = Merging(rules_for, sides.names, rules.settles, progress)
        merged = merge_trees(repository, writer, sides.base, sides.commits, merging)
        record = MergeRecord(sides.base, sides.commits, tuple(file.record for file in merged.files))
        writer.flush()
        evidence = find_evidence(repository, record, None, progress, tree=merged.tree)
        if dry_run:
            return ManyMerged(sides.head, sides, record, merged.files, evidence, NOTHING_FILLED)
        text = _message(git, message, sides)
        if evaluation is not None:
            tried = write_merge(git, writer, merged, record, text)
            found = evaluate_commit(repository, sides.head, tried, evaluation, progress)
            evidence = replace(evidence, evaluations=found)
        record = evidence.recorded(record)
        commit = write_merge(git, writer, merged, record, text)
    return ManyMerged(commit, sides, record, merged.files, evidence, fast_forward(repository, commit, reason, progress))


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
