"""`gc --repack`: choose the bases of all stored tensors anew, over every version that Git reaches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lamella.codec.delta import LAYOUT_OF_DTYPE
from lamella.core.ids import ObjectId
from lamella.core.progress import SILENT, Progress
from lamella.ops.gc import reachable_manifests, reachable_objects
from lamella.repo.manifest import OPAQUE, Manifest
from lamella.repo.repository import Repository
from lamella.store.repack import Repacked
from lamella.store.repack import repack as repack_store
from lamella.store.series import Series


def repack(
    repository: Repository, *, grace_seconds: float | None = None, dry_run: bool = False, progress: Progress = SILENT
) -> Repacked:
    """Store every object against the base that makes the whole store smallest, while no version gets slow to restore.

    No id changes. What nothing reaches and no grace period protects is not leaned on any more, where that pays, and
    dropped. Raises as `gc` does where Git cannot be read to the end, and IntegrityError
    (store-damaged) where the store is damaged.
    """
    store = repository.store
    if grace_seconds is not None:
        store.config = dataclasses.replace(store.config, grace_seconds=grace_seconds)
    return repack_store(
        store,
        lambda: reachable_series(repository),
        lambda: reachable_objects(repository),
        dry_run=dry_run,
        progress=progress,
    )


def reachable_series(repository: Repository) -> Iterator[Series]:
    """Yield the versions of every tensor, and of every skeleton, of each path that Git reaches, the newest first."""
    found: dict[tuple[str, str | None, str], dict[ObjectId, None]] = {}
    for _, path, manifest in reachable_manifests(repository):
        if not isinstance(manifest, Manifest) or manifest.format == OPAQUE:
            continue
        if manifest.skeleton is not None:
            found.setdefault((path, None, ""), {})[manifest.skeleton] = None
        for row in manifest.rows:
            found.setdefault((path, row.spec.name, row.spec.dtype.name), {})[row.object] = None
    for (*_, dtype), objects in found.items():
        yield Series(tuple(objects), LAYOUT_OF_DTYPE.get(dtype))
