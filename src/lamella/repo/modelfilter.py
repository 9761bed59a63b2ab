"""What Git's filter does to a model file: a manifest on its way in, the file itself on its way out."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError, ConflictError, FormatError, UsageError
from lamella.core.limits import IO_NBYTES, MAX_MANIFEST_NBYTES
from lamella.formats.base import Beside
from lamella.formats.file import DescriptorFile
from lamella.formats.neighbours import FolderNeighbours
from lamella.repo.checkin import check_in, identify_file
from lamella.repo.checkout import file_pieces, load_skeleton, split_path
from lamella.repo.manifest import PREFIX, is_manifest, parse_for_git, parse_manifest, write_manifest
from lamella.repo.packetline import Content
from lamella.repo.relatives import models_beside
from lamella.repo.repository import Repository

Warn = Callable[[str, str], None]
"""Hears of a path and one sentence about it. It never raises."""


class Clean(Enum):
    """What becomes of a file's weights on the way in: stored, or only hashed because nothing will refer to them."""

    STORE = "store"
    IDENTIFY = "identify"


class Smudge(Enum):
    """What reaches the worktree: the file, or its manifest because somebody else is about to write the file."""

    FILL = "fill"
    MANIFEST = "manifest"


class ModelFilter:
    """Turns model files into manifests and back, for Git. See `FilterHandler` for the contract."""

    def __init__(self, repository: Repository, clean: Clean, smudge: Smudge, warn: Warn) -> None:
        self._repository = repository
        self._clean = clean
        self._smudge = smudge
        self._warn = warn

    def clean(self, path: str, content: Content) -> Iterator[Buffer]:
        """Yield the manifest of a file; a manifest stays as it is, so a file that was not filled changes nothing.

        An empty file stays empty: Git takes every other content for a change of a file without bytes.
        """
        store = self._repository.store
        with self._spooled(path, content) as file:
            nbytes = file.nbytes
            if not nbytes:
                return
            if nbytes <= MAX_MANIFEST_NBYTES and bytes(file.read_at(0, min(nbytes, len(PREFIX)))) == PREFIX:
                text = bytes(file.read_at(0, nbytes))
                self._check_kept(path, text)
                yield text
                return
            with self._beside(path) as beside:
                if self._clean is Clean.IDENTIFY:
                    yield write_manifest(identify_file(file, store.config.threads, beside=beside))
                    return
                with self._repository.reader() as reader:
                    parents = self._repository.parents(reader, path)
                    others = partial(models_beside, self._repository, reader, path)
                    checked = check_in(store, file, parents, others=others, beside=beside)
        if checked.warning is not None:
            self._warn(path, f"{checked.warning.message}; it is kept as plain bytes")
        yield write_manifest(checked.manifest)

    def _check_kept(self, path: str, text: bytes) -> None:
        """Refuse a manifest that a merge left in pieces where Git is about to keep it, and warn where Git only looks.

        Git does not say what it wants the text for, but it holds the index's lock before it reads what it will add.
        Refused always, a file in conflict would end every `git diff`. One of a newer version is kept as it is.
        """
        try:
            parse_for_git(path, text)
        except (ConflictError, FormatError) as error:
            if error.kind == "manifest-version":
                return
            index = self._repository.git.index_path
            if self._clean is Clean.STORE and index.with_name(f"{index.name}.lock").exists():
                raise
            self._warn(path, error.message)

    @contextlib.contextmanager
    def _beside(self, path: str) -> Iterator[Beside | None]:
        """Lend what lies beside a path in the worktree, from where Git takes what it sends."""
        if self._repository.git.worktree is None:
            yield None
            return
        directories, name = split_path(path)
        try:
            folder = fsio.open_directory_beneath(self._repository.worktree, directories)
        except (BackendError, UsageError):  # the folder is gone, or a link: nothing describes the file
            yield None
            return
        try:
            with FolderNeighbours(folder) as neighbours:
                yield Beside(name, neighbours)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _spooled(self, path: str, content: Iterable[Buffer]) -> Iterator[DescriptorFile]:
        """Lend the content as a file of our own: Git sends it once, and it is read more than once."""
        directory = self._repository.store.temporary
        fsio.make_directory(directory, durable=False)
        with fsio.spool(directory) as spooled:
            with fsio.translated(directory):
                nbytes = sum(spooled.write(piece) for piece in content)
                spooled.flush()
            yield DescriptorFile(spooled.fileno(), nbytes, path)

    def _pass_through(self, path: str, head: bytes, content: Content) -> Iterator[Buffer]:
        """Yield what came. Git listens only after it has spoken, so the whole waits on disk, not in memory."""
        with self._spooled(path, itertools.chain([head], content)) as file:
            for offset in range(0, file.nbytes, IO_NBYTES):
                yield file.read_at(offset, min(IO_NBYTES, file.nbytes - offset))

    def smudge(self, path: str, content: Content) -> Iterable[Buffer]:
        """Yield the file that a manifest stands for.

        What is no manifest passes unchanged: a file that was committed before its pattern was tracked, or a merge in
        conflict. A manifest whose weights are not here passes too, with a warning, so that a clone without weights
        can be checked out at all, and so does one in which a merge mixed two structures; damaged weights do not pass.
        """
        head = content.read(len(PREFIX))
        if not is_manifest(head):
            return self._pass_through(path, head, content)
        text = head + content.read(MAX_MANIFEST_NBYTES + 1)
        if self._smudge is Smudge.MANIFEST:
            return [text]
        try:
            manifest = parse_manifest(text)
        except FormatError as exc:
            if exc.kind == "manifest-version":
                raise
            return [text]
        if self._repository.store.missing(manifest.objects()):
            self._warn(path, "its weights are not in this repository's store; the manifest stands in its place")
            return [text]
        try:
            load_skeleton(self._repository.store, manifest)
        except ConflictError as error:
            self._warn(path, f"{error.message}; the manifest stands in its place")
            return [text]
        return file_pieces(self._repository.store, manifest)
