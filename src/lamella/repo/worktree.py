"""Model files in the worktree: which there are, what they stand for, and writing them past Git's filter.

The fast path lets Git move manifests, then writes the files itself, in parallel and in bounded memory, and records
their stat data in Git's index, so that a `git status` after it runs no filter.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import ConflictError, FormatError, LamellaError, NotFoundError, UsageError
from lamella.core.limits import MAX_MANIFEST_NBYTES
from lamella.core.progress import SILENT, Progress
from lamella.formats.file import DescriptorFile
from lamella.repo.attributes import filtered
from lamella.repo.checkout import restore_file, split_path
from lamella.repo.gitindex import refresh_stat
from lamella.repo.manifest import PREFIX, Manifest, parse_manifest
from lamella.repo.objects import IndexEntry, tracked
from lamella.repo.repository import Repository

REGULAR = 0o100000
EXECUTABLE = 0o100755


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A regular file of the worktree, open for reading; `state` is what it was when it was opened."""

    path: str
    fd: int
    state: os.stat_result

    @property
    def source(self) -> DescriptorFile:
        """The file as the formats read it."""
        return DescriptorFile(self.fd, self.state.st_size, self.path)

    def __enter__(self) -> OpenedFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self.fd)

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

    Raises NotFoundError (path-unknown) where there is none and UsageError (path-unsafe) for a path that leads outside
    or is not a regular file.
    """
    directories, name = split_path(path)
    try:
        directory_fd = fsio.open_directory_beneath(worktree, directories)
    except FileNotFoundError as exc:
        raise _no_file(path) from exc
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    except FileNotFoundError as exc:
        raise _no_file(path) from exc
    except OSError as exc:
        raise UsageError(f"{path}: {(exc.strerror or '').lower()}", kind="path-unsafe") from exc
    finally:
        os.close(directory_fd)
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode):
        os.close(fd)
        raise UsageError(f"{path} is not a regular file", kind="path-unsafe", hint="only files can hold models")
    return OpenedFile(path, fd, state)


def _no_file(path: str) -> NotFoundError:
    return NotFoundError(f"there is no file {path}", kind="path-unknown", hint="check the spelling")


def model_entries(repository: Repository, paths: Iterable[str] | None = None) -> list[IndexEntry]:
    """Return the files in the index that Lamella keeps, those at and below `paths` where paths are given."""
    entries = [entry for entry in tracked(repository.git, paths) if entry.mode & 0o170000 == REGULAR]
    kept = set(filtered(repository.git, (entry.path for entry in entries)))
    return [entry for entry in entries if entry.path in kept]


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling the worktree did: the files written, their bytes, and the paths that could not be, with why."""

    paths: tuple[str, ...]
    nbytes: int
    failed: tuple[tuple[str, LamellaError], ...]


@dataclass(frozen=True, slots=True)
class _Waiting:
    entry: IndexEntry
    manifest: Manifest


def unfilled(repository: Repository, paths: Iterable[str] | None = None) -> list[_Waiting]:
    """Return the model files whose worktree file is still the manifest that the index holds."""
    found = []
    with repository.reader() as reader:
        for entry in model_entries(repository, paths):
            text = _manifest_in_worktree(repository.worktree, entry.path)
            if text is None or entry.stage:
                continue
            blob = reader.read(entry.oid, prefix=PREFIX)
            if blob is not None and blob.data == text:
                found.append(_Waiting(entry, parse_manifest(text)))
    return found


def _manifest_in_worktree(worktree: Path, path: str) -> bytes | None:
    try:
        with open_file(worktree, path) as opened:
            return opened.manifest_text()
    except (NotFoundError, UsageError):
        return None


def fill(repository: Repository, paths: Iterable[str] | None = None, progress: Progress = SILENT) -> Filled:
    """Replace every manifest in the worktree by the file it stands for, and tell Git's index.

    A file that cannot be restored keeps its manifest and is reported; the others are written. Each file is replaced
    as a whole, so an interrupted fill is finished by running it again.
    """
    waiting = unfilled(repository, paths)
    written: dict[str, os.stat_result] = {}
    failed: list[tuple[str, LamellaError]] = []
    progress.start("writing files", sum(item.manifest.nbytes for item in waiting))
    for item in waiting:
        try:
            written[item.entry.path] = restore_file(
                repository.store, item.manifest, repository.worktree, item.entry.path,
                executable=item.entry.mode == EXECUTABLE, progress=progress,
            )  # fmt: skip
        except LamellaError as error:
            failed.append((item.entry.path, error))
    progress.finish()
    record_stat(repository, [(item.entry, written[item.entry.path]) for item in waiting if item.entry.path in written])
    return Filled(tuple(written), sum(state.st_size for state in written.values()), tuple(failed))


def record_stat(repository: Repository, states: Sequence[tuple[IndexEntry, os.stat_result]]) -> None:
    """Tell Git's index that the files with these stats are what their entries say.

    Where the index is in a form we do not write, Git finds out by itself, through the filter.
    """
    if not states:
        return
    wanted = {os.fsencode(entry.path): (bytes.fromhex(entry.oid), state) for entry, state in states}
    try:
        refresh_stat(repository.git.index_path, wanted, repository.git.hash_name)
    except FormatError:
        repository.git.run("update-index", "-q", "--refresh", check=False)
