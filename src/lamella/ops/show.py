"""`show` and `ls-files`: what a model file at a revision consists of, and which model files there are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from lamella.core.errors import IntegrityError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.repo.filling import unfilled
from lamella.repo.manifest import OPAQUE, Manifest, Row
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.targets import relative_to_root
from lamella.repo.worktree import model_entries
from lamella.store.objects import ObjectStore
from lamella.store.record import DERIVED


@dataclass(frozen=True, slots=True)
class ShownTensor:
    """One tensor, part or view, as `kind` says; a view is gathered from other tensors and has no object of its own.

    `stored_nbytes` is what its object takes in the store, None where it is not there, 0 for a view. `derived` says
    whether the object is made of others, or of one item again and again, and takes no more than that.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    object: str
    stored_nbytes: int | None
    depth: int | None
    derived: bool
    kind: str


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
    """One model file of the index. `filled` says whether the worktree has the file and not only its manifest.

    `parts` are objects that are no tensors; a file of no known format has only these.
    """

    path: str
    format: str
    tensors: int
    parts: int
    nbytes: int
    model_id: str
    filled: bool


def show(repository: Repository, specification: str) -> ShowReport:
    """Describe the model file ``REV:PATH``; raise NotFoundError (revision-unknown, path-unknown) where it is not.

    As in Git, the path is relative to the root, or to where the user stands where it begins with ``./`` or ``../``, and
    ``:PATH`` is the file of the index, ``:1:PATH`` to ``:3:PATH`` a side of a conflict.
    """
    revision, path = relative_to_root(repository, specification)
    manifest = repository.manifest(revision, path)
    store = repository.store
    tensors = tuple(
        _shown(row, "part" if row.part or manifest.format == OPAQUE else "tensor", *_stored(store, row.object))
        for row in manifest.rows
    ) + tuple(_shown(row, "view", 0, None, False) for row in manifest.views)
    distinct = {tensor.object: tensor.stored_nbytes or 0 for tensor in tensors if tensor.kind != "view"}
    missing = sum(tensor.stored_nbytes is None for tensor in tensors)
    return ShowReport(
        revision, path, manifest.format, manifest.model_id(), manifest.nbytes, sum(distinct.values()), missing, tensors
    )


def _shown(row: Row, kind: str, stored_nbytes: int | None, depth: int | None, derived: bool) -> ShownTensor:
    spec = row.spec
    return ShownTensor(
        spec.name, spec.dtype.name, spec.shape, spec.nbytes, row.object.hex(), stored_nbytes, depth, derived, kind
    )


def _stored(store: ObjectStore, identity: ObjectId) -> tuple[int | None, int | None, bool]:
    found = store.index.find(identity)
    if not found:
        return None, None, False
    name, entry = found[0]
    derived = False
    with contextlib.suppress(NotFoundError, IntegrityError):
        derived = bool(store.pack(name).head(entry).flags & DERIVED)
    return entry.nbytes, entry.depth, derived


def list_files(repository: Repository, paths: Sequence[str] = ()) -> tuple[ListedFile, ...]:
    """Return the model files of the index, those at and below `paths`, relative to where the user stands.

    Raises FormatError for a manifest that this version does not understand.
    """
    git = repository.git
    wanted = [os.path.relpath(git.directory / path, git.root) for path in paths]
    entries = [entry for entry in model_entries(repository, wanted or None) if entry.stage == 0]
    absent = {item.entry.path for item in unfilled(repository, entries)}
    listed = []
    with repository.reader() as reader:
        for entry in entries:
            manifest = manifest_at(reader, f":0:{entry.path}")
            if manifest is not None:
                filled = entry.path not in absent and os.path.isfile(git.root / entry.path)
                listed.append(_listed(entry.path, manifest, filled))
    return tuple(listed)


def _listed(path: str, manifest: Manifest, filled: bool) -> ListedFile:
    opaque = manifest.format == OPAQUE
    tensors = 0 if opaque else len(manifest.tensors)
    parts = sum(row.part or opaque for row in manifest.rows)
    return ListedFile(path, manifest.format, tensors, parts, manifest.nbytes, manifest.model_id(), filled)
