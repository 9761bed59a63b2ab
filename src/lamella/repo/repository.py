"""A Git repository with its store: the one value that every use case starts from."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path

from lamella.core.config import DEFAULT, StoreConfig
from lamella.core.errors import FormatError, NotFoundError, UsageError
from lamella.core.limits import MAX_MANIFEST_NBYTES
from lamella.repo.git import Git
from lamella.repo.manifest import PREFIX, KnownRows, Manifest, is_manifest, naming, parse_manifest
from lamella.repo.objects import ObjectReader
from lamella.store.objects import ObjectStore

STORE_NAME = "lamella"

_STAGED = re.compile(r":[0-3]:")


class Repository:
    """A repository opened for work. Close it, or use it as a context manager.

    The store is opened when it is first needed. One thread may use the repository, several its store.
    """

    def __init__(self, git: Git, config: StoreConfig = DEFAULT) -> None:
        self.git = git
        self.config = config
        self._store: ObjectStore | None = None
        self._opening = threading.Lock()

    @classmethod
    def open(
        cls, path: str | Path = ".", config: StoreConfig = DEFAULT, environment: Mapping[str, str] | None = None
    ) -> Repository:
        """Open the repository around `path`; raise UsageError (not-a-repository) where there is none."""
        return cls(Git.discover(Path(path), environment), config)

    @property
    def store_directory(self) -> Path:
        """Where the weights lie, shared by all worktrees."""
        return self.git.common_dir / STORE_NAME

    @property
    def worktree(self) -> Path:
        """The root of the worktree; raise UsageError (bad-argument) in a bare repository."""
        if self.git.worktree is None:
            raise UsageError("a bare repository has no files", kind="bad-argument", hint="run this in a worktree")
        return self.git.worktree

    @property
    def store(self) -> ObjectStore:
        """The store, made where it is missing."""
        with self._opening:
            if self._store is None:
                exists = (self.store_directory / "packs").is_dir()
                self._store = ObjectStore(self.store_directory, self.config, create=not exists)
            return self._store

    def existing_store(self) -> ObjectStore:
        """Return the store, for what only reads; raise NotFoundError (object-missing) where there is none."""
        if not (self.store_directory / "packs").is_dir():
            raise NotFoundError(
                "this repository has no lamella store", kind="object-missing", hint="run `lamella init`"
            )
        return self.store

    def close(self) -> None:
        """Close the store, if it was opened."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def reader(self) -> ObjectReader:
        """Return a reader of Git's objects that holds nothing longer than a manifest."""
        return ObjectReader(self.git, limit_nbytes=MAX_MANIFEST_NBYTES)

    def manifest(self, revision: str, path: str) -> Manifest:
        """Return the manifest of the model file `path`, relative to the root, at `revision`.

        The index is "", and ":1" to ":3" are the sides of a conflict in it.

        Raises NotFoundError (revision-unknown, path-unknown) and, for a file that is not a model's, UsageError.
        """
        with self.reader() as reader:
            found = manifest_at(reader, f"{revision or ':0'}:{path}")
        if found is None:
            if revision and not revision.startswith(":"):
                self.git.resolve(revision)
            raise NotFoundError(
                f"{revision or 'the index'} has no model file {path!r}",
                kind="path-unknown",
                hint="`lamella ls-files` lists the model files",
            )
        return found

    def parents(self, reader: ObjectReader, path: str) -> list[Manifest]:
        """Return the manifests that a new version of `path` comes from: the index's, then HEAD's."""
        found: list[Manifest] = []
        for specification in (f":0:{path}", f"HEAD:{path}"):
            try:
                manifest = manifest_at(reader, specification)
            except FormatError:
                continue
            if manifest is not None and manifest not in found[:1]:
                found.append(manifest)
        return found


def manifest_at(reader: ObjectReader, specification: str, known: KnownRows | None = None) -> Manifest | None:
    """Return the manifest in the blob that `specification` names; None where there is no such blob or it is none.

    `known` is that of `parse_manifest`.
    Raises FormatError (manifest-malformed, manifest-version) for a blob that only begins as a manifest does.
    """
    found = reader.read(specification, prefix=PREFIX)
    if found is None or found.type != "blob" or found.data is None or not is_manifest(found.data):
        return None
    with naming(specification):
        return parse_manifest(found.data, known)


def split_specification(text: str) -> tuple[str, str]:
    """Split ``REV:PATH``, ``:PATH`` or ``:STAGE:PATH``; raise UsageError (bad-argument) where there is no path."""
    start = len(":0") if _STAGED.match(text) else 0
    revision, colon, path = text[start:].partition(":")
    revision = text[:start] + revision
    if not colon or not path:
        raise UsageError(f"{text!r} is not REV:PATH", kind="bad-argument", hint="for example `HEAD:model.safetensors`")
    return revision, path
