"""What a frame of zstd holds, as a file that is read mostly from the front to the back, in bounded memory."""

from __future__ import annotations

from typing import IO, cast

import zstandard

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.limits import IO_NBYTES, KIB, MAX_ZSTD_WINDOW_NBYTES
from lamella.formats.base import RandomAccess

_MOST_HEADER_NBYTES = 18
_READ_NBYTES = 128 * KIB


class ZstdFrame:
    """The `nbytes` bytes that a frame holds, which is the run of `stored_nbytes` bytes of `file` from `offset` on.

    Reading onwards goes on where the last read ended, and reading backwards begins again. Not for use by two threads
    at once. Raises FormatError (header-malformed) where the frame says that it holds another number of bytes.
    """

    def __init__(self, file: RandomAccess, offset: int, stored_nbytes: int, nbytes: int) -> None:
        self.nbytes = nbytes
        self._run = file, offset, stored_nbytes
        head = bytes(file.read_at(offset, min(_MOST_HEADER_NBYTES, stored_nbytes)))
        try:
            parameters = zstandard.get_frame_parameters(head)
        except zstandard.ZstdError as exc:
            raise _malformed("is no frame of zstd") from exc
        if parameters.content_size not in (nbytes, zstandard.CONTENTSIZE_UNKNOWN):
            raise _malformed(f"holds {parameters.content_size} bytes, and its array has {nbytes} there")
        if parameters.window_size > MAX_ZSTD_WINDOW_NBYTES:
            raise _malformed(f"needs {parameters.window_size} bytes at once, which is more than is held")
        self._begin()

    def _begin(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_NBYTES)
        source = cast("IO[bytes]", _Source(*self._run))  # of which only `read` is called
        self._reader = decompressor.stream_reader(source, read_size=_READ_NBYTES)
        self._at = 0

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes; raise FormatError (header-malformed) where the frame is damaged."""
        if offset < self._at:
            self._begin()
        while self._at < offset:
            self._take(min(IO_NBYTES, offset - self._at))
        return self._take(nbytes)

    def _take(self, nbytes: int) -> bytes:
        try:
            made = self._reader.read(nbytes)
            if len(made) != nbytes:
                raise _malformed("ends too early")
            self._at += nbytes
            if self._at == self.nbytes and self._reader.read(1):
                raise _malformed("holds more than its array has there")
        except zstandard.ZstdError as exc:
            raise _malformed("is damaged") from exc
        return made


class _Source:
    """A run of a file as zstandard reads one."""

    def __init__(self, file: RandomAccess, offset: int, nbytes: int) -> None:
        self._file = file
        self._at = offset
        self._end = offset + nbytes

    def read(self, nbytes: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        count = min(nbytes, self._end - self._at)
        self._at += count
        return bytes(self._file.read_at(self._at - count, count))


def _malformed(reason: str) -> FormatError:
    hint = "copy all files of the checkpoint again"
    return FormatError(f"a compressed chunk {reason}", kind="header-malformed", hint=hint)
