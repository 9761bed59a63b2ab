"""Writing zip archives of stored, aligned members whose bytes come in pieces (PKWARE's APPNOTE 6.3.10).

Checksums go into the headers when they are known, so that no member has a descriptor behind it, which some readers do
not expect. Times are the first that the format has: the same members make the same archive.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lamella.core.buffers import Buffer
from lamella.formats.writer import Pieces

ALIGNMENT_NBYTES = 64
"""Members begin on multiples of this, as PyTorch's do."""

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_FULL = 0xFFFF_FFFF
_MANY = 0xFFFF
_UTF8 = 0x0800
_NEW_YEAR_1980 = 1 << 5 | 1
_VERSION, _VERSION_64 = 20, 45
_PADDING = b"FB"
"""The kind of the extra field in which PyTorch pads."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive: its name, its length, and its bytes in pieces."""

    name: bytes
    nbytes: int
    pieces: Iterable[Buffer]


@dataclass(frozen=True, slots=True)
class _Written:
    name: bytes
    nbytes: int
    offset: int
    crc: int = 0

    @property
    def flags(self) -> int:
        return 0 if self.name.isascii() else _UTF8

    def local(self) -> bytes:
        """Return what stands before the member, padded so that its bytes are aligned."""
        large = self.nbytes >= _FULL
        extra = struct.pack("<HHQQ", 1, 16, self.nbytes, self.nbytes) if large else b""
        end = self.offset + _LOCAL.size + len(self.name) + len(extra) + 4
        pad = -end % ALIGNMENT_NBYTES
        extra += _PADDING + struct.pack("<H", pad) + b"Z" * pad
        size = min(self.nbytes, _FULL)
        return _LOCAL.pack(
            b"PK\3\4", _VERSION_64 if large else _VERSION, self.flags, 0, 0, _NEW_YEAR_1980, self.crc, size, size,
            len(self.name), len(extra),
        ) + self.name + extra  # fmt: skip

    def central(self) -> bytes:
        """Return the member's row in the directory."""
        numbers = [self.nbytes, self.nbytes, self.offset]
        wide = [number for number in numbers if number >= _FULL]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size, _, offset = (min(number, _FULL) for number in numbers)
        version = _VERSION_64 if wide else _VERSION
        return _CENTRAL.pack(
            b"PK\1\2", version, version, self.flags, 0, 0, _NEW_YEAR_1980, self.crc, size, size,
            len(self.name), len(extra), 0, 0, 0, 0, offset,
        ) + self.name + extra  # fmt: skip


def write_zip(members: Iterator[Member]) -> Pieces:
    """Yield an archive of `members`, whose names are UTF-8 and differ; each is asked for when it is written."""
    offset = 0
    directory: list[_Written] = []
    for member in members:
        start = offset
        header = _Written(member.name, member.nbytes, start).local()
        yield start, header
        offset += len(header)
        crc = 0
        for piece in member.pieces:
            yield offset, piece
            crc = zlib.crc32(piece, crc)
            offset += len(piece)
        written = _Written(member.name, member.nbytes, start, crc)
        yield start, written.local()
        directory.append(written)
    yield offset, _directory(directory, offset)


def _directory(members: list[_Written], offset: int) -> bytes:
    rows = b"".join(member.central() for member in members)
    count, end = len(members), b""
    if count >= _MANY or offset >= _FULL or len(rows) >= _FULL:
        numbers = (count, count, len(rows), offset)
        end = _END64.pack(b"PK\6\6", _END64.size - 12, _VERSION_64, _VERSION_64, 0, 0, *numbers)
        end += _LOCATOR64.pack(b"PK\6\7", 0, offset + len(rows), 1)
    few, size, start = min(count, _MANY), min(len(rows), _FULL), min(offset, _FULL)
    return rows + end + _END.pack(b"PK\5\6", 0, 0, few, few, size, start, 0)
