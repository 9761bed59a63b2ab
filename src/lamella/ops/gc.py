"""`gc`: drop the weights of versions that nothing in Git reaches any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lamella.core import fsio
from lamella.core.errors import ConflictError, FormatError, LamellaError
from lamella.core.ids import ObjectId
from lamella.core.limits import MAX_MANIFEST_NBYTES
from lamella.core.progress import SILENT, Progress
from lamella.repo.filling import sweep
from lamella.repo.manifest import PREFIX, Manifest, mentioned_objects, parse_for_git
from lamella.repo.reachability import reachable_with_prefix
from lamella.repo.repository import Repository
from lamella.repo.sketches import SketchCache
from lamella.repo.worktree import model_entries
from lamella.store.gc import Collected, collect


def gc(
    repository: Repository, *, grace_seconds: float | None = None, dry_run: bool = False, progress: Progress = SILENT
) -> Collected:
    """Drop what no ref, reflog, stash, index, worktree or note reaches and no grace period protects.

    Nothing is dropped where Git cannot be read to the end, or where a manifest of a newer version is reachable, since
    what it holds cannot be known.
    """
    store = repository.store
    if grace_seconds is not None:
        store.config = dataclasses.replace(store.config, grace_seconds=grace_seconds)
    collected = collect(store, lambda: reachable_objects(repository), dry_run=dry_run, progress=progress)
    if dry_run:
        return collected
    SketchCache(store.directory).drop(store.missing)
    swept = sum(fsio.sweep(path) for name in ("info", "hooks") if (path := repository.git.common_dir / name).is_dir())
    if repository.git.worktree is not None:
        swept += sweep(repository, model_entries(repository))
    return dataclasses.replace(collected, temporaries=collected.temporaries + swept)


def reachable_manifests(repository: Repository) -> Iterator[tuple[str, str, Manifest | LamellaError]]:
    """Yield (blob, path, manifest) of every model file version that Git still knows.

    Raises FormatError (manifest-version) for a version that this program does not understand. A text that only begins
    as a manifest does comes as the error that says why: manifest-malformed, or manifest-conflict in a merge.
    """
    for blob, path, data in _texts(repository):
        yield blob, path, _understood(blob, path, data)


def reachable_objects(repository: Repository) -> set[ObjectId]:
    """Return the ids of all objects that some version needs, or that a broken manifest names."""
    needed: set[ObjectId] = set()
    for blob, path, data in _texts(repository):
        manifest = _understood(blob, path, data)
        needed.update(manifest.objects(views=True) if isinstance(manifest, Manifest) else mentioned_objects(data))
    return needed


def _texts(repository: Repository) -> Iterator[tuple[str, str, bytes]]:
    for found, path in reachable_with_prefix(repository.git, PREFIX, limit_nbytes=MAX_MANIFEST_NBYTES):
        if found.data is not None:
            yield found.oid, path, found.data


def _understood(blob: str, path: str, data: bytes) -> Manifest | LamellaError:
    try:
        return parse_for_git(f"{path or 'a file'} (blob {blob[:10]})", data)
    except (ConflictError, FormatError) as exc:
        if exc.kind == "manifest-version":
            raise
        return exc
