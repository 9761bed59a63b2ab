"""`show` and `ls-files`: what a model file at a revision consists of, and which model files there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamella.core.errors import LamellaError
from lamella.core.ids import ObjectId
from lamella.repo.manifest import Manifest
from lamella.repo.repository import Repository, manifest_at, split_specification
from lamella.repo.worktree import model_entries, unfilled
from lamella.store.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class ShownTensor:
    """One tensor. `stored_nbytes` is what its object takes in the store, None where it is not there."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    object: str
    stored_nbytes: int | None
    depth: int | None


@dataclass(frozen=True, slots=True)
class ShowReport:
    """One model file at a revision."""

    revision: str
    path: str
    format: str
    model_id: str
    nbytes: int
    stored_nbytes: int
    missing: int
    tensors: tuple[ShownTensor, ...]


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One model file of the index. `filled` says whether the worktree has the file and not only its manifest."""

    path: str
    format: str
    tensors: int
    nbytes: int
    model_id: str
    filled: bool


def show(repository: Repository, specification: str) -> ShowReport:
    """Describe the model file ``REV:PATH``; raise NotFoundError (revision-unknown, path-unknown) where it is not."""
    revision, path = split_specification(specification)
    manifest = repository.manifest(revision, path)
    store = repository.store
    tensors = tuple(
        ShownTensor(row.spec.name, row.spec.dtype.name, row.spec.shape, row.spec.nbytes, row.object.hex(), *stored)
        for row, stored in ((row, _stored(store, row.object)) for row in manifest.rows)
    )
    distinct = {tensor.object: tensor.stored_nbytes or 0 for tensor in tensors}
    missing = sum(tensor.stored_nbytes is None for tensor in tensors)
    return ShowReport(
        revision, path, manifest.format, manifest.model_id(), manifest.nbytes, sum(distinct.values()), missing, tensors
    )


def _stored(store: ObjectStore, identity: ObjectId) -> tuple[int | None, int | None]:
    found = store.index.find(identity)
    return (found[0][1].nbytes, found[0][1].depth) if found else (None, None)


def list_files(repository: Repository, paths: Sequence[str] = ()) -> tuple[ListedFile, ...]:
    """Return the model files of the index, those at and below `paths` where paths are given."""
    listed = []
    waiting = {item.entry.path for item in unfilled(repository)} if repository.git.worktree else set()
    with repository.reader() as reader:
        for entry in model_entries(repository, paths or None):
            manifest: Manifest | None
            try:
                manifest = manifest_at(reader, entry.oid)
            except LamellaError:
                manifest = None
            if manifest is not None and entry.stage == 0:
                listed.append(
                    ListedFile(
                        entry.path,
                        manifest.format,
                        len(manifest.rows),
                        manifest.nbytes,
                        manifest.model_id(),
                        entry.path not in waiting,
                    )  # fmt: skip
                )
    return tuple(listed)
