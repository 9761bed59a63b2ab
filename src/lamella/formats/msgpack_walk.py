"""Walking through MessagePack from value to value, without reading what is long in it."""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.formats.base import RandomAccess

_WINDOW_NBYTES = 1024
"""What is read at once: the header of a tensor, or a number of small values."""


class Kind(Enum):
    """What a value is."""

    PLAIN = "plain"
    TEXT = "text"
    BINARY = "binary"
    EXTENSION = "extension"
    ARRAY = "array"
    MAP = "map"


class Item(NamedTuple):
    """A value, or how one begins.

    `value` is a plain value; the number of items of an array, of pairs of a map; and of the others, the number of bytes
    of the payload, which lies at `offset`. `code` is the type of an extension.
    """

    kind: Kind
    value: int | float | bool | None
    offset: int
    code: int = 0

    @property
    def length(self) -> int:
        """The number of items, pairs or bytes of what is not plain."""
        return self.value if isinstance(self.value, int) else 0

    @property
    def end(self) -> int:
        """Where the payload ends."""
        return self.offset + (self.length if self.kind in _WITH_PAYLOAD else 0)


_WITH_PAYLOAD = (Kind.TEXT, Kind.BINARY, Kind.EXTENSION)

_SHORT = ((0xA0, Kind.TEXT, 0x1F), (0x90, Kind.ARRAY, 0x0F), (0x80, Kind.MAP, 0x0F))
"""Of what has its length in its first byte: the least first byte, what it is, and where the length is."""

_LONG = {
    **{0xC4 + n: (Kind.BINARY, 1 << n) for n in range(3)},
    **{0xC7 + n: (Kind.EXTENSION, 1 << n) for n in range(3)},
    **{0xD9 + n: (Kind.TEXT, 1 << n) for n in range(3)},
    **{0xDC + n: (Kind.ARRAY, 2 << n) for n in range(2)},
    **{0xDE + n: (Kind.MAP, 2 << n) for n in range(2)},
}
"""Of what has its length behind its first byte: what it is, and the bytes of the length."""

_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class Walker:
    """Reads values from byte `at` on, one after the other, in a file that is taken to end at byte `stop`.

    `passed_nbytes` is how much was read. The source is the MessagePack specification. Raises FormatError:
    header-malformed for what is no value, file-truncated for one that has no room before `stop`.
    """

    def __init__(self, file: RandomAccess, at: int, stop: int) -> None:
        self.at = at
        self.stop = stop
        self.passed_nbytes = 0
        self._file = file
        self._ahead_nbytes = _WINDOW_NBYTES
        self._window = b""
        self._window_at = 0

    def item(self) -> Item:
        """Return the next value; `at` is then behind it, or where its payload or its items begin."""
        first = self.take(1)[0]
        if first < 0x80 or first >= 0xE0:
            return Item(Kind.PLAIN, first if first < 0x80 else first - 0x100, self.at)
        if first < 0xC0:
            kind, mask = next((kind, mask) for least, kind, mask in _SHORT if first >= least)
            return self._checked(kind, first & mask)
        if first in _LONG:
            kind, nbytes = _LONG[first]
            count = int.from_bytes(self.take(nbytes), "big")
            return self._checked(kind, count, self.take(1)[0] if kind is Kind.EXTENSION else 0)
        if 0xD4 <= first <= 0xD8:
            return self._checked(Kind.EXTENSION, 1 << first - 0xD4, self.take(1)[0])
        value = _CONSTANTS[first] if first in _CONSTANTS else self._number(first)
        return Item(Kind.PLAIN, value, self.at)

    def text(self, item: Item) -> str:
        """Return what a text or binary item holds; raise FormatError where it is no UTF-8."""
        try:
            return bytes(self.take(item.length)).decode()
        except UnicodeDecodeError as exc:
            raise malformed(f"the text at byte {item.offset} is not UTF-8") from exc

    def take(self, nbytes: int) -> Buffer:
        """Return the next bytes."""
        start = self.at - self._window_at
        if start < 0 or start + nbytes > len(self._window):
            self._look(nbytes)
            start = 0
        self.at += nbytes
        self.passed_nbytes += nbytes
        return self._window[start : start + nbytes]

    def _look(self, nbytes: int) -> None:
        left = self.stop - self.at
        if nbytes > left:
            raise malformed(f"a value at byte {self.at} is cut", kind="file-truncated")
        self._window_at = self.at
        if self._ahead_nbytes > nbytes:
            try:
                self._window = bytes(self._file.read_at(self.at, min(self._ahead_nbytes, left)))
            except FormatError:  # of a file that is read again, what tensors hold is not at hand
                self._ahead_nbytes = 0
            else:
                return
        self._window = bytes(self._file.read_at(self.at, nbytes))

    def _number(self, first: int) -> int | float:
        if 0xCC <= first <= 0xD3:
            return int.from_bytes(self.take(1 << first % 4), "big", signed=first >= 0xD0)
        if not 0xCA <= first <= 0xCB:
            raise malformed(f"there is no value at byte {self.at - 1}")
        code, nbytes = (">f", 4) if first == 0xCA else (">d", 8)
        found: float = struct.unpack(code, self.take(nbytes))[0]
        return found

    def _checked(self, kind: Kind, count: int, code: int = 0) -> Item:
        """Return a value of which it is known that all of it has room."""
        if count * (2 if kind is Kind.MAP else 1) > self.stop - self.at:
            raise malformed(f"a value at byte {self.at} is cut", kind="file-truncated")
        return Item(kind, count, self.at, code)


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a file for which `reason` holds."""
    return FormatError(f"file is malformed: {reason}", kind=kind, hint="save the model again, or copy the file again")
