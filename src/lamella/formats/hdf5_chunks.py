"""Where the chunks of a chunked HDF5 dataset lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from struct import Struct

from lamella.formats.hdf5_blocks import UNDEFINED, Blocks, malformed, number

_SINGLE, _IMPLICIT, _FIXED_ARRAY = 1, 2, 3
_CHECKSUM_NBYTES = 4
_TREE_HEAD = Struct("<4xBBH16x")
_ARRAY_HEAD = Struct("<4xBBBBQQ")


@dataclass(frozen=True, slots=True)
class Chunks:
    """How a dataset is cut: the shape of a chunk, the bytes of one, and where the index of the chunks is.

    `index` is 0 for a B-tree of version 1, else the number of the index in a layout message of version 4.
    """

    shape: tuple[int, ...]
    nbytes: int
    index: int
    address: int


def read_chunk_layout(data: bytes, rank: int, element_nbytes: int) -> Chunks | None:
    """Return what a layout message of the class `chunked` says; None where its index is of a kind that is not read."""
    if data[0] == 3:
        dimensions, at, width, address = data[2], 11, 4, number(data, 3, 8)
        index = 0
    else:
        flags, dimensions, width, at = data[2], data[3], data[4], 5
        end = at + width * dimensions
        index = number(data, end, 1)
        if index not in (_SINGLE, _IMPLICIT, _FIXED_ARRAY) or flags & 2:
            return None
        address = number(data, end + 1 + (index == _FIXED_ARRAY), 8)
    shape = tuple(number(data, at + width * axis, width) for axis in range(dimensions))
    if len(shape) != rank + 1 or shape[-1] != element_nbytes or 0 in shape:
        raise malformed("the chunks of a dataset are not of its kind")
    return Chunks(shape[:-1], prod(shape), index, address)


def count_chunks(shape: Sequence[int], chunks: Chunks) -> int:
    """Return how many chunks a dataset of `shape` has."""
    return prod(-(-extent // step) for extent, step in zip(shape, chunks.shape, strict=True))


def read_chunks(blocks: Blocks, chunks: Chunks, most: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield where in the dataset each chunk begins and its address, as the index lists them.

    `most` is the largest shape that the dataset may have: some indices have room for all of it. Raises FormatError
    where the index is malformed. The caller checks that it has each chunk, and once.
    """
    if chunks.address == UNDEFINED:
        return
    if chunks.index == 0:
        yield from _tree(blocks, chunks, len(most))
        return
    origins = product(*(range(0, extent, step) for extent, step in zip(most, chunks.shape, strict=True)))
    count = count_chunks(most, chunks)
    if chunks.index == _FIXED_ARRAY:
        addresses = _fixed_array(blocks, chunks.address, count)
    else:
        addresses = iter(range(chunks.address, chunks.address + count * chunks.nbytes, chunks.nbytes))
    for origin, address in zip(origins, addresses, strict=False):
        if address != UNDEFINED:
            yield origin, address


def _tree(blocks: Blocks, chunks: Chunks, rank: int) -> Iterator[tuple[tuple[int, ...], int]]:
    # A key is the length of a chunk, the filters that were passed over, and its place; the last number is unused.
    entry = Struct(f"<II{rank}Q8xQ")
    waiting = [(chunks.address, -1)]
    while waiting:
        address, expected = waiting.pop()
        data = blocks.read(address, _TREE_HEAD.size)
        kind, level, count = _TREE_HEAD.unpack(data)
        if data[:4] != b"TREE" or kind != 1 or expected not in (-1, level):
            raise malformed(f"no B-tree of chunks is at byte {blocks.start + address}")
        children = blocks.read(address + _TREE_HEAD.size, count * entry.size)
        for nbytes, _, *origin, child in entry.iter_unpack(children):
            if level:
                waiting.append((child, level - 1))
            elif nbytes != chunks.nbytes:
                raise malformed("a chunk is not as long as the others")
            else:
                yield tuple(origin), child


def _fixed_array(blocks: Blocks, address: int, count: int) -> Iterator[int]:
    head = blocks.signed(address, _ARRAY_HEAD.size + _CHECKSUM_NBYTES, b"FAHD")
    _, client, entry_nbytes, page_bits, most, start = _ARRAY_HEAD.unpack_from(head)
    if client or entry_nbytes != 8 or most != count or page_bits > 32:
        raise malformed("the array of the chunks of a dataset is not as long as it should be")
    if start == UNDEFINED:
        return
    page = 1 << page_bits
    pages = -(-count // page) if count > page else 0
    head_nbytes = 14 + ((pages + 7) // 8 + _CHECKSUM_NBYTES if pages else 0)
    blocks.signed(start, 14, b"FADB")
    at = start + head_nbytes
    for first in range(0, count, page if pages else count):
        entries = min(page, count - first) if pages else count
        data = blocks.read(at, 8 * entries)
        yield from Struct(f"<{entries}Q").unpack(data)
        at += 8 * entries + _CHECKSUM_NBYTES
