"""Committing a model from Python: from a file or from arrays, on any branch, without touching the worktree."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lamella.core import fsio
from lamella.core.errors import ConflictError, FormatError, LamellaError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.formats.base import Beside
from lamella.formats.file import DescriptorFile
from lamella.formats.neighbours import FolderNeighbours
from lamella.repo.arrayfile import ArrayFile
from lamella.repo.attributes import filtered
from lamella.repo.branches import branch_reference, head_reference, message_bytes, tip_of
from lamella.repo.checkin import check_in
from lamella.repo.checkout import split_path
from lamella.repo.git import GitOid
from lamella.repo.manifest import PREFIX, Manifest, is_manifest, write_manifest
from lamella.repo.objects import IndexEntry, TreeEntry, list_tree, tracked, write_blob
from lamella.repo.relatives import manifests_beside
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.worktree import PLAIN, put_entries


@dataclass(frozen=True, slots=True)
class CommitReport:
    """The new commit, the branch it is on, what it stored, and why a file is kept as plain bytes (`warning`)."""

    commit: str
    branch: str
    path: str
    model_id: str
    new_objects: int
    stored_nbytes: int
    warning: str | None


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
    does not exist starts at HEAD.

    Raises UsageError: bad-argument for a path that no pattern names, that is a folder or lies below a file, for a file
    that is empty or a manifest, and for arrays that no reader could load; git-refused for a branch that is checked out
    in another worktree. Raises ConflictError: version-staged where the index has another version of the file than HEAD,
    lock-held where somebody else moves the branch meanwhile or holds the index. Nothing is committed then.
    """
    path = _kept_path(repository, path)
    text = message_bytes(message)
    head = head_reference(repository.git)
    reference = branch_reference(repository.git, branch)
    tip = tip_of(repository.git, reference)
    start = tip or tip_of(repository.git, "HEAD")
    kept = _kept(repository, start, path)
    parents = _parents(repository, kept)
    others = partial(_models_beside, repository, start, path)
    if isinstance(source, Mapping):
        checked = check_in(repository.store, ArrayFile(source, metadata), parents, progress, others)
    else:
        with _opened(source) as file:
            nbytes = os.fstat(file.fileno()).st_size
            _refuse_what_is_no_model(file, nbytes)
            model = DescriptorFile(file.fileno(), nbytes, source)
            with _beside(Path(source)) as beside:
                checked = check_in(repository.store, model, parents, progress, others, beside)
    manifest = write_manifest(checked.manifest)
    mode = kept.mode if kept and stat.S_ISREG(kept.mode) else PLAIN
    follows = repository.git.worktree is not None and reference == head
    with _index_following(repository, path, mode, manifest, kept) if follows else contextlib.nullcontext():
        created = _write_commit(repository, reference, tip, start, path, mode, manifest, text)
    # As `git commit` does: a history that only Python writes would stay thousands of loose objects.
    repository.git.run("gc", "--auto", "--quiet", check=False)
    return CommitReport(
        created, reference.removeprefix("refs/heads/"), path, checked.manifest.model_id(), checked.added.objects,
        checked.added.stored_nbytes, None if checked.warning is None else checked.warning.message,
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


def _opened(source: str | Path) -> IO[bytes]:
    try:
        return Path(source).open("rb")
    except FileNotFoundError as exc:
        raise NotFoundError(f"there is no file {source}", kind="path-unknown", hint="check the spelling") from exc
    except OSError as exc:
        raise fsio.backend_error(exc, source) from exc


@contextlib.contextmanager
def _beside(source: Path) -> Iterator[Beside]:
    folder = os.open(source.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with FolderNeighbours(folder, source.parent) as neighbours:
            yield Beside(source.name, neighbours)
    finally:
        os.close(folder)


def _ancestors(path: str) -> list[str]:
    return [str(folder) for folder in PurePosixPath(path).parents][:-1]


def _kept(repository: Repository, revision: str | None, path: str) -> TreeEntry | None:
    """Return the file that `path` is at `revision`; refuse one that would take the place of others."""
    if revision is None:
        return None
    ancestors = _ancestors(path)
    named = {entry.path: entry for entry in list_tree(repository.git, revision, path, *ancestors, recursive=False)}
    for folder in ancestors:
        if folder in named and named[folder].type != "tree":
            hint = f"nothing can lie below it; leave out {folder!r}"
            raise UsageError(f"{folder!r} is a file on that branch", kind="bad-argument", hint=hint)
    kept = named.get(path)
    if kept is not None and kept.type != "blob":
        hint = "committing a file there would remove what lies in it; name a file"
        raise UsageError(f"{path!r} is a folder on that branch", kind="bad-argument", hint=hint)
    return kept


def _parents(repository: Repository, kept: TreeEntry | None) -> list[Manifest]:
    """Return the manifest that the new version comes from, if there is one that can be understood."""
    with repository.reader() as reader, contextlib.suppress(FormatError):
        earlier = manifest_at(reader, kept.oid) if kept else None
        return [] if earlier is None else [earlier]
    return []


def _models_beside(repository: Repository, revision: str | None, path: str) -> Iterator[Manifest]:
    """Yield the manifests of the other files of that kind in a revision."""
    suffix = Path(path).suffix
    entries = [] if revision is None else list_tree(repository.git, revision)
    blobs = {entry.path: entry.oid for entry in entries if entry.type == "blob" and Path(entry.path).suffix == suffix}
    with repository.reader() as reader:
        yield from manifests_beside(reader, blobs, path)


def _write_commit(
    repository: Repository,
    reference: str,
    tip: str | None,
    start: str | None,
    path: str,
    mode: int,
    manifest: bytes,
    message: bytes,
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
        if "Not updating" not in exc.message and tip_of(git, reference) == tip:
            raise
        raise ConflictError(
            f"{reference} moved while the commit was made", kind="lock-held", hint="commit again on top of it"
        ) from exc
    return answer.decode().strip()


def _quoted(path: str) -> bytes:
    """Quote a path as Git's fast-import reads it."""
    raw = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + raw + b'"'


@contextlib.contextmanager
def _index_following(
    repository: Repository, path: str, mode: int, manifest: bytes, kept: TreeEntry | None
) -> Iterator[None]:
    """Let the index of the branch that is checked out have the new version before the commit is made.

    So either both happen or neither: where the index is locked nothing is committed, and where the commit fails the
    index gets back what it had. Raises ConflictError (version-staged) where it has something else than HEAD.
    """
    git = repository.git
    entry = IndexEntry(path, mode, write_blob(git, manifest), 0)
    expected = [] if kept is None else [IndexEntry(path, kept.mode, kept.oid, 0)]
    ancestors = _ancestors(path)
    staged = tracked(git, [path]) + [one for one in tracked(git, ancestors) if one.path in ancestors]
    if staged not in (expected, [entry]):
        raise ConflictError(
            f"another version of {path} is staged",
            kind="version-staged",
            hint=f"commit it first, or drop it with `git restore --staged -- {path}`",
        )
    if staged != [entry]:
        put_entries(repository, [entry])
    try:
        yield
    except BaseException:
        absent = IndexEntry(path, 0, GitOid("0" * len(entry.oid)), 0)
        put_entries(repository, staged or [absent])
        raise
