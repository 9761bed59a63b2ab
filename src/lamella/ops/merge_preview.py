"""`merge --dry-run`: what a merge would make of every model file and tensor, found out without changing anything."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec
from lamella.model.merging.plan import BASE, Compute, PlannedTensor, Stack, Take
from lamella.model.merging.rules import FROM_BASE, OURS, THEIRS, Rules
from lamella.model.merging.score import Score
from lamella.ops.merge import FAST_FORWARD, MERGED, STOPPED, UP_TO_DATE, Heads, MergeRequest, find_heads
from lamella.ops.merge_file import Versions, examine_file
from lamella.ops.merge_models import MergedModel
from lamella.ops.merge_rules import check_rules
from lamella.repo.attributes import filtered
from lamella.repo.file_merge import conflicting_files
from lamella.repo.git import GitOid
from lamella.repo.merge_state import FileMerge
from lamella.repo.objects import ObjectReader, TreeEntry, list_tree
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.settings import merge_settings
from lamella.repo.sided_files import find_renames
from lamella.repo.vocabularies import versions, vocabularies_at
from lamella.repo.worktree import EXECUTABLE, PLAIN

ADDED, REMOVED, CONFLICT, UNTOLD = "added", "removed", "conflict", "untold"
"""What becomes of a model file as a whole, besides being merged; MERGED says that its tensors are. UNTOLD is one that a
side has in Git whole, from before it was tracked: the merge stores it, and only then are its tensors known."""

_OLD_GIT = ("git before 2.38 cannot tell whether files that are no models would be in conflict",)


@dataclass(frozen=True, slots=True)
class PreviewedTensor:
    """A tensor of the result: which sides changed it, what it is called in a plan, and how it would be made.

    `how` is a strategy, or the side whose bytes are taken; it is empty for one that goes.
    """

    spec: TensorSpec
    state: str
    changed_by: tuple[int, ...]
    how: str
    score: Score | None
    conflict: str | None
    note: str


@dataclass(frozen=True, slots=True)
class PreviewedFile:
    """A model file that theirs changed: what becomes of it, and of its tensors where it is merged."""

    path: str
    outcome: str
    found: FileMerge | None = None
    tensors: tuple[PreviewedTensor, ...] = ()


@dataclass(frozen=True, slots=True)
class MergePreview:
    """How a merge would end, its model files, and `others` in conflict, which are Git's. `warnings` are about all."""

    outcome: str
    heads: Heads
    files: tuple[PreviewedFile, ...]
    warnings: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def stops(self) -> bool:
        """Whether somebody would have to decide about something."""
        undecided = any(one.outcome == CONFLICT or (one.found and one.found.conflicts) for one in self.files)
        return undecided or bool(self.others)


def preview(repository: Repository, request: MergeRequest) -> MergePreview:
    """Return what `merge` would do; raise as it does before it begins, save that something may be under way.

    Raises UsageError (git-refused), too, where the branch cannot just move on and nothing else was asked for.
    """
    heads = find_heads(repository, request)
    rules = merge_settings(repository.git.worktree) if request.rules is None else request.rules
    check_rules(rules, 2, has_base=bool(heads.bases))
    if heads.theirs in heads.bases:
        return MergePreview(UP_TO_DATE, heads, (), ())
    ahead = heads.ours in heads.bases
    if "--ff-only" in request.options and not ahead:
        said = "the branch has commits of its own, so it cannot just move on"
        raise UsageError(said, kind="git-refused", hint="leave out --ff-only")
    outcome = FAST_FORWARD if ahead and "--no-ff" not in request.options else MERGED
    crossing = (f"the histories cross: this is since {heads.bases[0][:10]}, one of {len(heads.bases)} common commits",)
    with repository.reader() as reader:
        triples = _Triples(repository, heads)
        files = tuple(
            found
            for path, stages in triples.changed()
            if (found := _file(repository, reader, heads, path, stages, rules)) is not None
        )
    others = () if ahead else conflicting_files(repository.git, request.commit or "@{upstream}")
    warnings = (*(crossing if len(heads.bases) > 1 else ()), *(_OLD_GIT if others is None else ()))
    models = set(filtered(repository.git, others or ())) | {file.path for file in files if file.outcome == CONFLICT}
    moved = [PreviewedFile(path, CONFLICT) for path in others or () if path in models]
    by_path = {file.path: file for file in (*files, *moved)}
    files = tuple(by_path[path] for path in sorted(by_path))
    ending = MergePreview(outcome, heads, files, warnings, tuple(path for path in others or () if path not in models))
    return replace(ending, outcome=STOPPED) if ending.stops else ending


