"""`gc`: drop the weights of versions that nothing in Git reaches any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lamella.core.ids import ObjectId
from lamella.core.limits import MAX_MANIFEST_NBYTES
from lamella.core.progress import SILENT, Progress
from lamella.repo.manifest import PREFIX, Manifest, parse_manifest
from lamella.repo.reachability import reachable_with_prefix
from lamella.repo.repository import Repository
from lamella.store.gc import Collected, collect


def gc(
    repository: Repository, *, grace_seconds: float | None = None, dry_run: bool = False, progress: Progress = SILENT
) -> Collected:
    """Drop what no ref, reflog, stash, index, worktree or note reaches and no grace period protects.

    Nothing is dropped where Git cannot be read to the end, or where a reachable manifest cannot be understood.
    """
    store = repository.store
    if grace_seconds is not None:
        store.config = dataclasses.replace(store.config, grace_seconds=grace_seconds)
    return collect(store, lambda: reachable_objects(repository), dry_run=dry_run, progress=progress)


def reachable_manifests(repository: Repository) -> Iterator[tuple[str, str, Manifest]]:
    """Yield (blob, path, manifest) of every model file version that Git still knows.

    Raises FormatError for a manifest that this version does not understand, since what it holds cannot be known.
    """
    for blob, path in reachable_with_prefix(repository.git, PREFIX, limit_nbytes=MAX_MANIFEST_NBYTES):
        if blob.data is not None:
            yield blob.oid, path, parse_manifest(blob.data)


def reachable_objects(repository: Repository) -> set[ObjectId]:
    """Return the ids of all objects that some version needs."""
    return {identity for _, _, manifest in reachable_manifests(repository) for identity in manifest.objects()}
