"""Values in Thrift's compact protocol, read from bytes that are not trusted."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.core.errors import FormatError

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
"""The types, by their number in https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md."""

_MAX_DEPTH = 32
_MAX_VARINT_NBYTES = 10


class CompactReader:
    """A place in bytes, behind which values follow; every length is checked against what is there.

    Raises FormatError: header-malformed, header-too-deep.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield the number and type of each field of a structure; its value is to be read before the next."""
        number = 0
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self.integer()
            yield number, header & 15

    def integer(self) -> int:
        """Return an integer of any width."""
        found = self._varint()
        return found >> 1 ^ -(found & 1)

    def binary(self) -> bytes:
        """Return a string, or other bytes."""
        return self._take(self._varint())

    def items(self) -> tuple[int, int]:
        """Return the type of a list's items and how many there are; these follow."""
        header = self._byte()
        count = header >> 4 if header >> 4 != 15 else self._varint()
        if count > len(self._data) - self._at:
            raise malformed(f"a list of {count} values stands at byte {self._at}")
        return header & 15, count

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a value that is not an item of a list, where truth is a byte and not its type."""
        if depth == _MAX_DEPTH:
            raise malformed(f"it nests deeper than {_MAX_DEPTH} levels", kind="header-too-deep")
        if kind in (I16, I32, I64):
            self._varint()
        elif kind == BYTE:
            self._byte()
        elif kind == DOUBLE:
            self._take(8)
        elif kind == BINARY:
            self.binary()
        elif kind in (LIST, SET):
            item, count = self.items()
            for _ in range(count):
                self._skip_item(item, depth)
        elif kind == MAP:
            self._skip_map(depth)
        elif kind == STRUCT:
            for _, field in self.fields():
                self.skip(field, depth + 1)
        elif kind not in (TRUE, FALSE):
            raise malformed(f"values of type {kind} are not known")

    def _skip_item(self, kind: int, depth: int) -> None:
        if kind in (TRUE, FALSE):
            self._byte()
        else:
            self.skip(kind, depth + 1)

    def _skip_map(self, depth: int) -> None:
        count = self._varint()
        if count > len(self._data) - self._at:
            raise malformed(f"a map of {count} values stands at byte {self._at}")
        kinds = self._byte() if count else 0
        for _ in range(count):
            self._skip_item(kinds >> 4, depth)
            self._skip_item(kinds & 15, depth)

    def _varint(self) -> int:
        found = 0
        for index in range(_MAX_VARINT_NBYTES):
            byte = self._byte()
            found |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return found
        raise malformed(f"there is no number before byte {self._at}")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, nbytes: int) -> bytes:
        stop = self._at + nbytes
        if stop > len(self._data):
            raise malformed(f"{nbytes} bytes are expected at byte {self._at} and it ends at {len(self._data)}")
        taken = self._data[self._at : stop]
        self._at = stop
        return taken


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of bytes for which `reason` holds."""
    return FormatError(f"metadata is malformed: {reason}", kind=kind, hint="write the file again with its framework")
