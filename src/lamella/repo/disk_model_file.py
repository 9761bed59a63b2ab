"""A model file on disk: opened when something is read, and hashed only where somebody asks what it holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError, ConflictError, NotFoundError, UsageError
from lamella.core.graphs import Graph
from lamella.core.ids import ObjectId
from lamella.core.limits import IO_NBYTES, MAX_MANIFEST_NBYTES
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Beside, Layout, RandomAccess, TensorSpan, TensorView
from lamella.formats.file import DescriptorFile
from lamella.formats.hollow import graph_of, metadata_of
from lamella.formats.neighbours import FolderNeighbours
from lamella.formats.sniff import read_claimed
from lamella.formats.strided import contiguous, read_view
from lamella.repo.checkin import identify_file
from lamella.repo.manifest import OPAQUE, PREFIX, Manifest, naming, parse_for_git
from lamella.repo.stored_model_file import StoredModelFile
from lamella.store.objects import ObjectStore


class DiskModelFile:
    """A model file on disk. It is opened when something is read, until `close`.

    Raises ConflictError (file-changed) where it is then no longer the file that was looked at.
    """

    def __init__(self, path: str, where: Path, state: os.stat_result, layout: Layout | None, threads: int) -> None:
        self.path = path
        self.format = OPAQUE if layout is None else layout.format
        self._where = where
        self._state = state
        self._threads = threads
        self._spans = {span.spec.name: span for span in layout.tensors if not span.part} if layout else {}
        self._views = {view.spec.name: view for view in layout.views} if layout else {}
        self._closing = ExitStack()
        self.progress: Progress = SILENT

    @cached_property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The tensors by name, in file order, views behind the others."""
        found: list[TensorSpan | TensorView] = [*self._spans.values(), *self._views.values()]
        return {one.spec.name: one.spec for one in found}

    @cached_property
    def manifest(self) -> Manifest:
        """What would stand for the file in Git; nothing is stored."""
        file, beside = self._opened
        return identify_file(file, self._threads, self.progress, beside)

    def object_ids(self, names: Sequence[str]) -> Sequence[ObjectId]:
        """Return the ids of what tensors hold: of all from the manifest, of some by reading just them."""
        if len(names) == len(self.specs):
            found = {row.spec.name: row.object for row in self.manifest.tensors}
            return [found[name] for name in names]
        return [hash_pieces(read_view(*self.locate(name))) for name in names]

    def locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        """Return where the elements of a tensor lie."""
        file, _ = self._opened
        span = self._spans.get(name)
        return file, self._views[name] if span is None else contiguous(span.spec, span.offset)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from `start` to `stop` of one tensor."""
        file, view = self.locate(name)
        return bytearray().join(read_view(file, view, start, stop))

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces."""
        file, _ = self._opened
        for name in names:
            span = self._spans.get(name)
            yield read_view(file, self._views[name]) if span is None else _run(file, span.offset, span.spec.nbytes)

    def pieces(self) -> Iterator[Buffer]:
        """Yield the file itself, in order."""
        file, _ = self._opened
        return _run(file, 0, file.nbytes)

    def metadata(self) -> Mapping[str, str]:
        """Return what the file says beside its tensors."""
        return metadata_of(self.format, self._opened[0])

    def graph(self) -> Graph | None:
        """Return the computation graph that the file describes."""
        return graph_of(self.format, self._opened[0])

    @cached_property
    def _opened(self) -> tuple[DescriptorFile, Beside]:
        file, beside, state = open_on_disk(self._where, self._closing)
        if (state.st_size, state.st_mtime_ns) != (self._state.st_size, self._state.st_mtime_ns):
            hint = "wait until nothing writes to it, then run the command again"
            raise ConflictError(f"{self._where} changed while it was read", kind="file-changed", hint=hint)
        return file, beside

    def close(self) -> None:
        """Close the file, if it was opened."""
        self._closing.close()


def hash_pieces(pieces: Iterable[Buffer]) -> ObjectId:
    """Return the id of what has these bytes."""
    hasher = blake3()
    for piece in pieces:
        hasher.update(piece)
    return ObjectId(hasher.digest())


def _run(file: RandomAccess, offset: int, nbytes: int) -> Iterator[Buffer]:
    for at in range(offset, offset + nbytes, IO_NBYTES):
        yield file.read_at(at, min(IO_NBYTES, offset + nbytes - at))


def open_on_disk(where: Path, closing: ExitStack) -> tuple[DescriptorFile, Beside, os.stat_result]:
    """Open a regular file, links followed, until `closing` is closed.

    Raises NotFoundError (path-unknown), UsageError (path-unsafe) and BackendError (unreadable).
    """
    try:
        folder = os.open(where.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        closing.callback(os.close, folder)
        fd = os.open(where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        closing.callback(os.close, fd)
    except FileNotFoundError as exc:
        raise NotFoundError(f"there is no file {where}", kind="path-unknown", hint="check the spelling") from exc
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        hint = "check the owner and the permissions"
        raise BackendError(f"cannot open {where}: {reason}", kind="unreadable", hint=hint) from exc
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode):
        hint = "only files can hold models"
        raise UsageError(f"{where} is not a regular file", kind="path-unsafe", hint=hint)
    neighbours = closing.enter_context(FolderNeighbours(folder, where.parent))
    return DescriptorFile(fd, state.st_size, where), Beside(where.name, neighbours), state


def look_at(path: str, where: Path, store: Callable[[], ObjectStore], threads: int) -> StoredModelFile | DiskModelFile:
    """Return the file at `where`, which may be a manifest that stands for one; an unknown format is opaque.

    Raises FormatError where the file is not what it claims to be, and as `open_on_disk` does.
    """
    with ExitStack() as closing:
        file, beside, state = open_on_disk(where, closing)
        if bytes(file.read_at(0, min(len(PREFIX), file.nbytes))) == PREFIX and file.nbytes <= MAX_MANIFEST_NBYTES:
            text = bytes(file.read_at(0, file.nbytes))
            return StoredModelFile(path, parse_for_git(path, text), store)
        with naming(path):
            layout = read_claimed(file, beside) if file.nbytes else None
        return DiskModelFile(path, where, state, layout, threads)
