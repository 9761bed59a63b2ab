"""The metadata of an HDF5 file, read block by block within a budget."""

from __future__ import annotations

from array import array
from contextlib import suppress

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_HDF5_METADATA_NBYTES
from lamella.formats.base import Layout, RandomAccess

UNDEFINED = (1 << 64) - 1
"""The address of what is not there."""

_MEMORY_NBYTES = 38_000_000
"""What is kept of a file may take this much memory, and twice as much as was read of it."""

_READ_NBYTES = 16
"""The least that one read counts as, so that there is no end to reads of nothing."""

_PAGE_SHIFT = 11
_WINDOW_NBYTES = 4096
_MAX_WINDOWS = 512
"""Metadata lies close together and its blocks are small: windows of two pages are read, where that is possible."""


class Blocks:
    """The bytes of an HDF5 file from `start` on, `nbytes` of them, of which the metadata is read.

    Whatever is read counts against the length of the file: what points back to where it came from, or again and again
    to the same, is refused before it takes more time than the file is long. More is read at once than is asked for,
    but what lies there is not looked at.
    """

    def __init__(self, file: RandomAccess, start: int, nbytes: int) -> None:
        self._file = file
        self.start = start
        self.nbytes = nbytes
        self._read_nbytes = 0
        self._most_read_nbytes = min(nbytes + 64 * _READ_NBYTES, MAX_HDF5_METADATA_NBYTES)
        self._kept_nbytes = 0
        self._starts = array("q")
        self._stops = array("q", [-1])
        self._windows: dict[int, bytes] = {}

    def read(self, address: int, nbytes: int) -> bytes:
        """Return metadata; raise FormatError: span-out-of-file, header-too-large."""
        offset = self.offset(address, nbytes)
        self._read_nbytes += nbytes if nbytes > _READ_NBYTES else _READ_NBYTES
        if self._read_nbytes > self._most_read_nbytes:
            raise FormatError(
                "metadata of the file is too long, or runs in circles",
                kind="header-too-large",
                hint="write the file again, or split it into several",
            )
        if offset == self._stops[-1]:
            self._stops[-1] = offset + nbytes
        else:
            self._starts.append(offset)
            self._stops.append(offset + nbytes)
        window = self._windows.get(offset >> _PAGE_SHIFT)
        if window is None:
            window = self._window(offset >> _PAGE_SHIFT)
        at = offset & (1 << _PAGE_SHIFT) - 1
        if at + nbytes <= len(window):
            return window[at : at + nbytes]
        return bytes(self._file.read_at(offset, nbytes))

    def _window(self, page: int) -> bytes:
        """Return the bytes from the start of a page on; none where they end before, or are not all at hand."""
        if len(self._windows) >= _MAX_WINDOWS:
            self._windows.clear()
        window = b""
        with suppress(FormatError):
            window = bytes(self._file.read_at(page << _PAGE_SHIFT, _WINDOW_NBYTES))
        self._windows[page] = window
        return window

    def signed(self, address: int, nbytes: int, signature: bytes) -> bytes:
        """Return a block that must begin with `signature`, and behind it the version 0."""
        data = self.read(address, nbytes)
        if data[:5] != signature + b"\0":
            raise malformed(f"no {signature.decode()} of version 0 is at byte {self.start + address}")
        return data

    def offset(self, address: int, nbytes: int) -> int:
        """Return where in the file `nbytes` bytes at `address` are; raise FormatError where they are outside."""
        if not 0 <= address <= address + nbytes <= self.nbytes:
            raise FormatError(
                f"{nbytes} bytes at address {address} leave the HDF5 file, which has {self.nbytes}",
                kind="span-out-of-file",
                hint="the file was probably cut short; copy it again",
            )
        return self.start + address

    def keep(self, nbytes: int) -> None:
        """Count what is kept in memory; raise FormatError (too-many-tensors) where that is too much."""
        self._kept_nbytes += nbytes
        if self._kept_nbytes > _MEMORY_NBYTES + 2 * self._read_nbytes:
            raise FormatError(
                "file lists more than a reader may hold in memory",
                kind="too-many-tensors",
                hint="split the model into several files",
            )

    def check_apart(self, layout: Layout) -> None:
        """Raise FormatError (span-overlap) where a tensor has bytes that were read as metadata."""
        metadata = iter(sorted(zip(self._starts, self._stops[1:], strict=True)))
        start, stop = next(metadata, (UNDEFINED, 0))
        end = 0
        for span in layout.tensors:
            nbytes = span.spec.nbytes
            if span.part or not nbytes:
                continue
            while start < span.offset + nbytes:
                end = max(end, stop)
                start, stop = next(metadata, (UNDEFINED, 0))
            if end > span.offset:
                raise FormatError(
                    f"tensor {span.spec.name[:80]!r} lies in the metadata of the file", kind="span-overlap"
                )


def number(data: bytes, at: int, nbytes: int) -> int:
    """Return the unsigned little-endian number at `at`; raise FormatError where `data` ends before it."""
    if at + nbytes > len(data):
        raise malformed("a block ends in the middle of a number")
    return int.from_bytes(data[at : at + nbytes], "little")


def malformed(reason: str) -> FormatError:
    """Return the error of a file that no HDF5 library writes, or in a way that is not known."""
    return FormatError(f"HDF5 file is malformed: {reason}", kind="header-malformed", hint="write the file again")
