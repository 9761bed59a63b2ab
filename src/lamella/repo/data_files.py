"""Files of data to look into, on disk or at a revision, kept by Lamella or whole in Git: what a folder of data has."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from lamella.core.errors import NotFoundError, UsageError
from lamella.core.fsio import translated
from lamella.core.limits import IO_NBYTES, MAX_DATA_FILES, MAX_MANIFEST_NBYTES
from lamella.formats.base import RandomAccess
from lamella.repo.checkout import load_skeleton, stored_file
from lamella.repo.contents import WholeBlob
from lamella.repo.disk_model_file import open_on_disk
from lamella.repo.git import GitOid
from lamella.repo.manifest import PREFIX, Manifest, is_manifest, naming, parse_for_git, parse_manifest
from lamella.repo.objects import list_tree, tracked
from lamella.repo.repository import STORE_NAME, Repository
from lamella.repo.targets import relative_to_root


class DataFile(Protocol):
    """One file, wherever it is."""

    @property
    def known(self) -> str | None:
        """An id of the content that costs nothing, None where there is none; Git's, so other files have none."""
        ...

    def opened(self) -> AbstractContextManager[RandomAccess]:
        """Lend the bytes. Raises NotFoundError (object-missing) where they are not here."""
        ...


@dataclass(frozen=True, slots=True)
class DataSet:
    """What `label` names: files by their path within it; a single file has the path "" and the name `name`."""

    label: str
    name: str
    files: Mapping[str, DataFile]


@dataclass(frozen=True, slots=True)
class DiskDataFile:
    """A file on disk. Where it is a manifest, the bytes are those that it stands for."""

    where: Path
    known: None = None

    @contextmanager
    def opened(self) -> Iterator[RandomAccess]:
        """Lend the bytes."""
        with ExitStack() as closing:
            file, _, _ = open_on_disk(self.where, closing)
            if file.nbytes <= MAX_MANIFEST_NBYTES and bytes(file.read_at(0, min(len(PREFIX), file.nbytes))) == PREFIX:
                manifest = parse_for_git(os.fspath(self.where), bytes(file.read_at(0, file.nbytes)))
                repository = closing.enter_context(Repository.open(self.where.parent))
                yield _stored(repository, manifest)
            else:
                yield file


@dataclass(frozen=True, slots=True)
class CommittedDataFile:
    """A file that Git has, as it is or as a manifest."""

    path: str
    oid: GitOid
    repository: Repository

    @property
    def known(self) -> str:
        """Git's id of the file, or of its manifest, which follows from it."""
        return self.oid

    @contextmanager
    def opened(self) -> Iterator[RandomAccess]:
        """Lend the bytes; a file that is whole in Git is written to a temporary one."""
        with self.repository.reader() as reader:
            found = reader.read(self.oid, prefix=PREFIX)
        if found is None or found.type != "blob":
            raise NotFoundError(f"git does not have {self.path}", kind="object-missing", hint="`git fetch` gets it")
        if found.data is not None and is_manifest(found.data):
            with naming(self.path):
                manifest = parse_manifest(found.data)
            yield _stored(self.repository, manifest)
        else:
            blob = WholeBlob(self.repository.git, self.oid, found.nbytes)
            with blob.opened(self.repository.git.common_dir / STORE_NAME / "tmp") as file:
                yield file


def _stored(repository: Repository, manifest: Manifest) -> RandomAccess:
    store = repository.existing_store()
    return stored_file(store, manifest, load_skeleton(store, manifest))


def content_digest(file: DataFile) -> str:
    """Return a digest of what a file holds, reading it."""
    hasher = blake3()
    with file.opened() as opened:
        for offset in range(0, opened.nbytes, IO_NBYTES):
            hasher.update(opened.read_at(offset, min(IO_NBYTES, opened.nbytes - offset)))
    return hasher.hexdigest()


@contextmanager
def opened_data(text: str, directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[DataSet]:
    """Give the data that `text` names, seen from `directory`: what is on disk goes before ``REV:PATH``.

    A file, or a folder with all that is in it, links left out; nothing is read yet. Raises NotFoundError (path-unknown,
    revision-unknown) for what names nothing, and UsageError (not-a-repository, bad-argument).
    """
    where = directory / text
    if os.path.lexists(where):
        files = _on_disk(where) if where.is_dir() else {"": DiskDataFile(where)}
        yield DataSet(text, where.name, files)
    elif ":" in text:
        with Repository.open(directory, environment=environment) as repository:
            revision, path = relative_to_root(repository, text)
            yield DataSet(text, os.path.basename(path), dict(_committed(repository, revision, path)))
    else:
        hint = f"a file of a revision is named as in `HEAD:{text}`"
        raise NotFoundError(f"there is no file or folder {text}", kind="path-unknown", hint=hint)


def _on_disk(where: Path) -> dict[str, DiskDataFile]:
    """Return the files at and below a folder, hidden ones left out, by their path within it."""
    found: dict[str, DiskDataFile] = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with translated(where / folder, reading=True), os.scandir(where / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.is_file(follow_symlinks=False):
                    found[path] = DiskDataFile(where / path)
                if len(found) > MAX_DATA_FILES:
                    raise _too_many(os.fspath(where))
    return {path: found[path] for path in sorted(found)}


def _committed(repository: Repository, revision: str, path: str) -> Iterator[tuple[str, CommittedDataFile]]:
    path = "" if os.path.normpath(path) == "." else path.rstrip("/")
    entries = _entries(repository, revision, path)
    if not entries:
        label = f"{revision}:{path}"
        raise NotFoundError(
            f"there is nothing at {label}", kind="path-unknown", hint="`git ls-files` lists what there is"
        )
    for name, oid in entries:
        inner = name.removeprefix(path).lstrip("/") if name != path else ""
        if not any(step.startswith(".") for step in inner.split("/")):
            yield inner, CommittedDataFile(name, oid, repository)


def _entries(repository: Repository, revision: str, path: str) -> list[tuple[str, GitOid]]:
    paths = [path] if path else []
    if revision in ("", ":0"):
        staged = [one for one in tracked(repository.git, paths or None) if one.stage == 0]
        return [(one.path, one.oid) for one in staged if stat.S_ISREG(one.mode)]
    repository.git.resolve(revision)
    listed = list_tree(repository.git, revision, *paths)
    if len(listed) > MAX_DATA_FILES:
        raise _too_many(f"{revision}:{path}")
    return [(one.path, one.oid) for one in listed if stat.S_ISREG(one.mode)]


def _too_many(label: str) -> UsageError:
    return UsageError(
        f"{label} has more than {MAX_DATA_FILES:,} files", kind="bad-argument", hint="name a folder below"
    )
