"""Object headers of an HDF5 file: the messages that say what a group or a dataset is."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from lamella.formats.hdf5.blocks import Blocks, malformed, number

DATASPACE = 0x01
LINK_INFO = 0x02
DATATYPE = 0x03
LINK = 0x06
EXTERNAL_FILES = 0x07
LAYOUT = 0x08
FILTERS = 0x0B
ATTRIBUTE = 0x0C
_CONTINUATION = 0x10
SYMBOL_TABLE = 0x11
ATTRIBUTE_INFO = 0x15

_KINDS = {
    *(DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES, LAYOUT, FILTERS),
    *(ATTRIBUTE, _CONTINUATION, SYMBOL_TABLE, ATTRIBUTE_INFO),
}
"""The messages that are read; the others say nothing of where bytes lie."""

_MAX_MESSAGES = 100_000
"""Links and attributes in one object header; HDF5 moves them elsewhere when they are more than some."""

_SHARED = 2
"""The flag of a message that is only a pointer to one elsewhere."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_STARTS = (0, 512, 1024, 2048)
"""A file may begin with bytes of somebody else: half a page, or a power of two of them."""

_PREFIX_1 = Struct("<BxHII4x")
_MESSAGE_1 = Struct("<HHB3x")
_MESSAGE_2 = Struct("<BHB")
_CONTINUED = Struct("<QQ")


class Message(NamedTuple):
    """A message of an object header: its type, its data, and where in the file they lie."""

    kind: int
    data: bytes
    offset: int
    shared: bool


def read_root(blocks: Blocks) -> int:
    """Return the address of the root group of a file that begins with its superblock."""
    head = blocks.read(0, 9)
    version = head[8]
    if version in (0, 1):
        data = blocks.read(9, 47 + 4 * version + 40)[4:]
        sizes, addresses = data[:2], 11 + 4 * version
        root = number(data, addresses + 32 + 8, 8)
    elif version in (2, 3):
        data = blocks.read(9, 39)
        sizes, addresses = data[:2], 3
        root = number(data, addresses + 24, 8)
    else:
        raise malformed(f"its superblock has version {version}, which is not known")
    if sizes != b"\x08\x08":
        raise malformed("its addresses and lengths are not 8 bytes long")
    return root


def read_messages(blocks: Blocks, address: int) -> list[Message]:
    """Return the messages of the object header at `address`, those of its continuations behind the others."""
    head = blocks.read(address, 16)
    if head[:4] == b"OHDR" and head[4] == 2:
        flags = head[5]
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        if at + width > 16:
            head += blocks.read(address + 16, at + width - 16)
        nbytes = number(head, at, width)
        start = at + width
        rest = max(0, start + nbytes - len(head))
        data = (head + (blocks.read(address + len(head), rest) if rest else b""))[start : start + nbytes]
        return _chained(blocks, data, address + start, flags)
    version, _, _, nbytes = _PREFIX_1.unpack(head)
    if version != 1:
        raise malformed(f"no object header is at byte {blocks.start + address}")
    return _chained(blocks, blocks.read(address + 16, nbytes), address + 16, None)


def _chained(blocks: Blocks, data: bytes, address: int, flags: int | None) -> list[Message]:
    """Return the messages in `data` and in the blocks that follow; `flags` are those of a header of version 2."""
    messages: list[Message] = []
    waiting = [(data, address)]
    while waiting:
        data, address = waiting.pop(0)
        for message in _messages(data, blocks.start + address, flags):
            if message.kind != _CONTINUATION:
                messages.append(message)
                if len(messages) > _MAX_MESSAGES:
                    raise malformed("an object header has more messages than any")
                continue
            start, nbytes = _CONTINUED.unpack_from(message.data)
            block = blocks.read(start, nbytes)
            if flags is None:
                waiting.append((block, start))
            elif block[:4] == b"OCHK":
                waiting.append((block[4:-4], start + 4))
            else:
                raise malformed(f"no part of an object header is at byte {blocks.start + start}")
    return messages


def _messages(data: bytes, offset: int, flags: int | None) -> Iterator[Message]:
    if flags is None:
        head_nbytes = _MESSAGE_1.size
        unpack = _MESSAGE_1.unpack_from
    else:
        head_nbytes = _MESSAGE_2.size + (2 if flags & 4 else 0)
        unpack = _MESSAGE_2.unpack_from
    at = 0
    while at + head_nbytes <= len(data):
        kind, nbytes, marks = unpack(data, at)
        at += head_nbytes
        if at + nbytes > len(data):
            raise malformed("a message is longer than the object header that it is in")
        if kind in _KINDS:
            yield Message(kind, data[at : at + nbytes], offset + at, bool(marks & _SHARED))
        at += nbytes
