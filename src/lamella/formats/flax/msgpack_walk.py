"""Walking through MessagePack from value to value, without reading what is long in it."""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.formats.base import RandomAccess
from lamella.formats.file import reading_ahead

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

_Form = tuple[Kind, int, int | float | bool | None]
"""What a first byte says: what the value is, how many bytes of its length or number follow, the value where none do."""


def _forms() -> list[_Form | None]:
    found: list[_Form | None] = [(Kind.PLAIN, 0, first) for first in range(0x80)]
    found += [(Kind.MAP, 0, length) for length in range(0x10)]
    found += [(Kind.ARRAY, 0, length) for length in range(0x10)]
    found += [(Kind.TEXT, 0, length) for length in range(0x20)]
    found += [(Kind.PLAIN, 0, None), None, (Kind.PLAIN, 0, False), (Kind.PLAIN, 0, True)]
    found += [(Kind.BINARY, nbytes, None) for nbytes in (1, 2, 4)]
    found += [(Kind.EXTENSION, nbytes, None) for nbytes in (1, 2, 4)]
    found += [(Kind.PLAIN, nbytes, None) for nbytes in (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)]
    found += [(Kind.EXTENSION, 0, length) for length in (1, 2, 4, 8, 16)]
    found += [(Kind.TEXT, nbytes, None) for nbytes in (1, 2, 4)]
    found += [(kind, nbytes, None) for kind in (Kind.ARRAY, Kind.MAP) for nbytes in (2, 4)]
    return found + [(Kind.PLAIN, 0, first - 0x100) for first in range(0xE0, 0x100)]


_FORMS = _forms()
_FLOATS = {0xCA: ">f", 0xCB: ">d"}
_FIRST_SIGNED = 0xD0


class Walker:
    """Reads values from byte `at` on, one after the other, in a file that is taken to end at byte `stop`.

    `skipped_nbytes` is how much was passed over. The source is the MessagePack specification. Raises FormatError:
    header-malformed for what is no value, file-truncated for one that has no room before `stop`.
    """

    def __init__(self, file: RandomAccess, at: int, stop: int) -> None:
        self.at = at
        self.stop = stop
        self.skipped_nbytes = 0
        self._file = file
        self._read_ahead = reading_ahead(file)
        self._window = b""
        self._window_at = 0

    def item(self) -> Item:
        """Return the next value; `at` is then behind it, or where its payload or its items begin."""
        start = self.at - self._window_at
        if not 0 <= start < len(self._window):
            self._look(1)
            start = 0
        first = self._window[start]
        self.at += 1
        form = _FORMS[first]
        if form is None:
            raise malformed(f"there is no value at byte {self.at - 1}")
        kind, nbytes, value = form
        if kind is Kind.PLAIN:
            return Item(kind, self._number(first, self.take(nbytes)) if nbytes else value, self.at)
        length = int.from_bytes(self.take(nbytes), "big") if nbytes else value
        code = self.take(1)[0] if kind is Kind.EXTENSION else 0
        least_nbytes = 2 if kind is Kind.MAP else 1
        if not isinstance(length, int) or least_nbytes * length > self.stop - self.at:
            raise malformed(f"a value at byte {self.at} is cut", kind="file-truncated")
        return Item(kind, length, self.at, code)

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
        return self._window[start : start + nbytes]

    def _look(self, nbytes: int) -> None:
        left = self.stop - self.at
        if nbytes > left:
            raise malformed(f"a value at byte {self.at} is cut", kind="file-truncated")
        self._window_at = self.at
        self._window = bytes(self._read_ahead(self.at, min(max(nbytes, _WINDOW_NBYTES), left)))
        if len(self._window) < nbytes:  # of a file that is read again, what tensors hold is not at hand
            self._window = bytes(self._file.read_at(self.at, nbytes))

    def skip(self, stop: int) -> None:
        """Pass over everything before byte `stop`."""
        self.skipped_nbytes += max(0, stop - self.at)
        self.at = max(self.at, stop)

    @staticmethod
    def _number(first: int, data: Buffer) -> int | float:
        if first in _FLOATS:
            found: float = struct.unpack(_FLOATS[first], data)[0]
            return found
        return int.from_bytes(data, "big", signed=first >= _FIRST_SIGNED)


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a file for which `reason` holds."""
    return FormatError(f"file is malformed: {reason}", kind=kind, hint="save the model again, or copy the file again")
