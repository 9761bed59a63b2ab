"""A pickle being walked: its bytes, its stack, its marks and its memo, and the memory that all this is charged."""

from __future__ import annotations

import re
from collections.abc import Callable

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_METADATA_NBYTES, MAX_NAME_NBYTES, MIB
from lamella.formats.torch.pickle_values import Global, Node, Value, malformed

MEMORY_NBYTES = 36 * MIB
"""What the values of a walk may take, beside as much as the pickle is long. The rest of the 64 MB that a format may
take is for what is made of them."""

VALUE_NBYTES = 56
NODE_NBYTES = 88
SLOT_NBYTES = 8
_MEMO_NBYTES = 96
"""What a value, a container, a place in one and an entry of the memo are charged, beside their text. Fixed numbers:
which file is refused must not depend on the version of Python."""

ARGUMENTS_NBYTES = VALUE_NBYTES + 5 * SLOT_NBYTES
"""What is given back for the tuple of arguments that a tensor or a storage was made of: it is gone. So is the empty
mapping of its hooks."""

_REPEAT_NBYTES = 256
"""What is charged for having such a thing in two places, as no pickler does: it outlives the call that it is for."""

_MAX_WANTED = 100_000
"""Numbers of the memo that are fetched, above which simply everything is kept."""

_SHORT_GET = re.compile(rb"h(?=(.))", re.DOTALL)
_LONG_GET = re.compile(rb"j(?=(.{4}))", re.DOTALL)
_TEXT_GET = re.compile(rb"g([0-9]{1,10})\n")


class Machine:
    """The state of a walk, and what opcodes do with it; IndexError tells of a stack that is too short."""

    def __init__(self, data: bytes, folder: str) -> None:
        self.data = data
        self.folder = folder
        self.at = 0
        self.stack: list[Value] = []
        self.names: dict[tuple[str, str], Global] = {}
        self.foreign: set[str] = set()
        self.running = True
        self.value: Value = None
        self.spent_nbytes = 0
        self._below: list[list[Value]] = []
        self._memo: dict[int, Value] = {}
        self._memorised = 0
        self.limit_nbytes = MEMORY_NBYTES + len(data)
        self._wanted = _wanted(data)

    def push(self, value: Value, nbytes: int = VALUE_NBYTES) -> None:
        """Put a value on the stack and charge what it takes beside its place there."""
        self.spent_nbytes += nbytes + SLOT_NBYTES
        self.stack.append(value)

    def take(self, nbytes: int) -> bytes:
        """Return the next bytes of the pickle."""
        start = self.at
        self.at = stop = start + nbytes
        if stop > len(self.data):
            raise truncated()
        return self.data[start:stop]

    def skip(self, nbytes: int) -> None:
        """Pass over bytes of the pickle."""
        self.at += nbytes
        if self.at > len(self.data):
            raise truncated()

    def byte(self) -> int:
        """Return the next byte of the pickle; IndexError, with `at` behind the end, where there is none."""
        self.at = stop = self.at + 1
        return self.data[stop - 1]

    def number(self, nbytes: int) -> int:
        """Return the next unsigned number, little-endian."""
        return int.from_bytes(self.take(nbytes), "little")

    def line(self) -> bytes:
        """Return the text up to the next line feed, and pass over both."""
        stop = self.data.find(b"\n", self.at, self.at + MAX_NAME_NBYTES)
        if stop < 0:
            if self.at + MAX_NAME_NBYTES > len(self.data):
                raise truncated()
            raise malformed(f"the line at byte {self.at} is too long")
        start, self.at = self.at, stop + 1
        return self.data[start:stop]

    def cut(self, nbytes: int) -> bytes | None:
        """Return the next bytes; None where they are more than any name has, and are passed over."""
        if nbytes <= MAX_NAME_NBYTES:
            return self.take(nbytes)
        self.skip(nbytes)
        return None

    def push_text(self, nbytes: int) -> None:
        """Push the next bytes as text; of long text only the beginning, and what tells it from others."""
        start = self.at
        data = self.cut(nbytes)
        if data is None:
            begin = self.data[start : start + MAX_METADATA_NBYTES].decode(errors="ignore")
            self.push(f"{begin}... ({nbytes} bytes at byte {start})", 4 * MAX_METADATA_NBYTES)
        elif data.isascii():
            self.push(data.decode(), VALUE_NBYTES + nbytes)
        else:
            # Picklers write lone surrogates as if they were characters.
            self.push(data.decode("utf-8", "surrogatepass"), VALUE_NBYTES + 4 * nbytes)

    def push_bytes(self, nbytes: int) -> None:
        """Push the next bytes, or nothing for what is no name: nobody reads it."""
        self.push(self.cut(nbytes) or b"", VALUE_NBYTES + min(nbytes, MAX_NAME_NBYTES))

    def push_integer(self, nbytes: int) -> None:
        """Push the next bytes as a signed number, or nothing for one that no tensor has."""
        data = self.cut(nbytes)
        number = None if data is None or nbytes > VALUE_NBYTES else int.from_bytes(data, "little", signed=True)
        self.push(number, 2 * VALUE_NBYTES)

    def mark(self) -> None:
        """Begin a stack of its own, until `marked`."""
        self.spent_nbytes += NODE_NBYTES
        self._below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Value]:
        """Return what lies above the last mark, and take both off."""
        found, self.stack = self.stack, self._below.pop()
        self.spent_nbytes -= NODE_NBYTES
        return found

    def put(self, number: int) -> None:
        """Keep what is on top of the stack under a number."""
        self._memorised += 1
        if self._wanted is None or number in self._wanted:
            value = self.stack[-1]
            self.spent_nbytes += _REPEAT_NBYTES if _is_transient(value) else _MEMO_NBYTES
            self._memo[number] = value

    def put_next(self) -> None:
        """Keep what is on top of the stack under the next number."""
        self.put(self._memorised)

    def get(self, number: int) -> None:
        """Push what is kept under a number."""
        if number not in self._memo:
            raise malformed(f"nothing was kept that is fetched before byte {self.at}")
        value = self._memo[number]
        self.spent_nbytes += SLOT_NBYTES + (_REPEAT_NBYTES if _is_transient(value) else 0)
        self.stack.append(value)

    def repeat(self) -> None:
        """Push what is on top of the stack once more."""
        self.push(self.stack[-1], _REPEAT_NBYTES)


def truncated() -> FormatError:
    """Return the error of a pickle that goes on behind the bytes there are."""
    return FormatError(
        "pickle has no end", kind="file-truncated", hint="the file was cut short or changed; copy it again"
    )


def _is_transient(value: Value) -> bool:
    """Say whether a value may be one that is given back when a tensor is made of it."""
    return type(value) is tuple or (type(value) is Node and not value)


def _wanted(data: bytes) -> set[int] | None:
    """Return the numbers that anything in `data` could fetch from the memo, some that nothing does among them.

    Picklers memorise every value and fetch few: only these are kept. None stands for all.
    """
    found = {match[1][0] for match in _SHORT_GET.finditer(data)}
    readings: tuple[tuple[re.Pattern[bytes], Callable[[bytes], int]], ...] = ((_LONG_GET, _little), (_TEXT_GET, int))
    for pattern, number in readings:
        for match in pattern.finditer(data):
            found.add(number(match[1]))
            if len(found) > _MAX_WANTED:
                return None
    return found


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
