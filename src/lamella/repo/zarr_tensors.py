"""Arrays of Zarr as whole tensors, of which the chunks are decoded while they are read."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.formats.base import RandomAccess, TensorView
from lamella.formats.file import BytesFile
from lamella.formats.ocdbt.database import Run, Value
from lamella.formats.zarr_array import ZarrArray
from lamella.formats.zstd_frame import ZstdFrame
from lamella.repo.located import LocatedTensors
from lamella.repo.model_folders import FolderFile

_MOST_OPEN_TENSORS = 2
_MOST_OPEN_CHUNKS = 32
_MOST_OPEN_FILES = 2
"""What is kept open: a row of chunks is gone through again and again, and each takes a MiB while it is decoded."""


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array, and where each of its chunks is, in the order of their keys; None has the value that nobody wrote."""

    array: ZarrArray
    chunks: Sequence[Value | None]


class ZarrTensors(LocatedTensors):
    """The arrays of one checkpoint, of which the chunks lie in `files`, by path, or in what describes them."""

    def __init__(self, path: str, arrays: Mapping[str, StoredArray], files: Mapping[str, FolderFile]) -> None:
        super().__init__(path, {name: stored.array.spec for name, stored in arrays.items()})
        self._arrays = arrays
        self._files = files
        self._opened = functools.lru_cache(_MOST_OPEN_TENSORS)(self._open)

    def locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        """Return where the elements of a tensor lie: in its chunks, decoded, one behind the other."""
        return self._opened(name)

    def _open(self, name: str) -> tuple[RandomAccess, TensorView]:
        stored = self._arrays[name]
        boxes = tuple(box for _, box in stored.array.chunks())
        return _Chunks(stored, self._files), TensorView(stored.array.spec, boxes, stored.array.swapped)


class _Chunks:
    """The chunks of an array, decoded, as a file in which they lie one behind the other."""

    def __init__(self, stored: StoredArray, files: Mapping[str, FolderFile]) -> None:
        self._stored = stored
        self._chunk_nbytes = stored.array.chunk.nbytes
        self.nbytes = self._chunk_nbytes * len(stored.chunks)
        self._file = functools.lru_cache(_MOST_OPEN_FILES)(lambda path: files[path].open())
        self._chunk = functools.lru_cache(_MOST_OPEN_CHUNKS)(self._decoded)
        self._lock = threading.Lock()  # a frame is decoded onwards from where it is

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes, which lie in one chunk; raise FormatError where that is damaged."""
        number, start = divmod(offset, self._chunk_nbytes)
        if self._stored.chunks[number] is None:
            return bytes(nbytes)
        with self._lock:
            return self._chunk(number).read_at(start, nbytes)

    def _decoded(self, number: int) -> RandomAccess:
        value = self._stored.chunks[number]
        file, run = (self._file(value.path), value) if isinstance(value, Run) else _inline(value or b"")
        if self._stored.array.compressed:
            return ZstdFrame(file, run.offset, run.nbytes, self._chunk_nbytes)
        if run.nbytes != self._chunk_nbytes:
            reason = f"a chunk of {self._stored.array.spec.name[:80]!r} has {run.nbytes} bytes"
            hint = "copy all files of the checkpoint again"
            raise FormatError(f"{reason} where {self._chunk_nbytes} belong", kind="file-truncated", hint=hint)
        return _Part(file, run.offset, run.nbytes)


@dataclass(frozen=True, slots=True)
class _Part:
    """A run of a file as a file."""

    file: RandomAccess
    start: int
    nbytes: int

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        return self.file.read_at(self.start + offset, nbytes)


def _inline(value: bytes) -> tuple[RandomAccess, Run]:
    return BytesFile(value), Run("", 0, len(value))
