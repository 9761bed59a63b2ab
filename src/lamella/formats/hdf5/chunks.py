"""Where the chunks of a chunked HDF5 dataset lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from struct import Struct

from lamella.formats.hdf5.blocks import UNDEFINED, Blocks, malformed, number

_SINGLE, _IMPLICIT, _FIXED_ARRAY, _EXTENSIBLE_ARRAY = 1, 2, 3, 4
_PARAMETERS_NBYTES = {_SINGLE: 0, _IMPLICIT: 0, _FIXED_ARRAY: 1, _EXTENSIBLE_ARRAY: 5}
"""What stands between the number of an index and its address."""

_CHECKSUM_NBYTES = 4
_TREE_HEAD = Struct("<4xBBH16x")
_ARRAY_HEAD = Struct("<4xBBBBQQ")
_GROWING_HEAD = Struct("<4xBBBBBBBB48xQ")
_BLOCK_HEAD_NBYTES = 14
"""Signature, version, client, and the address of the head of the array."""


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
        if index not in _PARAMETERS_NBYTES or flags & 2:
            return None
        address = number(data, end + 1 + _PARAMETERS_NBYTES[index], 8)
    shape = tuple(number(data, at + width * axis, width) for axis in range(dimensions))
    if len(shape) != rank + 1 or shape[-1] != element_nbytes or 0 in shape:
        raise malformed("the chunks of a dataset are not of its kind")
    return Chunks(shape[:-1], prod(shape), index, address)


def count_chunks(shape: Sequence[int], chunks: Chunks) -> int:
    """Return how many chunks a dataset of `shape` has."""
    return prod(-(-extent // step) for extent, step in zip(shape, chunks.shape, strict=True))


def grid_of(chunks: Chunks, shape: tuple[int, ...], most: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape whose chunks the index counts: those of a dataset that may grow, as large as it may become.

    An index for datasets that grow without end counts that axis last, so that only what is there matters.
    """
    if chunks.index == 0:
        return shape
    return (shape[0], *most[1:]) if chunks.index == _EXTENSIBLE_ARRAY and most[:1] == (UNDEFINED,) else most


def read_chunks(blocks: Blocks, chunks: Chunks, grid: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield where in the dataset each chunk begins and its address, as the index lists them; `grid` is its grid.

    Raises FormatError where the index is malformed. The caller checks that it has each chunk, and once.
    """
    count = count_chunks(grid, chunks)
    if chunks.address == UNDEFINED or not count:
        return
    if chunks.index == 0:
        yield from _tree(blocks, chunks, len(grid))
        return
    origins = product(*(range(0, extent, step) for extent, step in zip(grid, chunks.shape, strict=True)))
    if chunks.index == _FIXED_ARRAY:
        addresses = _fixed_array(blocks, chunks.address, count)
    elif chunks.index == _EXTENSIBLE_ARRAY:
        addresses = _extensible_array(blocks, chunks.address, count)
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


def _extensible_array(blocks: Blocks, address: int, count: int) -> Iterator[int]:
    """Yield what an array that grows holds, up to the first block that is not there."""
    head = blocks.signed(address, _GROWING_HEAD.size + _CHECKSUM_NBYTES, b"EAHD")
    _, client, entry_nbytes, bits, inline, least, pointers, page_bits, index = _GROWING_HEAD.unpack_from(head)
    powers = all(number and not number & number - 1 for number in (least, pointers))
    if client or entry_nbytes != 8 or not powers or not least.bit_length() <= bits <= 64 or page_bits > 32:
        raise malformed("the array of the chunks of a dataset is of a kind that is not known")
    if index == UNDEFINED:
        return
    direct, levels = 2 * (pointers - 1), 2 * (pointers.bit_length() - 1)
    supers = bits - least.bit_length() + 2 - levels
    data = blocks.signed(index, _BLOCK_HEAD_NBYTES + 8 * (inline + direct + max(0, supers)), b"EAIB")
    numbers = Struct(f"<{inline + direct + max(0, supers)}Q").unpack_from(data, _BLOCK_HEAD_NBYTES)
    yield from numbers[:inline]
    left = count - inline
    listed = iter(numbers[inline:])
    head_nbytes = _BLOCK_HEAD_NBYTES + (bits + 7) // 8
    level = 0
    while left > 0:
        entries, below = least << (level + 1) // 2, 1 << level // 2
        pages = entries >> page_bits if entries > 1 << page_bits else 0
        children: Iterator[int] = listed
        if level >= levels:
            start = next(listed, UNDEFINED)
            if start == UNDEFINED:
                return
            blocks.signed(start, _BLOCK_HEAD_NBYTES, b"EASB")
            wanted = min(below, -(-left // entries))
            place = start + head_nbytes + below * ((pages + 7) // 8)
            children = iter(Struct(f"<{wanted}Q").unpack(blocks.read(place, 8 * wanted)))
        for _ in range(min(below, -(-left // entries))):
            start = next(children, UNDEFINED)
            if start == UNDEFINED:
                return
            yield from _data_block(blocks, start, head_nbytes, min(entries, left), 1 << page_bits if pages else 0)
            left -= entries
        level += 1


def _data_block(blocks: Blocks, address: int, head_nbytes: int, count: int, page: int) -> Iterator[int]:
    """Yield the first numbers of a block of an array that grows; where it has pages, each has a checksum."""
    blocks.signed(address, _BLOCK_HEAD_NBYTES, b"EADB")
    at = address + head_nbytes + (_CHECKSUM_NBYTES if page else 0)
    for first in range(0, count, page or count):
        entries = min(page or count, count - first)
        yield from Struct(f"<{entries}Q").unpack(blocks.read(at, 8 * entries))
        at += 8 * entries + _CHECKSUM_NBYTES
