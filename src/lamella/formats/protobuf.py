"""The protocol buffer wire format, read field by field: payloads are passed over, and every length is checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.limits import IO_NBYTES, MAX_PROTOBUF_FIELDS
from lamella.formats.base import RandomAccess
from lamella.formats.file import BytesFile, reading_ahead
from lamella.formats.runs import Runs

VARINT, FIXED64, RUN, FIXED32 = 0, 1, 2, 5
"""The wire types that are read: a number, 8 bytes, a length and so many bytes, 4 bytes. Groups (3, 4) are refused."""

_FIXED = {FIXED64: 8, FIXED32: 4}
_LONGEST_HEADER_NBYTES = 20
"""A field's number and wire type take 5 bytes at most, a varint 10."""

_LEAST_WINDOW_NBYTES = 128
_LARGEST_WINDOW_NBYTES = 64 * 1024
_WORD = (1 << 64) - 1


class Field(NamedTuple):
    """A field of a message: its number, wire type, the value of a varint, and where in the file its payload lies.

    The payload of a varint is the varint itself.
    """

    number: int
    wire: int
    value: int
    start: int
    stop: int


_new_field = tuple.__new__
"""Makes a field without the call that the class of a named tuple adds."""


class WireReader:
    """A file of messages; https://protobuf.dev/programming-guides/encoding describes the format.

    What is read are the headers of fields, in windows that grow where fields follow each other and are small behind a
    payload that was passed over. Bytes that are not at hand may lie in payloads only. A reader reads `most_fields`
    fields, some million where nothing is said, and no more; `left` are those that it may still read, and `looked` is
    what it went by.

    Every method raises FormatError: header-malformed; header-too-large for too many fields; file-truncated.
    """

    def __init__(self, file: RandomAccess, most_fields: int | None = None) -> None:
        self._file = file
        self._read_ahead = reading_ahead(file)
        self._most = MAX_PROTOBUF_FIELDS if most_fields is None else most_fields
        self.left = self._most
        self._data = b""
        self._start = 0
        self._reload = 0
        self.looked = Runs()

    @property
    def nbytes(self) -> int:
        """The length of the file, which is its outermost message."""
        return self._file.nbytes

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Yield the fields of the message from byte `start` to byte `stop`, which all lie within it.

        Other fields may be read between two steps.
        """
        at = start
        while at < stop:
            if not self._start <= at < self._reload:
                self._load(at)
            data, base = self._data, self._start
            index = at - base
            tag = data[index]
            # Nearly all numbers take one byte: they are read without a call.
            tag, index = (tag, index + 1) if tag < 0x80 else _varint(data, index, at)
            number, wire, value = tag >> 3, tag & 7, 0
            first = base + index
            if wire == RUN:
                length = data[index] if index < len(data) else 0x80
                length, index = (length, index + 1) if length < 0x80 else _varint(data, index, at)
                first = base + index
                end = first + length
            elif wire == VARINT:
                value, index = _varint(data, index, at)
                end = base + index
            elif wire in _FIXED:
                end = first + _FIXED[wire]
            else:
                raise malformed(f"there is no field at byte {at}")
            if end > stop or not 0 < number < 1 << 29:
                raise malformed(f"the field at byte {at} leaves its message or has no number")
            self.left -= 1
            if self.left < 0:
                raise FormatError(
                    f"messages have more than {self._most} fields",
                    kind="header-too-large",
                    hint="split the model into several files",
                )
            self.looked.note(at, first if wire == RUN else end)
            at = end
            yield _new_field(Field, (number, wire, value, first, end))

    def last(self, message: Field, *numbers: int) -> dict[int, Field]:
        """Return the last fields of these numbers in a message, those that are there; raise as `inside` does."""
        return {field.number: field for field in self.inside(message) if field.number in numbers}

    def inside(self, field: Field) -> Iterator[Field]:
        """Yield the fields of the message that is the payload of a field."""
        if field.wire != RUN:
            raise malformed(f"the field at byte {field.start} is no message")
        return self.fields(field.start, field.stop)

    def payload(self, field: Field, most: int) -> bytes:
        """Return the payload of a field of the wire type RUN, the first `most` bytes of it."""
        if field.wire != RUN:
            raise malformed(f"the field at byte {field.start} is no run of bytes")
        return self.encoded(field, most)

    def encoded(self, field: Field, most: int) -> bytes:
        """Return the payload of a field of any wire type as it lies in the file, the first `most` bytes of it."""
        nbytes = min(most, field.stop - field.start)
        self.looked.note(field.start, field.start + nbytes)
        data = self.peek(field, most)
        return bytes(self._file.read_at(field.start, nbytes)) if data is None else data

    def peek(self, field: Field, most: int) -> bytes | None:
        """Return a payload of at most `most` bytes that was read along with what lies before it, None of any other."""
        first, end = field.start - self._start, field.stop - self._start
        return self._data[first:end] if first >= 0 and end <= len(self._data) and end - first <= most else None

    def digest_text(self, fields: Iterable[Field]) -> str:
        """Return how long the payloads of fields are together, and the first 16 digits of their BLAKE3 digest."""
        made = blake3()
        nbytes = 0
        for field in fields:
            nbytes += field.stop - field.start
            for start in range(field.start, field.stop, IO_NBYTES):
                made.update(self._file.read_at(start, min(IO_NBYTES, field.stop - start)))
        return f"{nbytes} bytes blake3:{made.hexdigest()[:16]}"

    def text(self, field: Field, most: int) -> str:
        """Return the payload of a field, which is UTF-8 of at most `most` bytes."""
        if field.stop - field.start > most:
            raise malformed(f"the text at byte {field.start} is longer than {most} bytes")
        try:
            return self.payload(field, most).decode()
        except UnicodeDecodeError as exc:
            raise malformed(f"the text at byte {field.start} is not UTF-8") from exc

    def shown(self, field: Field, most: int) -> str:
        """Return a text for people to read: cut behind `most` bytes, and whatever is no UTF-8 replaced."""
        if field.wire == RUN and (data := self.peek(field, most)) is not None:
            return data.decode(errors="replace")
        text = self.payload(field, most).decode(errors="replace")
        return text if field.stop - field.start <= most else text + "..."

    def numbers(self, field: Field, most: int) -> list[int]:
        """Return the numbers of a repeated field, as the signed numbers of 64 bits that they are: one, or packed."""
        if field.wire == VARINT:
            return [signed(field.value)]
        if field.stop - field.start > 10 * most:
            raise malformed(f"more than {most} numbers stand at byte {field.start}")
        data = self.payload(field, 10 * most)
        found, index = [], 0
        while index < len(data):
            value, index = _varint(data, index, field.start + index)
            found.append(signed(value))
        if len(found) > most:
            raise malformed(f"more than {most} numbers stand at byte {field.start}")
        return found

    def _load(self, at: int) -> None:
        """Read a window from `at` on, up to the first byte that is not at hand."""
        follows = self._start < at <= self._start + len(self._data)
        size = 2 * len(self._data) if follows else 0
        size = min(max(size, _LEAST_WINDOW_NBYTES), _LARGEST_WINDOW_NBYTES, self._file.nbytes - at)
        self._data = bytes(self._read_ahead(at, size))
        self._start = at
        self._reload = at + len(self._data)
        if not self._data:
            raise malformed(f"there is nothing at hand at byte {at}", kind="file-truncated")
        if self._reload < self._file.nbytes and len(self._data) == size:
            self._reload -= _LONGEST_HEADER_NBYTES


class FileHead:
    """A file of `nbytes` bytes of which only the first ones, `head`, are at hand."""

    def __init__(self, head: bytes, nbytes: int) -> None:
        self._head = BytesFile(head)
        self._nbytes = nbytes

    @property
    def nbytes(self) -> int:
        """The length of the whole file."""
        return self._nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes; raise FormatError (file-truncated) for those that are not at hand."""
        return self._head.read_at(offset, nbytes)

    def read_ahead(self, offset: int, nbytes: int) -> Buffer:
        """Return the bytes from `offset` on that are at hand, `nbytes` at most."""
        return self._head.read_at(offset, max(0, min(nbytes, self._head.nbytes - offset)))


def signed(value: int) -> int:
    """Return the number of 64 bits, in two's complement, that a varint stands for."""
    return value - (1 << 64) if value >> 63 else value


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a file that is no message of its kind, for a `reason` that begins as a sentence does."""
    return FormatError(f"model is malformed: {reason}", kind=kind, hint="export the model again")


def _varint(data: bytes, index: int, at: int) -> tuple[int, int]:
    """Return the number at an index, and the index behind it; `at` is where the field begins, for the error."""
    if index < len(data) and data[index] < 0x80:
        return data[index], index + 1
    value = shift = 0
    for byte in data[index : index + 10]:
        index += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _WORD:
                break
            return value, index
        shift += 7
    raise malformed(f"there is no number in the field at byte {at}")
