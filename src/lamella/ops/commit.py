"""Committing a model from Python: from a file or from arrays, on any branch, without touching the worktree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import ConflictError, LamellaError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.formats.file import DescriptorFile
from lamella.formats.safetensors_header import build_header
from lamella.ops.add import stage_blobs
from lamella.repo.arrays import spec_of
from lamella.repo.attributes import filtered
from lamella.repo.checkin import check_in
from lamella.repo.checkout import split_path
from lamella.repo.manifest import PREFIX, is_manifest, write_manifest
from lamella.repo.objects import list_tree, write_blob
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.worktree import PLAIN


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
    does not exist starts at HEAD. Raises UsageError (bad-argument) for a path that no pattern names and for a file that
    is empty or a manifest, and ConflictError (lock-held) where somebody else moves the branch meanwhile.
    """
    path = _kept_path(repository, path)
    text = _message(message)
    reference = _reference(repository, branch)
    start = _tip(repository, reference) or _tip(repository, "HEAD")
    with repository.reader() as reader:
        earlier = manifest_at(reader, f"{start}:{path}") if start else None
    parents = [earlier] if earlier is not None else []
    if isinstance(source, Mapping):
        checked = check_in(repository.store, ArrayFile(source, metadata), parents, progress)
    else:
        with _opened(source) as file:
            nbytes = os.fstat(file.fileno()).st_size
            _refuse_what_is_no_model(file, nbytes)
            checked = check_in(repository.store, DescriptorFile(file.fileno(), nbytes, source), parents, progress)
    manifest = write_manifest(checked.manifest)
    mode = _mode(repository, start, path) if earlier is not None else PLAIN
    created = _write_commit(repository, reference, start, path, mode, manifest, text)
    _follow(repository, reference, path, mode, manifest)
    return CommitReport(
        created, reference.removeprefix("refs/heads/"), path, checked.manifest.model_id(), checked.added.objects,
        checked.added.stored_nbytes,
    )  # fmt: skip


def _kept_path(repository: Repository, path: str) -> str:
    """Return `path` in its shortest form; refuse one at which Git would leave the manifest in everybody's worktree."""
    directories, name = split_path(path)
    path = "/".join((*directories, name))
    if repository.git.worktree is not None and not filtered(repository.git, [path]):
        hint = f"run `lamella track '*{Path(name).suffix or name}'` first"
        raise UsageError(f"no pattern names {path!r} as a model", kind="bad-argument", hint=hint)
    return path


def _refuse_what_is_no_model(file: IO[bytes], nbytes: int) -> None:
    if not nbytes:
        raise UsageError(f"{file.name} is empty", kind="bad-argument", hint="name a model file")
    if is_manifest(file.read(len(PREFIX))):
        hint = "`lamella checkout` puts the file in its place"
        raise UsageError(f"{file.name} is the manifest of a model", kind="bad-argument", hint=hint)


def _message(message: str) -> bytes:
    """Return a message as Git keeps it."""
    try:
        text = os.fsencode(message)
    except UnicodeEncodeError:
        text = b"\0"
    if b"\0" in text:
        hint = "leave out zeros and halves of surrogate pairs"
        raise UsageError("the message is not text", kind="bad-argument", hint=hint)
    return text if text.endswith(b"\n") else text + b"\n"


def _opened(source: str | Path) -> IO[bytes]:
    try:
        return Path(source).open("rb")
    except FileNotFoundError as exc:
        raise NotFoundError(f"there is no file {source}", kind="path-unknown", hint="check the spelling") from exc
    except OSError as exc:
        raise fsio.backend_error(exc, source) from exc


def _reference(repository: Repository, branch: str | None) -> str:
    if branch is None:
        head = repository.git.run("symbolic-ref", "--quiet", "HEAD", check=False).decode().strip()
        return head or "HEAD"
    name = f"refs/heads/{branch}"
    if not branch or repository.git.run("check-ref-format", "--branch", branch, check=False).decode().strip() != branch:
        hint = "`git help check-ref-format` has the rules"
        raise UsageError(f"{branch!r} cannot be a branch", kind="bad-argument", hint=hint)
    return name


def _tip(repository: Repository, reference: str) -> str | None:
    try:
        return repository.git.resolve(f"{reference}^{{commit}}")
    except NotFoundError:
        return None


def _mode(repository: Repository, revision: str | None, path: str) -> int:
    """Return the mode that a file has at `revision`."""
    (entry,) = list_tree(repository.git, f"{revision}", path)
    return entry.mode


def _write_commit(
    repository: Repository, reference: str, start: str | None, path: str, mode: int, manifest: bytes, message: bytes
) -> str:
    """Make blob, trees, commit and reference with one process, and return the commit.

    `git fast-import` refuses to move a reference that is no ancestor of the new commit, so a branch that somebody else
    moved meanwhile stays theirs.
    """
    git = repository.git
    author, committer = (git.run("var", f"GIT_{who}_IDENT").strip() for who in ("AUTHOR", "COMMITTER"))
    lines = [
        b"commit " + reference.encode(), b"mark :1", b"author " + author, b"committer " + committer,
        b"data %d" % len(message), message, *([b"from " + start.encode()] if start else []),
        b"M %o inline " % mode + _quoted(path), b"data %d" % len(manifest), manifest, b"get-mark :1", b"done", b"",
    ]  # fmt: skip
    try:
        answer = git.run("fast-import", "--quiet", "--done", "--date-format=raw-permissive", input=b"\n".join(lines))
    except LamellaError as exc:
        if "Not updating" not in exc.message and _tip(repository, reference) == start:
            raise
        raise ConflictError(
            f"{reference} moved while the commit was made", kind="lock-held", hint="commit again on top of it"
        ) from exc
    return answer.decode().strip()


def _quoted(path: str) -> bytes:
    """Quote a path as Git's fast-import reads it."""
    raw = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + raw + b'"'


def _follow(repository: Repository, reference: str, path: str, mode: int, manifest: bytes) -> None:
    """Let the index follow where the branch that moved is the one checked out."""
    git = repository.git
    current = git.run("symbolic-ref", "--quiet", "HEAD", check=False).decode().strip()
    if git.worktree is not None and reference in (current, "HEAD"):
        stage_blobs(repository, [(path, mode, write_blob(git, manifest))])
