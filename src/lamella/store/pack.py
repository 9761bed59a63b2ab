"""A pack: many records in one immutable file, a directory of them at its end, named by that directory's digest.

Every byte is covered by a check: the header by its own, the directory by its digest, which names the file and covers
each head's checksum, each head covers its chunk table, each row covers one payload, and nothing lies between. Byte
tables: `docs/spec/pack.md`.
"""

from __future__ import annotations

import errno
import os
import struct
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError, IntegrityError, NotFoundError, UsageError
from lamella.core.ids import ObjectId, check, digest
from lamella.core.limits import IO_NBYTES, MAX_HEAD_NBYTES, MAX_PACK_OBJECTS
from lamella.store import record
from lamella.store.record import ChunkRow, Head

SUFFIX = ".pack"
MAGIC = b"LamPack\n"
END_MAGIC = b"LamEnd\n\0"
VERSION = 1
HEADER = struct.Struct("<8sHH4s")
ENTRY = struct.Struct("<32sQQIB3x8s")
FOOTER = struct.Struct("<QQ32s8s")
HEADER_CHECK_NBYTES = 4
ENTRY_CHECK_NBYTES = 8


class Entry(NamedTuple):
    """Where a record lies in its pack. `check` repeats the start of the head's checksum."""

    id: ObjectId
    offset: int
    payload_nbytes: int
    head_nbytes: int
    depth: int
    check: bytes

    @property
    def nbytes(self) -> int:
        """The length of the record: head and payload."""
        return self.head_nbytes + self.payload_nbytes


def _damaged(name: str, reason: str) -> IntegrityError:
    return IntegrityError(f"pack {name} is damaged: {reason}", kind="pack-damaged", hint="run `lamella fsck --repair`")


