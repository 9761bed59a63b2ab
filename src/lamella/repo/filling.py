"""Filling the worktree: manifests that Git left there are replaced by their files, in parallel and in bounded memory.

Git's index learns of the files, so that a `git status` after it runs no filter.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lamella.core import fsio
from lamella.core.errors import BackendError, FormatError, LamellaError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.repo.checkout import restore_file, split_path
from lamella.repo.manifest import Manifest, has_conflict_markers, parse_manifest
from lamella.repo.objects import IndexEntry
from lamella.repo.repository import Repository
from lamella.repo.worktree import (
    model_entries,
    open_file,
    outside_sparse_checkout,
    put_entries,
    record_stat,
    release_index,
)


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling the worktree did: the files written, their bytes, and the paths that could not be, with why."""

    paths: tuple[str, ...]
    nbytes: int
    failed: tuple[tuple[str, LamellaError], ...]


@dataclass(frozen=True, slots=True)
class Unfilled:
    """A model file of which the worktree has only a manifest: what the manifest says, or why it cannot be understood.

    `indexed` says that it is the manifest that the index holds, and not one that `git restore --source` put there;
    `state` is what the file was when it was read.
    """

    entry: IndexEntry
    manifest: Manifest | FormatError
    state: os.stat_result
    indexed: bool

    @property
    def executable(self) -> bool:
        """Whether the user may execute the file."""
        return bool(self.state.st_mode & stat.S_IXUSR)


def unfilled(repository: Repository, entries: Iterable[IndexEntry] | None = None) -> list[Unfilled]:
    """Return the model files of which the worktree has a manifest and not the file.

    One that is malformed or of a newer version is among them, one in which a merge left its markers is not.
    """
    listed = model_entries(repository) if entries is None else entries
    # In a conflict one path has several entries; whatever side was taken, its file is wanted once.
    by_path = {entry.path: entry for entry in listed}
    found = [item for entry in by_path.values() if (item := _look(repository, entry)) is not None]
    outside = outside_sparse_checkout(repository, [item.entry.path for item in found])
    return [item for item in found if item.entry.path not in outside]


def _look(repository: Repository, entry: IndexEntry) -> Unfilled | None:
    try:
        with open_file(repository.worktree, entry.path) as opened:
            text = opened.manifest_text()
    except (NotFoundError, UsageError):
        return None
    except BackendError as error:
        if error.kind == "unreadable":
            return None
        raise
    if text is None:
        return None
    manifest: Manifest | FormatError
    try:
        manifest = parse_manifest(text)
    except FormatError as error:
        if has_conflict_markers(text):
            return None
        manifest = error
    blob = hashlib.new(repository.git.hash_name, b"blob %d\0" % len(text) + text, usedforsecurity=False)
    return Unfilled(entry, manifest, opened.state, entry.stage == 0 and blob.hexdigest() == entry.oid)


def fill(repository: Repository, progress: Progress = SILENT, entries: Sequence[IndexEntry] | None = None) -> Filled:
    """Replace every manifest in the worktree by the file it stands for, or those of `entries`, and tell Git's index.

    A file that cannot be restored keeps its manifest and is reported, and so is one that somebody wrote meanwhile, who
    keeps what he wrote; the others are written. Each file is replaced as a whole, so an interrupted fill is finished by
    running it again, and what a killed one left behind is removed.
    """
    entries = model_entries(repository) if entries is None else entries
    waiting = unfilled(repository, entries)
    # While an entry has the length of the manifest, Git takes a file of another length for changed, unseen.
    put_entries(repository, [item.entry for item in waiting if item.indexed])
    written: list[tuple[Unfilled, os.stat_result]] = []
    failed: list[tuple[str, LamellaError]] = []
    manifests = [item.manifest for item in waiting if isinstance(item.manifest, Manifest)]
    progress.start("writing files", sum(manifest.nbytes for manifest in manifests))
    try:
        for item in waiting:
            try:
                written.append((item, _restore(repository, item, progress)))
            except LamellaError as error:
                failed.append((item.entry.path, error))
    finally:
        record_stat(repository, [(item.entry, state) for item, state in written if item.indexed])
    progress.finish()
    sweep(repository, entries)
    nbytes = sum(state.st_size for _, state in written)
    return Filled(tuple(item.entry.path for item, _ in written), nbytes, tuple(failed))


def _restore(repository: Repository, item: Unfilled, progress: Progress) -> os.stat_result:
    manifest, store = item.manifest, repository.store
    if isinstance(manifest, FormatError):
        raise manifest
    needed = set(manifest.objects())
    missing = store.missing(needed)
    if missing:
        raise NotFoundError(
            f"{len(missing)} of the {len(needed)} objects that it needs are not in this repository's store",
            kind="object-missing",
            hint="copy the packs of a clone that has them from its .git/lamella/packs, then run `lamella checkout`",
        )
    return restore_file(
        store,
        manifest,
        repository.worktree,
        item.entry.path,
        executable=item.executable,
        backdated=item.indexed,
        replacing=item.state,
        progress=progress,
    )


def sweep(repository: Repository, entries: Iterable[IndexEntry]) -> int:
    """Remove what killed processes left beside models, in the root and beside Git's index; return how many files."""
    count = 0
    with contextlib.suppress(LamellaError):
        release_index(repository)
        count += fsio.sweep(repository.git.index_path.parent)
    for directories in {(), *(split_path(entry.path)[0] for entry in entries)}:
        with contextlib.suppress(LamellaError):
            os.close(fsio.open_directory_beneath(repository.worktree, directories))
            count += fsio.sweep(repository.worktree.joinpath(*directories))
    return count
