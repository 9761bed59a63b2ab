"""Files that are read by ranges: an open descriptor, or bytes in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.fsio import backend_error
from lamella.formats.base import Partial, RandomAccess


class DescriptorFile:
    """The first `nbytes` bytes of an open file.

    The descriptor stays the caller's to close, and `path` is only what messages call the file. It is read with `pread`
    and never mapped: a file that shrinks while it is read gives an error, where a mapping would kill the process.
    """

    def __init__(self, fd: int, nbytes: int, path: str | Path = "the file") -> None:
        self._fd = fd
        self._nbytes = nbytes
        self._path = path

    @property
    def nbytes(self) -> int:
        """The length of the file when it was opened."""
        return self._nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes; raise FormatError (file-truncated) or BackendError (io-failed)."""
        _check_range(offset, nbytes, self._nbytes)
        try:
            data = os.pread(self._fd, nbytes, offset)
            while len(data) < nbytes:
                more = os.pread(self._fd, nbytes - len(data), offset + len(data))
                _check_range(offset, nbytes, self._nbytes if more else offset + len(data))
                data += more
        except OSError as exc:
            raise backend_error(exc, self._path) from exc
        return data


class BytesFile:
    """A file that is already in memory; what is read from it is a view."""

    def __init__(self, data: Buffer) -> None:
        self._data = memoryview(data).toreadonly().cast("B")

    @property
    def nbytes(self) -> int:
        """The length of the file."""
        return self._data.nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes; raise FormatError (file-truncated) where the file ends before them."""
        _check_range(offset, nbytes, self.nbytes)
        return self._data[offset : offset + nbytes]


def reading_ahead(file: RandomAccess) -> Callable[[int, int], Buffer]:
    """Return what reads a run of `file` as far as it is at hand, given its offset and its length."""
    return file.read_ahead if isinstance(file, Partial) else file.read_at


def _check_range(offset: int, nbytes: int, file_nbytes: int) -> None:
    if not 0 <= offset <= offset + nbytes <= file_nbytes:
        raise FormatError(
            f"file ends at byte {file_nbytes}, before the {nbytes} bytes expected at byte {offset}",
            kind="file-truncated",
            hint="the file was cut short or changed while it was read; copy it again",
        )
