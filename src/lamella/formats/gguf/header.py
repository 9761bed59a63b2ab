"""The values of a GGUF header, read from front to back; what is read ahead is certain to belong to the header."""

from __future__ import annotations

import struct

from blake3 import blake3

from lamella.core.errors import FormatError
from lamella.core.limits import IO_NBYTES, MAX_GGUF_HEADER_NBYTES, MAX_METADATA_NBYTES
from lamella.formats.base import RandomAccess

STRING, ARRAY = 8, 9

VALUE_TYPES = {
    0: ("u8", "B"),
    1: ("i8", "b"),
    2: ("u16", "H"),
    3: ("i16", "h"),
    4: ("u32", "I"),
    5: ("i32", "i"),
    6: ("f32", "f"),
    7: ("bool", "?"),
    STRING: ("string", ""),
    ARRAY: ("array", ""),
    10: ("u64", "Q"),
    11: ("i64", "q"),
    12: ("f64", "d"),
}
"""What a value may be: a name for people, and how `struct` reads it."""

_LEAST_NBYTES = {STRING: 8, ARRAY: 12}
"""What a value takes at least; all others take as much as their type says."""

_MAX_DEPTH = 8
"""Arrays within arrays; the reference implementation knows none within another."""

_SHOWN_ITEMS = 8
_SHOWN_ITEM_NBYTES = 64
"""How much of an array a person is shown."""


