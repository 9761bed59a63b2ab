"""Committing a model from Python: from a file or from arrays, on any branch, without touching the worktree."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.formats.file import DescriptorFile
from lamella.formats.safetensors_header import build_header
from lamella.repo.arrays import spec_of
from lamella.repo.checkin import check_in
from lamella.repo.checkout import split_path
from lamella.repo.git import GitOid
from lamella.repo.manifest import write_manifest
from lamella.repo.objects import write_blob
from lamella.repo.repository import Repository, manifest_at


@dataclass(frozen=True, slots=True)
class CommitReport:
    """The new commit, the branch it is on, and what it stored."""

    commit: str
    branch: str
    path: str
    model_id: str
    new_objects: int
    stored_nbytes: int


class ArrayFile:
    """A safetensors file that was never written: a header, and arrays whose bytes are lent as they are asked for."""

    def __init__(self, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
        found: list[tuple[TensorSpec, Any]] = [spec_of(name, array) for name, array in arrays.items()]
        # The reference library sorts so too: widest elements first keeps every tensor aligned.
        found.sort(key=lambda item: (-item[0].dtype.item_nbytes, item[0].name))
        header = build_header([spec for spec, _ in found], metadata)
        self._pieces: list[tuple[int, memoryview]] = [(0, memoryview(header))]
        offset = len(header)
        for spec, array in found:
            self._pieces.append((offset, memoryview(array.reshape(-1).view("u1")) if spec.nbytes else memoryview(b"")))
            offset += spec.nbytes
        self._nbytes = offset

    @property
    def nbytes(self) -> int:
        """The length that the file would have."""
        return self._nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes, a view where they lie in one array."""
        stop = offset + nbytes
        parts = [
            piece[max(0, offset - start) : stop - start]
            for start, piece in self._pieces
            if start < stop and offset < start + len(piece)
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)


def commit(
    repository: Repository,
    source: str | Path | Mapping[str, Any],
    path: str,
    message: str,
    *,
    branch: str | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
) -> CommitReport:
    """Commit a model under `path` on `branch` (by default the one checked out) and return the commit.

    `source` is a file, or a mapping of name to array that is stored as safetensors. The worktree is not touched; where
    the branch is the one checked out, its index follows, so that only the worktree's file then differs. A branch that
    does not exist starts at HEAD. Raises ConflictError (lock-held) where somebody else moves the branch meanwhile.
    """
    split_path(path)
    reference = _reference(repository, branch)
    parent = _tip(repository, reference)
    with repository.reader() as reader:
        start = parent or _tip(repository, "HEAD")
        earlier = manifest_at(reader, f"{start}:{path}") if start else None
    parents = [earlier] if earlier is not None else []
    if isinstance(source, Mapping):
        checked = check_in(repository.store, ArrayFile(source, metadata), parents, progress)
    else:
        with open(source, "rb") as file:
            nbytes = os.fstat(file.fileno()).st_size
            checked = check_in(repository.store, DescriptorFile(file.fileno(), nbytes, source), parents, progress)
    blob = write_blob(repository.git, write_manifest(checked.manifest))
    created = _write_commit(repository, reference, start, parent, path, blob, message)
    return CommitReport(
        created, reference.removeprefix("refs/heads/"), path, checked.manifest.model_id(), checked.added.objects,
        checked.added.stored_nbytes,
    )  # fmt: skip


def _reference(repository: Repository, branch: str | None) -> str:
    if branch is None:
        head = repository.git.run("symbolic-ref", "--quiet", "HEAD", check=False).decode().strip()
        return head or "HEAD"
    name = f"refs/heads/{branch}"
    if repository.git.run("check-ref-format", "--normalize", name, check=False).decode().strip() != name:
        raise UsageError(f"{branch!r} cannot be a branch", kind="bad-argument")
    return name


def _tip(repository: Repository, reference: str) -> str | None:
    try:
        return repository.git.resolve(f"{reference}^{{commit}}")
    except NotFoundError:
        return None


def _write_commit(
    repository: Repository, reference: str, start: str | None, parent: str | None, path: str, blob: GitOid, message: str
) -> str:
    git = repository.git
    entry = f"100644 {blob}\t".encode() + os.fsencode(path) + b"\0"
    scratch = repository.store.temporary / f"index-{secrets.token_hex(8)}"
    index = {"GIT_INDEX_FILE": str(scratch)}
    try:
        git.run("read-tree", start or "--empty", env=index)
        git.run("update-index", "--add", "-z", "--index-info", input=entry, env=index)
        tree = git.run("write-tree", env=index).decode().strip()
    finally:
        fsio.remove(scratch)
    parents = ["-p", start] if start else []
    created = git.run("commit-tree", tree, *parents, input=message.encode()).decode().strip()
    subject = message.split("\n", 1)[0]
    try:
        git.run("update-ref", "-m", f"commit: {subject}", reference, created, parent or "0" * len(created))
    except UsageError as exc:
        raise ConflictError(
            f"{reference} moved while the commit was made", kind="lock-held", hint="commit again on top of it"
        ) from exc
    current = git.run("symbolic-ref", "--quiet", "HEAD", check=False).decode().strip()
    if git.worktree is not None and reference in (current, "HEAD"):
        git.run("update-index", "--add", "-z", "--index-info", input=entry)
    return created
