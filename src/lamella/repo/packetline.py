"""Git's pkt-line framing over file descriptors: four hexadecimal digits of length, then that many bytes."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError, FormatError
from lamella.core.limits import IO_NBYTES, MIB

MAX_PACKET_NBYTES = 65516
"""The most bytes that one packet carries: 65,520 less its own header (Git's LARGE_PACKET_DATA_MAX)."""

FLUSH = b"0000"
_HEADER_NBYTES = 4
_FULL_HEADER = b"%04x" % (MAX_PACKET_NBYTES + _HEADER_NBYTES)
_PACKETS_A_CALL = 16
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")


def protocol_error(what: str) -> FormatError:
    """Return the error for input that is not the protocol."""
    return FormatError(
        f"git speaks another protocol: {what}", kind="protocol", hint="run this program through git only"
    )


def _widen(fd: int) -> None:
    """Ask for a larger pipe, where the system has larger ones: fewer turns between Git and us."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, MIB)


class PacketReader:
    """Packets out of a file descriptor. After an error `broken` is true and the rest of the input has no meaning."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._view = memoryview(bytearray(IO_NBYTES))
        self._start = 0
        self._end = 0
        self.broken = False
        _widen(fd)

    def at_end(self) -> bool:
        """Wait for the next packet and say whether there is none because the input has ended."""
        return not self._available(1)

    def read(self) -> memoryview | None:
        """Return the content of the next packet, valid until the next call, or None for a flush packet.

        Raises FormatError (protocol) for anything else, a cut packet included.
        """
        header = self._take(_HEADER_NBYTES)
        if not _HEXADECIMAL.issuperset(header):
            raise self._failed("a packet without a length")
        nbytes = int(bytes(header), 16)
        if nbytes == 0:
            return None
        if not _HEADER_NBYTES <= nbytes <= MAX_PACKET_NBYTES + _HEADER_NBYTES:
            raise self._failed(f"a packet of length {nbytes}")
        return self._take(nbytes - _HEADER_NBYTES)

    def read_text(self) -> str | None:
        """Return the next packet as text without its line feed, or None for a flush packet."""
        packet = self.read()
        return None if packet is None else os.fsdecode(bytes(packet)).removesuffix("\n")

    def _take(self, nbytes: int) -> memoryview:
        if not self._available(nbytes):
            raise self._failed("the input ends inside a packet")
        self._start += nbytes
        return self._view[self._start - nbytes : self._start]

    def _available(self, nbytes: int) -> bool:
        """Buffer at least `nbytes`; return False where the input ends before them."""
        if self._start + nbytes > len(self._view):
            waiting = self._end - self._start
            self._view[:waiting] = self._view[self._start : self._end]
            self._start, self._end = 0, waiting
        while self._end - self._start < nbytes:
            if self._start == self._end:
                self._start = self._end = 0
            got = os.readv(self._fd, [self._view[self._end :]])
            if not got:
                return False
            self._end += got
        return True

    def _failed(self, what: str) -> FormatError:
        self.broken = True
        return protocol_error(what)


class Content:
    """One list of packets as a stream of bytes, to be read once, in any mixture of the ways offered."""

    def __init__(self, reader: PacketReader) -> None:
        self._reader = reader
        self._rest = memoryview(b"")
        self._ended = False
        self._closed = False

    def __iter__(self) -> Iterator[memoryview]:
        """Yield what is left in pieces of at most 64 KiB, each valid until the next is asked for."""
        while piece := self._next():
            self._rest = memoryview(b"")
            yield piece

    def read(self, nbytes: int = -1) -> bytes:
        """Return the next `nbytes` bytes, fewer only at the end, or with -1 all that is left."""
        parts = []
        while nbytes and (piece := self._next()):
            piece = piece if nbytes < 0 else piece[:nbytes]
            parts.append(bytes(piece))
            self._rest = self._rest[len(piece) :]
            nbytes -= min(len(piece), max(nbytes, 0))
        return b"".join(parts)

    def close(self) -> None:
        """Drop what is left; reading after that is a fault of the program, as it would miss bytes."""
        while self._next():
            self._rest = memoryview(b"")
        self._closed = True

    def _next(self) -> memoryview:
        """Return the bytes at hand, after waiting for some; empty at the end of the content."""
        if self._closed:
            raise RuntimeError("the content was read after the answer had begun")
        while not self._rest and not self._ended:
            packet = self._reader.read()
            if packet is None:
                self._ended = True
            else:
                self._rest = packet
        return self._rest


class PacketWriter:
    """Packets into a file descriptor. After an error `broken` is true: the other side has gone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._staged = bytearray()
        self.broken = False
        _widen(fd)

    def write_texts(self, *texts: str) -> None:
        """Write a list of one packet for each text, and the flush packet that ends it."""
        lines = [os.fsencode(text) + b"\n" for text in texts]
        self._send([b"".join(b"%04x%b" % (len(line) + _HEADER_NBYTES, line) for line in lines) + FLUSH])

    def write(self, data: Buffer) -> None:
        """Write content, in full packets as far as it fills them; `flush` writes the rest."""
        view = memoryview(data).cast("B")
        if self._staged or len(view) < MAX_PACKET_NBYTES:
            room = MAX_PACKET_NBYTES - len(self._staged)
            self._staged += view[:room]
            view = view[room:]
            if len(self._staged) == MAX_PACKET_NBYTES:
                self._send([_FULL_HEADER, self._staged])
                self._staged = bytearray()
        whole = len(view) // MAX_PACKET_NBYTES * MAX_PACKET_NBYTES
        parts: list[Buffer] = []
        for offset in range(0, whole, MAX_PACKET_NBYTES):
            parts += (_FULL_HEADER, view[offset : offset + MAX_PACKET_NBYTES])
            if len(parts) == 2 * _PACKETS_A_CALL:
                self._send(parts)
                parts = []
        self._send(parts)
        self._staged += view[whole:]

    def flush(self) -> None:
        """Write what is left of the content and the flush packet that ends it."""
        header = b"%04x" % (len(self._staged) + _HEADER_NBYTES)
        self._send([header, self._staged, FLUSH] if self._staged else [FLUSH])
        self._staged = bytearray()

    def _send(self, parts: list[Buffer]) -> None:
        while parts:
            try:
                written = os.writev(self._fd, parts)
            except BrokenPipeError as exc:
                self.broken = True
                raise BackendError("git ended before it was answered", kind="git-failed") from exc
            while parts and written >= len(parts[0]):
                written -= len(parts.pop(0))
            if written:
                parts[0] = memoryview(parts[0])[written:]
