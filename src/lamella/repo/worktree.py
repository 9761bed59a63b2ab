"""The files of the worktree: which are models, reading them safely, and telling Git's index about them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio, locks
from lamella.core.errors import BackendError, ConflictError, FormatError, NotFoundError, UsageError
from lamella.core.limits import MAX_MANIFEST_NBYTES
from lamella.formats.base import Beside
from lamella.formats.file import DescriptorFile
from lamella.formats.neighbours import FolderNeighbours
from lamella.repo.attributes import filtered
from lamella.repo.checkout import split_path
from lamella.repo.gitindex import refresh_stat
from lamella.repo.manifest import PREFIX
from lamella.repo.objects import IndexEntry, tracked
from lamella.repo.repository import Repository

PLAIN = 0o100644
EXECUTABLE = 0o100755
"""The two modes that Git has for files."""

_MOST_PATHS = 1000
"""Paths that are named to one command; more are not worth naming."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A regular file of the worktree, open for reading; `state` is what it was when it was opened."""

    path: str
    fd: int
    state: os.stat_result
    directory_fd: int
    neighbours: FolderNeighbours

    @property
    def source(self) -> DescriptorFile:
        """The file as the formats read it."""
        return DescriptorFile(self.fd, self.state.st_size, self.path)

    @property
    def beside(self) -> Beside:
        """Where the file lies, for containers that take several."""
        return Beside(self.path.rpartition("/")[2], self.neighbours)

    def __enter__(self) -> OpenedFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.neighbours.close()
        os.close(self.fd)
        os.close(self.directory_fd)

    def manifest_text(self) -> bytes | None:
        """Return the content where it is a manifest's text and not a model, as in a worktree that was not filled."""
        if self.state.st_size > MAX_MANIFEST_NBYTES or os.pread(self.fd, len(PREFIX), 0) != PREFIX:
            return None
        return bytes(self.source.read_at(0, self.state.st_size))

    def ensure_unchanged(self) -> None:
        """Raise ConflictError (file-changed) where the file is not what it was when it was opened."""
        now = os.fstat(self.fd)
        if (now.st_size, now.st_mtime_ns) != (self.state.st_size, self.state.st_mtime_ns):
            raise ConflictError(
                f"{self.path} changed while it was read",
                kind="file-changed",
                hint="wait until nothing writes to it, then run the command again",
            )


def open_file(worktree: Path, path: str) -> OpenedFile:
    """Open a regular file below `worktree`, through no symbolic link.

    Raises NotFoundError (path-unknown) where there is none, UsageError (path-unsafe) for a path that leads outside or
    is not a regular file, and BackendError (unreadable) for one that cannot be opened.
    """
    directories, name = split_path(path)
    try:
        directory_fd = fsio.open_directory_beneath(worktree, directories)
    except BackendError as exc:
        if isinstance(exc.__cause__, FileNotFoundError):
            raise _no_file(path) from exc
        raise
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    except OSError as exc:
        os.close(directory_fd)
        if isinstance(exc, FileNotFoundError):
            raise _no_file(path) from exc
        if exc.errno in (errno.ELOOP, errno.ENXIO):
            raise _not_regular(path) from exc
        reason = (exc.strerror or str(exc)).lower()
        hint = "check the owner and the permissions, and how many files a process may have open"
        raise BackendError(f"cannot open {path}: {reason}", kind="unreadable", hint=hint) from exc
    opened = OpenedFile(path, fd, os.fstat(fd), directory_fd, FolderNeighbours(directory_fd, worktree))
    if not stat.S_ISREG(opened.state.st_mode):
        with opened:
            raise _not_regular(path)
    return opened


def _not_regular(path: str) -> UsageError:
    return UsageError(f"{path} is not a regular file", kind="path-unsafe", hint="only files can hold models")


def _no_file(path: str) -> NotFoundError:
    return NotFoundError(f"there is no file {path}", kind="path-unknown", hint="check the spelling")


def model_entries(repository: Repository, paths: Iterable[str] | None = None) -> list[IndexEntry]:
    """Return the files in the index that Lamella keeps, those at and below `paths` where paths are given."""
    entries = [entry for entry in tracked(repository.git, paths) if stat.S_ISREG(entry.mode)]
    kept = set(filtered(repository.git, (entry.path for entry in entries)))
    return [entry for entry in entries if entry.path in kept]


def outside_sparse_checkout(repository: Repository, paths: Sequence[str]) -> set[str]:
    """Return those of `paths` that the user does not want in the worktree."""
    if not paths:
        return set()
    named = paths if len(paths) <= _MOST_PATHS else ()
    listing = repository.git.run("ls-files", "-z", "-t", "--", *named, env={"GIT_LITERAL_PATHSPECS": "1"})
    return {os.fsdecode(row[2:]) for row in listing.split(b"\0") if row.startswith(b"S ")}


def release_index(repository: Repository) -> None:
    """Remove the lock that a killed process of ours may have left on Git's index."""
    index = repository.git.index_path
    locks.release_abandoned(index.with_name(f"{index.name}.lock"))


def put_entries(repository: Repository, entries: Iterable[IndexEntry]) -> None:
    """Put entries into Git's index, without stat data, so that Git compares the files with them."""
    lines = (f"{entry.mode:o} {entry.oid}\t".encode() + os.fsencode(entry.path) + b"\0" for entry in entries)
    text = b"".join(lines)
    if text:
        release_index(repository)
        repository.git.run("update-index", "--add", "--replace", "-z", "--index-info", input=text)


def record_stat(repository: Repository, states: Sequence[tuple[IndexEntry, os.stat_result]]) -> None:
    """Tell Git's index that the files with these stats are what their entries, put there before, say.

    Where the index is in a form that we do not write, or lies where there are no hard links, Git finds out by itself,
    through the filter.
    """
    if not states:
        return
    wanted = {os.fsencode(entry.path): (bytes.fromhex(entry.oid), state) for entry, state in states}
    try:
        refresh_stat(repository.git.index_path, wanted, repository.git.hash_name)
    except (FormatError, BackendError) as error:
        if error.kind not in ("index-format", "links-unsupported"):
            raise
        repository.git.run("update-index", "-q", "--refresh", check=False, env={"LAMELLA_CLEAN": "identify"})
