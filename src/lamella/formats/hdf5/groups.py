"""The links of an HDF5 group, in all the ways in which they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct

from lamella.core.limits import MAX_NAME_NBYTES
from lamella.formats.hdf5.blocks import Blocks, malformed, number
from lamella.formats.hdf5.heaps import read_dense
from lamella.formats.hdf5.objects import LINK, LINK_INFO, SYMBOL_TABLE, Message

_PAIR = Struct("<QQ")
_TREE_HEAD = Struct("<4xBBH16x")
_NODE_HEAD_NBYTES = 8
_ENTRY = Struct("<QQI20x")
_LOCAL_HEAP = Struct("<8xQ8xQ")

_SOFT = 2
"""The kind of an entry of a symbol table that is only a path to another object."""

_GROUP_KINDS = {SYMBOL_TABLE, LINK, LINK_INFO}

_NAME_RECORD = (4, 0)
"""What stands before and behind the identifier of a link in a B-tree: the hash of its name."""


def is_group(messages: Sequence[Message]) -> bool:
    """Say whether an object has links."""
    return any(message.kind in _GROUP_KINDS for message in messages)


def read_links(blocks: Blocks, messages: Sequence[Message]) -> list[tuple[str, int]]:
    """Return names and addresses of the objects that a group has by hard links, by name.

    Soft and external links are passed over. Raises FormatError where the group is malformed.
    """
    links: list[tuple[str, int]] = []
    for message in messages:
        if message.kind == SYMBOL_TABLE:
            links += _symbol_table(blocks, *_PAIR.unpack_from(message.data))
        elif message.kind == LINK:
            links += _link(message.data)
        elif message.kind == LINK_INFO:
            at = 10 if message.data[1] & 1 else 2
            heap, tree = _PAIR.unpack_from(message.data, at)
            for data in read_dense(blocks, heap, tree, _NAME_RECORD):
                links += _link(data)
    return sorted(links)


def _symbol_table(blocks: Blocks, tree: int, heap: int) -> Iterator[tuple[str, int]]:
    nbytes, start = _LOCAL_HEAP.unpack(blocks.signed(heap, _LOCAL_HEAP.size, b"HEAP"))
    names = blocks.read(start, nbytes)
    for node in _leaves(blocks, tree):
        head = blocks.read(node, _NODE_HEAD_NBYTES)
        if head[:5] != b"SNOD\1":
            raise malformed(f"no part of a symbol table is at byte {blocks.start + node}")
        count = number(head, 6, 2)
        entries = blocks.read(node + _NODE_HEAD_NBYTES, count * _ENTRY.size)
        for place, address, kind in _ENTRY.iter_unpack(entries):
            if kind != _SOFT:
                end = names.find(b"\0", place, place + MAX_NAME_NBYTES)
                if place >= nbytes or end < 0:
                    raise malformed("a name in a symbol table does not end")
                yield _text(names[place:end]), address


def _leaves(blocks: Blocks, tree: int) -> Iterator[int]:
    """Yield the addresses of the parts of a symbol table, which a B-tree of version 1 lists."""
    waiting = [(tree, -1)]
    while waiting:
        address, expected = waiting.pop()
        data = blocks.read(address, _TREE_HEAD.size)
        kind, level, count = _TREE_HEAD.unpack(data)
        if data[:4] != b"TREE" or kind or expected not in (-1, level):
            raise malformed(f"no B-tree of a group is at byte {blocks.start + address}")
        # Keys and addresses take turns, a key first.
        children = blocks.read(address + _TREE_HEAD.size, 16 * count)
        for _, child in _PAIR.iter_unpack(children):
            if level:
                waiting.append((child, level - 1))
            else:
                yield child


def _link(data: bytes) -> Iterator[tuple[str, int]]:
    """Yield the link that a link message describes, unless it is soft or external."""
    if data[0] != 1:
        raise malformed(f"a link has version {data[0]}, which is not known")
    flags = data[1]
    at = 2
    if flags & 8:
        if data[at]:
            return
        at += 1
    at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    nbytes = number(data, at, width)
    at += width
    if nbytes > MAX_NAME_NBYTES:
        raise malformed("the name of a link is too long")
    address = number(data, at + nbytes, 8)
    yield _text(data[at : at + nbytes]), address


def _text(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError as exc:
        raise malformed("a name is not UTF-8") from exc
    if not text.isprintable() or "/" in text or not text or text in (".", ".."):
        raise malformed(f"{text[:80]!r} is no name")
    return text