class PackReader:
    """An open pack. Reads are positional and may come from several threads.

    The file is closed when the last reference goes, so a chain goes on reading a pack that was rewritten meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as exc:
            raise NotFoundError(f"pack {path.name} is gone", kind="pack-missing") from exc
        except OSError as exc:
            raise fsio.backend_error(exc, path, reading=True) from exc
        weakref.finalize(self, os.close, self._fd)
        self.nbytes = os.fstat(self._fd).st_size

    def read_at(self, offset: int, nbytes: int) -> bytes:
        """Return exactly `nbytes` bytes.

        Raises IntegrityError (pack-damaged) where the pack ends before them or the disk has lost them.
        """
        if offset < 0 or nbytes < 0 or offset + nbytes > self.nbytes:
            raise _damaged(self.name, "it ends too early")
        data = self._pread(nbytes, offset)
        while len(data) < nbytes:
            more = self._pread(nbytes - len(data), offset + len(data))
            if not more:
                raise _damaged(self.name, "it was cut while it was read")
            data += more
        return data

    def _pread(self, nbytes: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, nbytes, offset)
        except OSError as exc:
            if exc.errno == errno.EIO:
                raise _damaged(self.name, "the disk cannot read a part of it") from exc
            raise fsio.backend_error(exc, self.path, reading=True) from exc

    def entries(self) -> list[Entry]:
        """Return the directory in file order.

        Raises IntegrityError (pack-damaged) unless header, directory and footer are as they were written and the
        records fill the pack without a gap, and FormatError (pack-version) for a pack of a newer version.
        """
        self._check_header()
        if self.nbytes < HEADER.size + FOOTER.size:
            raise _damaged(self.name, "it is shorter than an empty pack")
        offset, count, directory_digest, magic = FOOTER.unpack(self.read_at(self.nbytes - FOOTER.size, FOOTER.size))
        fits = count <= MAX_PACK_OBJECTS and offset + count * ENTRY.size + FOOTER.size == self.nbytes
        if magic != END_MAGIC or offset < HEADER.size or not fits:
            raise _damaged(self.name, "its footer does not fit its length")
        directory = self.read_at(offset, count * ENTRY.size)
        if digest(directory) != directory_digest or pack_name(directory) != self.name:
            raise _damaged(self.name, "the digest of its directory does not match")
        found = [Entry(ObjectId(identity), *rest) for identity, *rest in ENTRY.iter_unpack(directory)]
        position = HEADER.size
        for entry in found:
            if entry.offset != position or not record.is_head_length(entry.head_nbytes):
                raise _damaged(self.name, "its records do not follow each other")
            position += entry.nbytes
        if position != offset:
            raise _damaged(self.name, "its records do not fill it")
        return found

    def _check_header(self) -> None:
        if self.nbytes < HEADER.size:
            raise _damaged(self.name, "it has no header")
        header = self.read_at(0, HEADER.size)
        magic, version, flags, header_check = HEADER.unpack(header)
        if magic != MAGIC or header_check != check(header[:-HEADER_CHECK_NBYTES], HEADER_CHECK_NBYTES):
            raise _damaged(self.name, "its first bytes are not a pack's")
        if version != VERSION or flags:
            raise FormatError(
                f"pack {self.name} has version {version}, this program reads version {VERSION}",
                kind="pack-version",
                hint="upgrade lamella",
            )

    def head(self, entry: Entry) -> Head:
        """Return the head of the record at `entry`; raise IntegrityError where it is not that record or it is cut."""
        if not record.is_head_length(entry.head_nbytes) or entry.offset + entry.nbytes > self.nbytes:
            raise record.damaged("it does not lie in its pack")
        data = self.read_at(entry.offset, entry.head_nbytes)
        head = record.unpack_head(data)
        if make_entry(head, data, entry.offset) != entry:
            raise record.damaged("another object lies in its place")
        return head


def make_entry(head: Head, data: bytes, offset: int) -> Entry:
    """Return the entry of a record that lies at `offset`; `data` are the bytes of its head."""
    repeated = data[-record.HEAD_CHECK_NBYTES :][:ENTRY_CHECK_NBYTES]
    return Entry(head.id, offset, head.payload_nbytes, len(data), head.depth, repeated)


def pack_header() -> bytes:
    """Return the first bytes of every pack of this version."""
    body = HEADER.pack(MAGIC, VERSION, 0, bytes(HEADER_CHECK_NBYTES))[:-HEADER_CHECK_NBYTES]
    return body + check(body, HEADER_CHECK_NBYTES)


def pack_name(directory: Buffer) -> str:
    """Return the file name of the pack with this directory."""
    return check(directory, 20).hex() + SUFFIX


class PackWriter:
    """A pack in the making: records are appended, then the whole is published under its name, or never seen.

    Not safe for several threads. Use as a context manager; leaving it without `publish` removes the temporary. After
    an exception nothing but leaving it is defined.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._temporary = fsio.Temporary(directory)
        self._position = HEADER.size
        self._entries: list[Entry] = []
        self._pending = bytearray()
        self._pending_offset = HEADER.size

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._temporary.__exit__(*exc_info)

    @property
    def nbytes(self) -> int:
        """Bytes of header and records so far; of the whole pack once it is published."""
        return self._position

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The records appended so far."""
        return tuple(self._entries)

    def _append(self, data: Buffer) -> None:
        self._pending += data
        self._position += len(data)
        if len(self._pending) >= IO_NBYTES:
            self._flush()

    def _flush(self) -> None:
        self._temporary.write_at(self._pending, self._pending_offset)
        self._pending_offset += len(self._pending)
        self._pending = bytearray()

    def add(self, head: Head, chunks: Iterable[tuple[int, bytes]]) -> Head:
        """Append an object whose `chunks` arrive as (code, payload), and return its finished head.

        `head` states everything but the rows and the payload length. Its own bytes are written last, into room left
        before the payloads, so an object of any size passes through without being held. Raises UsageError
        (bad-argument) for an object that no reader would accept.
        """
        start = self._position
        count = 0 if head.flags & record.DERIVED else head.chunks
        head_nbytes = record.head_nbytes_for(count, len(head.parameters), len(head.sketch))
        if head_nbytes > MAX_HEAD_NBYTES:
            raise UsageError(f"an object of {head.nbytes} bytes is too large to be stored", kind="bad-argument")
        self._append(bytes(head_nbytes))
        rows: list[ChunkRow] = []
        offset = 0
        for code, payload in chunks:
            rows.append(ChunkRow(code, offset, len(payload), check(payload)))
            offset += len(payload)
            self._append(payload)
        if len(rows) != count:
            raise ValueError(f"{len(rows)} chunks given for an object of {count}")
        done = head.finished(tuple(rows), offset)
        self._write_head(done, start)
        return done

    def _write_head(self, head: Head, start: int) -> None:
        data = record.pack_head(head)
        self._enter(make_entry(head, data, start))
        inside = start - self._pending_offset
        if inside >= 0:
            self._pending[inside : inside + len(data)] = data
        else:
            self._flush()
            self._temporary.write_at(data, start)

    def _enter(self, entry: Entry) -> None:
        if len(self._entries) >= MAX_PACK_OBJECTS:
            raise UsageError(
                f"a pack holds at most {MAX_PACK_OBJECTS} objects", kind="bad-argument", hint="add fewer files at once"
            )
        self._entries.append(entry)

    def copy(self, source: PackReader, entry: Entry) -> None:
        """Append a record of another pack as it is."""
        start = self._position
        position, end = entry.offset, entry.offset + entry.nbytes
        while position < end:
            data = source.read_at(position, min(IO_NBYTES, end - position))
            self._append(data)
            position += len(data)
        self._enter(entry._replace(offset=start))

    def publish(self, modified: float | None = None) -> str:
        """Finish the pack and return its name; bytes and name are durable when this returns.

        `modified` sets the time from which a grace period counts, in seconds since the epoch; now by default.
        """
        directory = b"".join(
            ENTRY.pack(e.id, e.offset, e.payload_nbytes, e.head_nbytes, e.depth, e.check) for e in self._entries
        )
        footer = FOOTER.pack(self._position, len(self._entries), digest(directory), END_MAGIC)
        self._append(directory + footer)
        self._flush()
        self._temporary.write_at(pack_header(), 0)
        if modified is not None:
            self._temporary.set_modified(modified)
        name = pack_name(directory)
        self._temporary.publish(name)
        return name
