"""FlatBuffers, read table by table: every offset is checked, and what was read is known afterwards."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_FLATBUFFER_READS
from lamella.formats.base import RandomAccess, TensorSpan

_MOST_SLOTS = 32
_MOST_TABLE_NBYTES = 512
"""What is looked at of a table; those that are known have a dozen fields of at most eight bytes."""

_MOST_LAYOUTS = 1024
"""Layouts of tables that are remembered; tables of one type and with the same fields set share one."""

_BLOCK_NBYTES = 1024
_MOST_BLOCKS = 256
"""What is read of the file at once, and how much of that is kept: what a table points to lies near it or each other."""

_BLOCK = 8192
"""Offsets that are read at once."""


class FlatBuffer:
    """A file of tables; https://flatbuffers.dev/internals describes the format.

    Every method, and those of its tables, raises FormatError: header-malformed; header-too-large where more is read
    than any model has; file-truncated.
    """

    def __init__(self, file: RandomAccess) -> None:
        self._file = file
        self._starts = array("Q")
        self._stops = array("Q")
        self._slots: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._blocks: dict[int, bytes] = {}

    @property
    def nbytes(self) -> int:
        """The length of the file."""
        return self._file.nbytes

    def root(self) -> Table:
        """Return the table that stands above all others."""
        (offset,) = struct.unpack("<I", self.read(0, 4))
        return self.table(offset)

    def read(self, at: int, nbytes: int) -> bytes:
        """Return bytes of the file and remember that they were read."""
        if len(self._starts) == MAX_FLATBUFFER_READS:
            raise FormatError(
                f"file has more than {MAX_FLATBUFFER_READS} tables, vectors and strings",
                kind="header-too-large",
                hint="split the model into several files",
            )
        if not nbytes:
            return b""
        number, first = divmod(at, _BLOCK_NBYTES)
        block = self._blocks.get(number)
        if block is None:
            block = self._load(number)
        data = block[first : first + nbytes]
        if len(data) < nbytes:
            data = bytes(self._file.read_at(at, nbytes))
        self._starts.append(at)
        self._stops.append(at + nbytes)
        return data

    def _load(self, number: int) -> bytes:
        """Return a block of the file, nothing where not all of it is at hand."""
        if len(self._blocks) == _MOST_BLOCKS:
            self._blocks.clear()
        start = number * _BLOCK_NBYTES
        block = b""
        with suppress(FormatError):
            block = bytes(self._file.read_at(start, min(_BLOCK_NBYTES, self.nbytes - start)))
        self._blocks[number] = block
        return block

    def table(self, at: int) -> Table:
        """Return the table at a byte of the file."""
        (offset,) = struct.unpack("<i", self.read(at, 4))
        where = at - offset
        known = self._slots.get(where)
        if known is None:
            nbytes, table_nbytes = struct.unpack("<HH", self.read(where, 4))
            if nbytes < 4 or table_nbytes < 4:
                raise malformed(f"there is no table at byte {at}")
            count = min((nbytes - 4) // 2, _MOST_SLOTS)
            known = table_nbytes, struct.unpack(f"<{count}H", self.read(where + 4, 2 * count))
            if len(self._slots) < _MOST_LAYOUTS:
                self._slots[where] = known
        return Table(self, at, known[1], self.read(at, min(known[0], _MOST_TABLE_NBYTES)))

    def vector(self, at: int, item_nbytes: int) -> tuple[int, int]:
        """Return where the items of the vector at a byte begin and how many there are, all inside the file."""
        (count,) = struct.unpack("<I", self.read(at, 4))
        if count * item_nbytes > self.nbytes - at - 4:
            raise malformed(f"the vector at byte {at} leaves the file")
        return at + 4, count

    def check_apart(self, spans: Sequence[TensorSpan]) -> None:
        """Raise FormatError (span-overlap) where anything that was read lies in a span that is no part.

        `spans` are in file order and disjoint. Without them the file could not be read again.
        """
        held = [span for span in spans if span.spec.nbytes and not span.part]
        starts = [span.offset for span in held]
        for start, stop in zip(self._starts, self._stops, strict=True):
            index = bisect_left(starts, stop) - 1
            if index >= 0 and held[index].offset + held[index].spec.nbytes > start:
                raise malformed(f"tensor {held[index].spec.name[:80]!r} begins inside a table", kind="span-overlap")


class Table:
    """A table of a FlatBuffer; fields are named by their slot, their position in the schema."""

    __slots__ = ("_at", "_buffer", "_data", "_slots")

    def __init__(self, buffer: FlatBuffer, at: int, slots: tuple[int, ...], data: bytes) -> None:
        self._buffer = buffer
        self._at = at
        self._slots = slots
        self._data = data

    def number(self, slot: int, code: str, default: int = 0) -> int:
        """Return a number, of the type that `struct` calls `code`."""
        offset = self._slots[slot] if slot < len(self._slots) else 0
        if not offset:
            return default
        if offset < 4 or offset + struct.calcsize(code) > len(self._data):
            raise malformed(f"field {slot} of the table at byte {self._at} leaves it")
        value: int = struct.unpack_from("<" + code, self._data, offset)[0]
        return value

    def target(self, slot: int) -> int | None:
        """Return where in the file the table, vector or string of a field lies; None where it is not there."""
        offset = self.number(slot, "I")
        return self._at + self._slots[slot] + offset if offset else None

    def tables(self, slot: int) -> Tables:
        """Return the tables of a vector, none where it is not there."""
        at = self.target(slot)
        return Tables(self._buffer, *((0, 0) if at is None else self._buffer.vector(at, 4)))

    def numbers(self, slot: int, most: int) -> tuple[int, ...] | None:
        """Return a vector of at most `most` signed numbers of 32 bits; None where it is not there."""
        at = self.target(slot)
        if at is None:
            return None
        first, count = self._buffer.vector(at, 4)
        if count > most:
            raise malformed(f"the vector at byte {at} has more than {most} numbers")
        return struct.unpack(f"<{count}i", self._buffer.read(first, 4 * count))

    def run(self, slot: int) -> tuple[int, int] | None:
        """Return where a vector of bytes begins and its length, without reading it; None where it is not there."""
        at = self.target(slot)
        return None if at is None else self._buffer.vector(at, 1)

    def text(self, slot: int, most: int) -> str:
        """Return a string of at most `most` bytes, nothing where it is not there."""
        start, nbytes = self.run(slot) or (0, 0)
        if nbytes > most:
            raise malformed(f"the text at byte {start} is longer than {most} bytes")
        try:
            return self._buffer.read(start, nbytes).decode()
        except UnicodeDecodeError as exc:
            raise malformed(f"the text at byte {start} is not UTF-8") from exc

    def shown(self, slot: int, most: int) -> str:
        """Return a string for people to read: cut behind `most` bytes, and whatever is no UTF-8 replaced."""
        start, nbytes = self.run(slot) or (0, 0)
        text = self._buffer.read(start, min(nbytes, most)).decode(errors="replace")
        return text if nbytes <= most else text + "..."


class Tables:
    """The tables of a vector, each read when it is asked for."""

    def __init__(self, buffer: FlatBuffer, first: int, count: int) -> None:
        self._buffer = buffer
        self._first = first
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Table]:
        for start in range(0, self._count, _BLOCK):
            yield from self._block(start, min(_BLOCK, self._count - start))

    def __getitem__(self, index: int) -> Table:
        if not 0 <= index < self._count:
            raise malformed(f"there is no table {index} in a vector of {self._count}")
        return next(self._block(index, 1))

    def _block(self, start: int, count: int) -> Iterator[Table]:
        at = self._first + 4 * start
        for offset in struct.unpack(f"<{count}I", self._buffer.read(at, 4 * count)):
            yield self._buffer.table(at + offset)
            at += 4


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a file for which `reason` holds."""
    return FormatError(f"model is malformed: {reason}", kind=kind, hint="export the model again")
