"""The files of a folder in which a model is looked for: as Git has them, or as they lie on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError, NotFoundError
from lamella.core.fsio import translated
from lamella.core.limits import MAX_FOLDER_ENTRIES, MAX_MANIFEST_NBYTES
from lamella.formats.base import RandomAccess
from lamella.repo.checkout import load_skeleton, stored_file
from lamella.repo.disk_model_file import look_at, open_on_disk
from lamella.repo.manifest import OPAQUE, PREFIX, is_manifest, naming, parse_manifest
from lamella.repo.model_file import ModelFile
from lamella.repo.objects import ObjectReader, list_tree, tracked
from lamella.repo.repository import Repository
from lamella.repo.stored_model_file import StoredModelFile
from lamella.store.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file of a folder, of this length; what `open` returns is read, and need not be closed."""

    nbytes: int
    open: Callable[[], RandomAccess]


class ModelFolder(Protocol):
    """A folder, wherever it is."""

    def paths(self) -> Sequence[str]:
        """Return the files at and below, by their paths within it."""
        ...

    def look(self, path: str) -> ModelFile | None:
        """Return a file that is a model file of a known format, None for any other."""
        ...

    def text(self, path: str, limit_nbytes: int) -> bytes:
        """Return a file whole, the one itself where its manifest stands there; raise FormatError (header-too-large)."""
        ...

    def file(self, path: str) -> FolderFile:
        """Return a file, or the one whose manifest is there, to be read in part.

        Raises NotFoundError (path-unknown) for what Git has and Lamella does not keep.
        """
        ...


def committed_blobs(repository: Repository, revision: str, folder: str) -> dict[str, str]:
    """Return the blobs at and below a folder, by their path within it, at a revision, which is "" for Git's index."""
    paths = [folder] if folder else []
    entries: list[tuple[str, int, str]]
    if revision in ("", ":0"):
        entries = [(one.path, one.mode, one.oid) for one in tracked(repository.git, paths or None) if one.stage == 0]
    else:
        repository.git.resolve(revision)
        entries = [(one.path, one.mode, one.oid) for one in list_tree(repository.git, revision, *paths)]
    prefix = f"{folder}/" if folder else ""
    return {
        path.removeprefix(prefix): oid for path, mode, oid in entries if stat.S_ISREG(mode) and path.startswith(prefix)
    }


@dataclass(frozen=True)
class CommittedFolder:
    """A folder as Git has it: the blobs by their path within it. For `ModelFolder`."""

    reader: ObjectReader
    blobs: Mapping[str, str]
    store: Callable[[], ObjectStore]

    def paths(self) -> list[str]:
        """Return the blobs at and below."""
        return list(self.blobs)

    def look(self, path: str) -> ModelFile | None:
        """Return what a manifest stands for, read from the store when it is asked for. See `ModelFolder.look`."""
        found = self.reader.read(self.blobs[path], prefix=PREFIX)
        if found is None or found.data is None or not is_manifest(found.data):
            return None
        with naming(path):
            return StoredModelFile(path, parse_manifest(found.data), self.store)

    def text(self, path: str, limit_nbytes: int) -> bytes:
        """Return a blob, or the file that it stands for. See `ModelFolder.text`."""
        found = self.reader.read(self.blobs[path])
        if found is None or found.data is None:
            raise _too_long(path, limit_nbytes)
        if is_manifest(found.data):
            with naming(path):
                kept = StoredModelFile(path, parse_manifest(found.data), self.store)
            return _read(path, kept.pieces(), limit_nbytes)
        return _read(path, [found.data], limit_nbytes)

    def file(self, path: str) -> FolderFile:
        """Return the file that a manifest stands for. See `ModelFolder.file`."""
        found = self.reader.read(self.blobs[path], prefix=PREFIX)
        if found is None or found.data is None or not is_manifest(found.data):
            hint = "`lamella track 'FOLDER/**'` keeps all of a checkpoint; then add it again"
            raise NotFoundError(f"{path} is in Git itself and not kept by lamella", kind="path-unknown", hint=hint)
        return _stored(path, found.data, self.store)


@dataclass(frozen=True)
class DiskFolder:
    """A folder on disk. For `ModelFolder`."""

    where: Path
    store: Callable[[], ObjectStore]
    threads: int

    def paths(self) -> list[str]:
        """Return the files at and below, hidden folders left out."""
        found: list[str] = []
        waiting = [""]
        while waiting and len(found) < MAX_FOLDER_ENTRIES:
            folder = waiting.pop()
            with translated(self.where / folder, reading=True), os.scandir(self.where / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                        waiting.append(path)
                    elif entry.is_file():
                        found.append(path)
        return sorted(found)

    def look(self, path: str) -> ModelFile | None:
        """Return a file, opened when it is asked for. See `ModelFolder.look`."""
        try:
            file = look_at(path, self.where / path, self.store, self.threads)
        except FormatError:
            return None
        return None if file.format == OPAQUE else file

    def text(self, path: str, limit_nbytes: int) -> bytes:
        """Return a file, or the one whose manifest is there. See `ModelFolder.text`."""
        with ExitStack() as closing:
            file, _, _ = open_on_disk(self.where / path, closing)
            data = bytes(file.read_at(0, min(file.nbytes, limit_nbytes + 1)))
        if is_manifest(data):
            with naming(path):
                return _read(path, StoredModelFile(path, parse_manifest(data), self.store).pieces(), limit_nbytes)
        return _read(path, [data], limit_nbytes)

    def file(self, path: str) -> FolderFile:
        """Return a file, or the one whose manifest is there. See `ModelFolder.file`."""
        with ExitStack() as closing:
            file, _, _ = open_on_disk(self.where / path, closing)
            if file.nbytes <= MAX_MANIFEST_NBYTES and bytes(file.read_at(0, min(len(PREFIX), file.nbytes))) == PREFIX:
                return _stored(path, bytes(file.read_at(0, file.nbytes)), self.store)
            reopened = _Reopened(self.where / path, file.nbytes)
            return FolderFile(file.nbytes, lambda: reopened)


@dataclass(frozen=True, slots=True)
class _Reopened:
    """A file on disk of which none is open between two reads: a model may be in any number of them."""

    where: Path
    nbytes: int

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        with ExitStack() as closing:
            file, _, _ = open_on_disk(self.where, closing)
            return file.read_at(offset, nbytes)


def _stored(path: str, text: bytes, store: Callable[[], ObjectStore]) -> FolderFile:
    with naming(path):
        manifest = parse_manifest(text)
    return FolderFile(manifest.nbytes, lambda: stored_file(store(), manifest, load_skeleton(store(), manifest)))


def _read(path: str, pieces: Iterable[Buffer], limit_nbytes: int) -> bytes:
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > limit_nbytes:
            raise _too_long(path, limit_nbytes)
    return bytes(data)


def _too_long(path: str, limit_nbytes: int) -> FormatError:
    hint = "it is too long to be what its name says"
    return FormatError(f"{path} has more than {limit_nbytes} bytes", kind="header-too-large", hint=hint)
