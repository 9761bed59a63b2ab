"""The index of a TensorFlow checkpoint: which tensor lies where in which of its data files."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from operator import mul

from lamella.core.limits import MAX_DIMENSIONS, MAX_NAME_NBYTES, MAX_TENSOR_NBYTES
from lamella.formats.base import RandomAccess
from lamella.formats.file import BytesFile
from lamella.formats.protobuf import VARINT, Field, WireReader
from lamella.formats.tensorflow.sstable import malformed, read_table

_SLICE = b"\0"
"""What the keys of slices begin with, and no name does."""

_MAX_SIGNED_NBYTES = 10

_WHOLE = -1
"""The length of a slice that takes all of an axis."""


_NUMBERS = (1, 3, 4, 5)
_SHAPE, _SLICES = 2, 7
"""The fields of `BundleEntryProto`: dtype, shard_id, offset and size, which are numbers; the shape; the slices."""

_AXES, _EXTENT = 2, 1
"""The fields of `TensorShapeProto` and of an axis in it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor, or one slice of one: `dtype` is TensorFlow's number for it, `shard` counts data files from 0."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    nbytes: int
    is_sliced: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of a tensor: where it begins on each axis, and the entry of its elements."""

    origin: tuple[int, ...]
    entry: Entry


@dataclass(slots=True)
class Bundle:
    """An index: the entries by name, and for the names of tensors that were saved in pieces, the pieces."""

    shards: int = 1
    big_endian: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)
    slices: dict[str, list[Slice]] = field(default_factory=dict)


def read_bundle(index: RandomAccess) -> Bundle:
    """Return what an index lists.

    The source is TensorFlow's `tensor_bundle.proto` and, for the keys of slices, its `ordered_code.cc`. Raises
    FormatError: header-malformed; too-many-tensors; file-truncated.
    """
    bundle = Bundle()
    for number, (key, value) in enumerate(read_table(index)):
        if not number:
            if key:
                raise malformed("it does not begin with a header")
            header = _numbers(value)
            bundle.shards = header.get(1, 1)
            bundle.big_endian = bool(header.get(2, 0))
        elif key.startswith(_SLICE):
            name, extents = _sliced(key)
            entry = _entry(value)
            _check_slice(entry, extents)
            bundle.slices.setdefault(name, []).append(Slice(tuple(start for start, _ in extents), entry))
        else:
            bundle.entries[_name(key)] = _entry(value)
    return bundle


def _numbers(message: bytes) -> dict[int, int]:
    """Return the numbers in a message, by their fields."""
    reader = WireReader(BytesFile(message))
    return {held.number: _checked(held) for held in reader.fields(0, reader.nbytes) if held.wire == VARINT}


def _checked(number: Field) -> int:
    """Return a number that is not negative: those that are stand for more than 2**63."""
    if number.wire != VARINT or number.value > MAX_TENSOR_NBYTES:
        raise malformed("an entry has no number where one was expected")
    return number.value


def _entry(message: bytes) -> Entry:
    reader = WireReader(BytesFile(message))
    numbers = dict.fromkeys(_NUMBERS, 0)
    shape: tuple[int, ...] = ()
    is_sliced = False
    for held in reader.fields(0, reader.nbytes):
        if held.number in numbers:
            numbers[held.number] = _checked(held)
        elif held.number == _SHAPE:
            shape = _shape(reader, held)
        elif held.number == _SLICES:
            is_sliced = True
    dtype, shard, offset, nbytes = numbers.values()
    return Entry(dtype, shape, shard, offset, nbytes, is_sliced)


def _shape(reader: WireReader, message: Field) -> tuple[int, ...]:
    shape = []
    for axis in reader.inside(message):
        if axis.number == _AXES:
            shape.append(next((_checked(extent) for extent in reader.inside(axis) if extent.number == _EXTENT), 0))
        if len(shape) > MAX_DIMENSIONS:
            raise malformed(f"a shape has more than {MAX_DIMENSIONS} axes")
    if max(accumulate(shape, mul), default=0) > MAX_TENSOR_NBYTES:
        raise malformed("a shape holds more elements than a file can")
    return tuple(shape)


def _name(key: bytes) -> str:
    if len(key) > MAX_NAME_NBYTES:
        raise malformed(f"a name is longer than {MAX_NAME_NBYTES} bytes")
    try:
        return key.decode()
    except UnicodeDecodeError as exc:
        raise malformed("a name is not UTF-8") from exc


def _check_slice(entry: Entry, extents: list[tuple[int, int]]) -> None:
    if len(extents) != len(entry.shape) or any(
        start < 0 or length not in (_WHOLE, n) for (start, length), n in zip(extents, entry.shape, strict=True)
    ):
        raise malformed("a slice has not the shape that its name says")


def _sliced(key: bytes) -> tuple[str, list[tuple[int, int]]]:
    """Return the name in the key of a slice, and where on each axis the slice begins and how long it is."""
    stop = 1
    while (stop := key.find(b"\0", stop)) >= 0 and key[stop + 1 : stop + 2] == b"\xff":
        stop += 2
    if stop < 0 or key[stop + 1 : stop + 2] != b"\x01":
        raise malformed("the name of a slice is cut")
    name = _name(key[1:stop].replace(b"\xff\0", b"\xff").replace(b"\0\xff", b"\0"))
    rank_nbytes = int.from_bytes(key[stop + 2 : stop + 3], "big")
    at = stop + 3 + rank_nbytes
    rank = int.from_bytes(key[stop + 3 : at], "big")
    if rank > MAX_DIMENSIONS:
        raise malformed(f"a slice has more than {MAX_DIMENSIONS} axes")
    extents = []
    for _ in range(rank):
        start, at = _signed(key, at)
        length, at = _signed(key, at)
        extents.append((start, length))
    return name, extents


def _signed(key: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at` and the position behind it.

    As many ones as it has bytes stand before a zero and the number; of a negative one, all bits are turned.
    """
    head = key[at : at + 2]
    sign = 0 if head[:1] >= b"\x80" else -1
    bits = int.from_bytes(head.ljust(2, b"\0"), "big") ^ (sign & 0xFFFF)
    nbytes = next((n for n in range(16) if not bits >> (15 - n) & 1), 16)
    data = key[at : at + nbytes]
    if nbytes > _MAX_SIGNED_NBYTES or len(data) < nbytes or not data:
        raise malformed("the name of a slice is cut")
    number = (int.from_bytes(data, "big") ^ (sign & (1 << 8 * nbytes) - 1)) & (1 << 7 * nbytes - 1) - 1
    return number ^ sign, at + nbytes
