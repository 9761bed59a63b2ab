"""The attributes of HDF5 objects, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from struct import Struct

from lamella.core.limits import MAX_METADATA_NBYTES
from lamella.formats.hdf5.blocks import Blocks, malformed, number
from lamella.formats.hdf5.heaps import read_dense
from lamella.formats.hdf5.objects import ATTRIBUTE, ATTRIBUTE_INFO, Message
from lamella.formats.hdf5.types import Datatype, read_datatype

_HEAD = Struct("<BBHHH")
_PAIR = Struct("<QQ")
_REFERENCE = Struct("<IQI")
_COLLECTION = Struct("<8xQ")
_OBJECT = Struct("<HHIQ")

_NAME_RECORD = (0, 9)
"""What stands before and behind the identifier of an attribute in a B-tree: flags, order, and the hash of its name."""

_MOST_SHOWN = 256
"""Elements of an attribute that are shown."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute: its name, what its elements are, how many there are, and their bytes."""

    name: str
    datatype: Datatype
    count: int
    scalar: bool
    data: bytes


def read_shape(data: bytes, *, most: bool = False) -> tuple[int, ...] | None:
    """Return the shape that a dataspace message describes, or the largest that the dataset may grow to.

    None where it has no elements at all.
    """
    version, rank, flags = data[0], data[1], data[2]
    if version not in (1, 2):
        raise malformed(f"a dataspace has version {version}, which is not known")
    if version == 2 and data[3] == 2:
        return None
    start = (8 if version == 1 else 4) + (8 * rank if most and flags & 1 else 0)
    return tuple(number(data, start + 8 * axis, 8) for axis in range(rank))


def read_attributes(blocks: Blocks, messages: Sequence[Message]) -> Iterator[Attribute]:
    """Yield the attributes of an object that can be read; raise FormatError where they are malformed."""
    for message in messages:
        if message.kind == ATTRIBUTE and not message.shared:
            yield from _attribute(message.data)
        elif message.kind == ATTRIBUTE_INFO:
            at = 4 if message.data[1] & 1 else 2
            heap, tree = _PAIR.unpack_from(message.data, at)
            for data in read_dense(blocks, heap, tree, _NAME_RECORD):
                yield from _attribute(data)


def _attribute(data: bytes) -> Iterator[Attribute]:
    version, flags, name_nbytes, type_nbytes, space_nbytes = _HEAD.unpack_from(data)
    if version not in (1, 2, 3) or (flags & 3 and version > 1):
        return
    at = _HEAD.size + (version == 3)
    parts = []
    for nbytes in (name_nbytes, type_nbytes, space_nbytes):
        parts.append(data[at : at + nbytes])
        at += (nbytes + 7) // 8 * 8 if version == 1 else nbytes
    name, datatype, shape = parts[0].rstrip(b"\0"), read_datatype(parts[1]), read_shape(parts[2])
    if shape is not None:
        yield Attribute(name.decode(errors="replace"), datatype, prod(shape), not shape, data[at:])


class Texts:
    """Attributes as text, with the global heaps that hold the longer ones."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._collections: dict[int, dict[int, bytes]] = {}

    def strings(self, attribute: Attribute, most: int) -> list[str]:
        """Return the first strings of an attribute of strings, each cut to `most` bytes; none of any other."""
        datatype = attribute.datatype
        if not datatype.text or not datatype.nbytes:
            return []
        count = min(attribute.count, len(attribute.data) // datatype.nbytes)
        items = (attribute.data[at * datatype.nbytes : (at + 1) * datatype.nbytes] for at in range(count))
        if datatype.variable:
            items = (self._referred(item) for item in items)
        return [item[:most].rstrip(b"\0 ").decode(errors="replace") for item in islice(items, _MOST_SHOWN)]

    def text(self, attribute: Attribute) -> str | None:
        """Return an attribute as a line of text; None where its elements are neither strings nor numbers."""
        datatype = attribute.datatype
        if datatype.text:
            shown = self.strings(attribute, MAX_METADATA_NBYTES)
        elif datatype.dtype is not None:
            shown = list(islice(_numbers(attribute), _MOST_SHOWN))
        else:
            return None
        text = ", ".join(shown) + (", ..." if attribute.count > _MOST_SHOWN else "")
        return text if len(text) <= MAX_METADATA_NBYTES else text[: MAX_METADATA_NBYTES - 3] + "..."

    def _referred(self, item: bytes) -> bytes:
        nbytes, address, index = _REFERENCE.unpack(item)
        if not nbytes:
            return b""
        if address not in self._collections:
            self._collections[address] = dict(self._collection(address))
        return self._collections[address].get(index, b"")[:nbytes]

    def _collection(self, address: int) -> Iterator[tuple[int, bytes]]:
        head = self._blocks.read(address, _COLLECTION.size)
        (nbytes,) = _COLLECTION.unpack(head)
        if head[:5] != b"GCOL\1" or nbytes < _COLLECTION.size:
            raise malformed(f"no heap is at byte {self._blocks.start + address}")
        data = self._blocks.read(address + _COLLECTION.size, nbytes - _COLLECTION.size)
        at = 0
        while at + _OBJECT.size <= len(data):
            index, _, _, length = _OBJECT.unpack_from(data, at)
            if not index:
                return
            at += _OBJECT.size
            self._blocks.keep(128)
            yield index, data[at : at + length]
            at += (length + 7) // 8 * 8


def _numbers(attribute: Attribute) -> Iterator[str]:
    import numpy

    dtype = attribute.datatype.dtype
    assert dtype is not None
    if dtype.name.startswith(("bf", "f8_")):
        return
    order = ">" if attribute.datatype.swapped else "<"
    numpy_type = numpy.dtype("bool" if dtype.name == "bool" else f"{order}{dtype.name[0]}{dtype.bits // 8}")
    count = min(attribute.count, _MOST_SHOWN, len(attribute.data) // numpy_type.itemsize)
    yield from map(str, numpy.frombuffer(attribute.data, numpy_type, count).tolist())
