"""What stands around the manifest and every node of an OCDBT database: a length, a checksum, and zstd."""

from __future__ import annotations

import functools
from collections.abc import Callable

import zstandard

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_OCDBT_NBYTES

_CASTAGNOLI = 0x82F63B78
_HEADER_NBYTES = 12
_CHECKSUM_NBYTES = 4
_MAX_VARINT_NBYTES = 10
_ZSTD = 1


def opened(data: bytes, magic: int, name: str) -> Cursor:
    """Return the body of what begins with `magic`, its checksum verified; `name` is what messages call it.

    Layout: TensorStore's documentation of the OCDBT driver, "Storage format". Raises FormatError (header-malformed).
    """
    least = _HEADER_NBYTES + _CHECKSUM_NBYTES
    if len(data) < least or int.from_bytes(data[:4], "big") != magic:
        raise malformed(f"{name} does not begin as one does")
    if int.from_bytes(data[4:_HEADER_NBYTES], "little") != len(data):
        raise malformed(f"{name} has another length than it says")
    if crc32c(memoryview(data)[:-_CHECKSUM_NBYTES]) != int.from_bytes(data[-_CHECKSUM_NBYTES:], "little"):
        raise malformed(f"the checksum of {name} is another")
    cursor = Cursor(data[_HEADER_NBYTES:-_CHECKSUM_NBYTES], name)
    version, compression = cursor.varint(), cursor.varint()
    if version or compression > _ZSTD:
        raise malformed(f"{name} is of a version or compression that is not known")
    return cursor if compression != _ZSTD else Cursor(_inflated(cursor.rest(), name), name)


def _inflated(data: bytes, name: str) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=MAX_OCDBT_NBYTES).stream_reader(data, read_across_frames=False)
    try:
        made = reader.read(MAX_OCDBT_NBYTES + 1)
    except zstandard.ZstdError as exc:
        raise malformed(f"{name} has a damaged frame") from exc
    if len(made) > MAX_OCDBT_NBYTES:
        raise malformed(f"{name} is longer than {MAX_OCDBT_NBYTES} bytes", kind="header-too-large")
    return made


def crc32c(data: Buffer) -> int:
    """Return the CRC-32C of some bytes: reflected, of the polynomial of Castagnoli (RFC 3720, section 12.1)."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in bytes(data):
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    def entry(byte: int) -> int:
        for _ in range(8):
            byte = (byte >> 1) ^ (_CASTAGNOLI if byte & 1 else 0)
        return byte

    return tuple(map(entry, range(256)))


class Cursor:
    """A place in some bytes, from which numbers and runs are read in turn; each raises FormatError at the end."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._at = 0

    @property
    def nbytes(self) -> int:
        """The length of it all."""
        return len(self._data)

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def varint(self, most: int = (1 << 64) - 1) -> int:
        """Return a number of seven bits in each byte, the lowest first; raise FormatError where it is above `most`."""
        value = 0
        for place in range(_MAX_VARINT_NBYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if value > most:
                    raise malformed(f"a number in {self._name} is {value}, and at most {most} here")
                return value
        raise malformed(f"a number in {self._name} does not end")

    def many(self, count: int, read: Callable[[], int] | None = None) -> list[int]:
        """Return so many numbers; each takes a byte at least, so that a count that cannot be is refused at once."""
        if count > len(self._data) - self._at:
            raise malformed(f"{self._name} ends before {count} numbers")
        return [(read or self.varint)() for _ in range(count)]

    def take(self, nbytes: int) -> bytes:
        """Return the next bytes."""
        if nbytes > len(self._data) - self._at:
            raise malformed(f"{self._name} ends too early")
        self._at += nbytes
        return self._data[self._at - nbytes : self._at]

    def rest(self) -> bytes:
        """Return all that was not read."""
        return self.take(len(self._data) - self._at)

    def finish(self) -> None:
        """Raise FormatError where something was not read."""
        if self._at != len(self._data):
            raise malformed(f"{self._name} goes on where it should end")


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a database for which `reason` holds."""
    return FormatError(
        f"the OCDBT database is malformed: {reason}", kind=kind, hint="copy all files of the checkpoint again"
    )