@dataclass(frozen=True, slots=True)
class _Stages:
    """A path in base, ours and theirs, None where it is not."""

    base: TreeEntry | None
    ours: TreeEntry | None
    theirs: TreeEntry | None

    @property
    def blobs(self) -> tuple[str | None, str | None, str | None]:
        base, ours, theirs = (entry.oid if entry else None for entry in (self.base, self.ours, self.theirs))
        return base, ours, theirs


class _Triples:
    """The paths of a merge, followed through the renames of each side as Git finds them."""

    def __init__(self, repository: Repository, heads: Heads) -> None:
        git = self._git = repository.git
        base = heads.bases[0] if heads.bases else None
        self._base = {} if base is None else _paths(list_tree(git, base))
        self._ours, self._theirs = (_paths(list_tree(git, side)) for side in (heads.ours, heads.theirs))
        self._renamed = [{} if base is None else self._renames(base, side) for side in (heads.ours, heads.theirs)]

    def _renames(self, base: GitOid, side: GitOid) -> Mapping[str, str]:
        found = find_renames(self._git, base, side)
        return {os.fsdecode(before): os.fsdecode(after) for before, after in found.items()}

    def changed(self) -> Iterator[tuple[str, _Stages]]:
        """Yield the paths that theirs changed, called as they will be, and what each commit has of them."""
        ours, theirs = self._renamed
        named = set(self._base) | (set(self._ours) - set(ours.values())) | (set(self._theirs) - set(theirs.values()))
        for path in sorted(named):
            one, other = ours.get(path, path), theirs.get(path, path)
            stages = _Stages(self._base.get(path), self._ours.get(one), self._theirs.get(other))
            base, mine, yours = stages.blobs
            if yours not in (base, mine):
                yield one if one != path else other, stages


def _paths(entries: list[TreeEntry]) -> dict[str, TreeEntry]:
    return {entry.path: entry for entry in entries if entry.type == "blob"}


def _file(
    repository: Repository, reader: ObjectReader, heads: Heads, path: str, stages: _Stages, rules: Rules
) -> PreviewedFile | None:
    """Return what becomes of one path that theirs changed, None where it is no model file."""
    base, ours, theirs = (
        None if entry is None else manifest_at(reader, entry.oid) for entry in (stages.base, stages.ours, stages.theirs)
    )
    if ours is None and theirs is None:
        return None
    if stages.ours is None or stages.theirs is None:
        if stages.base is not None and stages.blobs[0] not in stages.blobs[1:]:
            return PreviewedFile(path, CONFLICT)
        return PreviewedFile(path, REMOVED if stages.theirs is None else ADDED)
    if ours is None or theirs is None:
        whole = all(one.mode in (PLAIN, EXECUTABLE) for one in (stages.ours, stages.theirs))
        return PreviewedFile(path, UNTOLD if whole and filtered(repository.git, [path]) else CONFLICT)
    commits = (*heads.bases[:1], None)[0], heads.ours, heads.theirs
    tell = partial(vocabularies_at, repository.git, path, versions(commits, stages.blobs))
    found, merged = examine_file(repository, Versions(path, stages.blobs, base, ours, theirs, tell), rules)
    if merged is None:
        taken = stages.blobs[0] == stages.blobs[1]
        return PreviewedFile(path, MERGED if taken else CONFLICT, None if taken else found)
    planned = (*merged.plan.tensors, *merged.plan.removed)
    tensors = tuple(_tensor(one, merged) for one in planned)
    return PreviewedFile(path, MERGED, found, tensors)


def _tensor(planned: PlannedTensor, merged: MergedModel) -> PreviewedTensor:
    outcome, conflict = merged.outcomes.get(planned.name), merged.conflicts.get(planned.name)
    score = None if outcome is None else outcome.score
    reason = None if conflict is None else conflict.reason
    how = _how(planned)
    return PreviewedTensor(planned.spec, planned.state, planned.changed_by, how, score, reason, planned.note)


def _how(planned: PlannedTensor) -> str:
    action = planned.action
    if isinstance(action, Compute):
        return action.strategy
    if isinstance(action, Stack):
        return "row by row"
    sides = {BASE: FROM_BASE, 0: OURS, 1: THEIRS}
    return sides[action.place.side] if isinstance(action, Take) else ""
