"""`conflicts`: the model files that a merge could not settle, and what of each somebody has to decide."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from lamella.core.errors import BackendError, LamellaError
from lamella.model.merging.rules import FROM_BASE, OURS, THEIRS
from lamella.ops.merge_file import Versions, examine_file, usual_rules
from lamella.repo.attributes import filtered
from lamella.repo.git import Git
from lamella.repo.manifest import Manifest
from lamella.repo.merge_state import FileMerge, forget_stale_states, read_state, write_state
from lamella.repo.objects import IndexEntry, ObjectReader
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.unmerged import Unmerged, under_way, unmerged
from lamella.repo.vocabularies import vocabularies_of_merge


@dataclass(frozen=True, slots=True)
class ConflictedFile:
    """A model file in conflict. Where `found.failure` says why, only a whole side can be taken: one of `sides`."""

    path: str
    found: FileMerge
    sides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConflictsReport:
    """The verb of Git's that is under way, the model files in conflict, and `others`, which are Git's business."""

    verb: str | None
    files: tuple[ConflictedFile, ...]
    others: tuple[str, ...]


def list_conflicts(repository: Repository, paths: Sequence[str] = ()) -> ConflictsReport:
    """Return what is in conflict, or what of it is at and below `paths`, relative to where the user stands.

    What the merge driver left is taken where it is of these very versions; else they are merged once more, which is
    then kept. What is kept of paths no longer in conflict is removed.
    """
    git = repository.git
    everything = unmerged(git)
    forget_stale_states(git)
    named = [os.path.relpath(git.directory / path, git.root) for path in paths]
    wanted = [one for one in everything if not named or _is_below(one.path, named)]
    kept = set(filtered(git, (one.path for one in wanted)))
    with repository.reader() as reader:
        files = tuple(look_at(repository, reader, one) for one in wanted if one.path in kept)
    return ConflictsReport(under_way(git), files, tuple(one.path for one in wanted if one.path not in kept))


def _is_below(path: str, named: Sequence[str]) -> bool:
    return any(name in (".", path) or path.startswith(f"{name}/") for name in named)


def look_at(repository: Repository, reader: ObjectReader, one: Unmerged) -> ConflictedFile:
    """Return what is in conflict in a model file."""
    stages = (FROM_BASE, one.base), (OURS, one.ours), (THEIRS, one.theirs)
    sides = tuple(name for name, entry in stages if entry is not None)
    state = read_state(repository.git, one.path, one.blobs)
    if state is None:
        state = _found_anew(repository, reader, one)
    elif state.failure is not None:
        found = _found_anew(repository, reader, one)
        if found.open or found.failure is not None:
            state = found
        else:  # merging it failed for what only shows when the file is made
            write_state(repository.git, state)
    return ConflictedFile(one.path, state, (OURS, THEIRS, *((FROM_BASE,) if FROM_BASE in sides else ())))


def _found_anew(repository: Repository, reader: ObjectReader, one: Unmerged) -> FileMerge:
    merging = under_way(repository.git) == "merge"
    state = FileMerge(one.path, one.blobs, usual_rules(repository.git.worktree, merging=merging))
    versions = versions_of(repository.git, reader, one)
    if isinstance(versions, str):
        return replace(state, failure=versions)
    try:
        state, _ = examine_file(repository, versions, state.rules)
    except BackendError:
        raise  # that is of this moment, and not of the file
    except LamellaError as error:
        return replace(state, failure=error.message)
    left = reader.read(f"AUTO_MERGE:{one.path}")  # the tree with what the merge put into the worktree
    state = replace(state, merged=None if left is None else left.oid)
    write_state(repository.git, state)
    return state


def versions_of(git: Git, reader: ObjectReader, one: Unmerged) -> Versions | str:
    """Return the versions of a file in conflict, or why they cannot be merged in parts."""
    if one.ours is None or one.theirs is None:
        if one.ours is one.theirs:
            return "ours and theirs removed it, or have it elsewhere, each in another place"
        gone = "ours" if one.ours is None else "theirs"
        return f"{gone} removed it, or has it elsewhere; the other changed it"
    ours, theirs = _manifest(reader, one.ours), _manifest(reader, one.theirs)
    if ours is None or theirs is None:
        return "a side has it in Git whole, from before it was tracked, so only a whole file can be taken"
    base = None if one.base is None else _manifest(reader, one.base)
    merging = under_way(git) == "merge"
    tell = partial(vocabularies_of_merge, git, "MERGE_HEAD", one.path, one.blobs) if merging else dict
    return Versions(one.path, one.blobs, base, ours, theirs, tell)


def _manifest(reader: ObjectReader, entry: IndexEntry) -> Manifest | None:
    return manifest_at(reader, entry.oid)