class HeaderReader:
    """A place in a header. Every length is checked against the file, and the largest header, before it is believed.

    `behind` is how many bytes the header certainly has behind the value that is being read: so much may be read ahead,
    and nothing more, for tensors may lie behind the header that nobody has at hand.
    """

    def __init__(self, file: RandomAccess, at: int, order: str) -> None:
        self._file = file
        self._order = order
        self._length = struct.Struct(order + "Q")
        self._data: memoryview = memoryview(b"")
        self._start = at
        self.at = at
        self.behind = 0

    def number(self, code: str) -> int:
        """Return the integer that `struct` calls `code`."""
        found: int = self._unpack(code)
        return found

    def kind(self) -> int:
        """Return the number of a value's type, which is one of `VALUE_TYPES`."""
        found = self.number("I")
        if found not in VALUE_TYPES:
            raise malformed(f"values of type {found} are not known to this version")
        return found

    def text(self, longest_nbytes: int) -> bytes:
        """Return a string, which is refused where it is longer than that."""
        nbytes = self.number("Q")
        if nbytes > longest_nbytes:
            raise malformed(f"a name of {nbytes} bytes stands at byte {self.at}")
        return bytes(self._take(nbytes))

    def expect(self, nbytes: int) -> None:
        """Refuse a header that cannot have that many bytes from here on, and those behind them."""
        end = self.at + nbytes + self.behind
        if end > min(self._file.nbytes, MAX_GGUF_HEADER_NBYTES):
            if self._file.nbytes > MAX_GGUF_HEADER_NBYTES:
                raise FormatError(
                    f"header has more than {MAX_GGUF_HEADER_NBYTES} bytes",
                    kind="header-too-large",
                    hint="the file is kept as plain bytes instead",
                )
            raise FormatError(
                f"header has {end} bytes or more and the file ends at byte {self._file.nbytes}",
                kind="file-truncated",
                hint="the file was cut short; copy it again",
            )

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a value."""
        if kind == STRING:
            self._skip_bytes(self.number("Q"))
        elif kind == ARRAY:
            self._skip_items(*self._array(depth), depth)
        else:
            self._skip_bytes(_least_nbytes(kind))

    def shown(self, kind: int) -> str:
        """Read a value and return it as people read it; what is not shown of it enters a digest that is."""
        if kind == ARRAY:
            return self._shown_array()
        if kind == STRING:
            return self._shown_string(MAX_METADATA_NBYTES)
        return self._shown_scalar(kind)

    def _shown_array(self) -> str:
        kind, count = self._array(0)
        start, behind = self.at, self.behind
        shown = ", ".join(self._shown_item(kind) for _ in range(min(count, _SHOWN_ITEMS)))
        self.at, self.behind = start, behind
        self._skip_items(kind, count, 0)
        whole = f"{VALUE_TYPES[kind][0]}[{count}]"
        if count <= _SHOWN_ITEMS:
            return f"{whole} {shown}".rstrip()
        # The digest stands in front, where it is seen even if the line is cut.
        return f"{whole} blake3 {self._digest(start)}: {shown}, ..."

    def _shown_item(self, kind: int) -> str:
        if kind == STRING:
            return repr(self._shown_string(_SHOWN_ITEM_NBYTES))
        if kind != ARRAY:
            return self._shown_scalar(kind)
        inner, count = self._array(1)
        self._skip_items(inner, count, 1)
        return f"{VALUE_TYPES[inner][0]}[{count}]"

    def _shown_string(self, longest_nbytes: int) -> str:
        nbytes = self.number("Q")
        start = self.at
        text = bytes(self._take(min(nbytes, longest_nbytes))).decode(errors="replace")
        if nbytes <= longest_nbytes:
            return text
        self.at = start
        self._skip_bytes(nbytes)
        return f"{nbytes} bytes, blake3 {self._digest(start)}: {text[: longest_nbytes // 2]}..."

    def _shown_scalar(self, kind: int) -> str:
        code = VALUE_TYPES[kind][1]
        value = self._unpack(code)
        if code != "f":
            return str(value)
        return next((text for text in (f"{value:.{n}g}" for n in range(6, 10)) if _as_f32(text) == value), str(value))

    def _digest(self, start: int) -> str:
        """Return the first digits of the digest of what stands from `start` to here."""
        hasher = blake3()
        for first in range(start, self.at, IO_NBYTES):
            hasher.update(self._file.read_at(first, min(IO_NBYTES, self.at - first)))
        return hasher.hexdigest(length=8)

    def _array(self, depth: int) -> tuple[int, int]:
        """Return the type of an array's items and how many there are."""
        if depth == _MAX_DEPTH:
            raise malformed(f"arrays nest deeper than {_MAX_DEPTH} at byte {self.at}", kind="header-too-deep")
        kind, count = self.kind(), self.number("Q")
        self.expect(count * _least_nbytes(kind))
        return kind, count

    def _skip_items(self, kind: int, count: int, depth: int) -> None:
        if kind == STRING:
            self._skip_strings(count)
        elif kind == ARRAY:
            for number in range(count):
                behind, self.behind = self.behind, self.behind + (count - 1 - number) * _LEAST_NBYTES[ARRAY]
                self.skip(ARRAY, depth + 1)
                self.behind = behind
        else:
            self._skip_bytes(count * _least_nbytes(kind))

    def _skip_strings(self, count: int) -> None:
        """Pass over strings; a vocabulary has some hundred thousand."""
        unpack = self._length.unpack_from
        while count:
            behind, self.behind = self.behind, self.behind + 8 * (count - 1)
            at = self._window(8)
            self.behind = behind
            data, last = self._data, len(self._data) - 8
            while count and at <= last:
                at += 8 + unpack(data, at)[0]
                count -= 1
            self.at = self._start + at
            self.expect(8 * count)

    def _skip_bytes(self, nbytes: int) -> None:
        self.expect(nbytes)
        self.at += nbytes

    def _unpack(self, code: str) -> int:
        nbytes = struct.calcsize(code)
        first = self._window(nbytes)
        self.at += nbytes
        found: int = struct.unpack_from(self._order + code, self._data, first)[0]
        return found

    def _take(self, nbytes: int) -> memoryview:
        first = self._window(nbytes)
        self.at += nbytes
        return self._data[first : first + nbytes]

    def _window(self, nbytes: int) -> int:
        """Have the next `nbytes` bytes in memory and return where they begin in what is there."""
        first = self.at - self._start
        if not 0 <= first <= first + nbytes <= len(self._data):
            self.expect(nbytes)
            ahead = max(nbytes, min(nbytes + self.behind, IO_NBYTES))
            self._data, self._start, first = memoryview(self._file.read_at(self.at, ahead)), self.at, 0
        return first


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a header for which `reason` holds."""
    return FormatError(f"header is malformed: {reason}", kind=kind, hint="write the file again with the gguf package")


def _least_nbytes(kind: int) -> int:
    return _LEAST_NBYTES.get(kind) or struct.calcsize(VALUE_TYPES[kind][1])


def _as_f32(text: str) -> float:
    found: float = struct.unpack("f", struct.pack("f", float(text)))[0]
    return found
