"""Fractal heaps of an HDF5 file and the B-trees that list what is in them: links and attributes that are many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from lamella.formats.hdf5.blocks import UNDEFINED, Blocks, malformed, number

_TREE = Struct("<4xBBIHHBBQHQ")
_HEAP = Struct("<4xBHHBI96xHQQHHQH")
_CHECKSUM_NBYTES = 4
_NODE_NBYTES = 10
"""Signature, version, type and checksum: what a node of a B-tree has beside its records."""

_MANAGED, _TINY = 0, 2
_MAX_DEPTH = 32
_MAX_ROWS = 256


def read_dense(blocks: Blocks, heap: int, tree: int, key_nbytes: tuple[int, int]) -> Iterator[bytes]:
    """Yield the objects of the fractal heap at `heap` that the B-tree at `tree` lists, ordered as it lists them.

    `key_nbytes` says how many bytes of a record stand before and behind the identifier of the object.
    """
    if UNDEFINED in (heap, tree):
        return
    objects = _Heap(blocks, heap)
    before, behind = key_nbytes
    for record in _records(blocks, tree):
        yield objects.read(record[before : len(record) - behind])


def _records(blocks: Blocks, address: int) -> Iterator[bytes]:
    """Yield the records of a B-tree of version 2."""
    data = blocks.signed(address, _TREE.size + _CHECKSUM_NBYTES, b"BTHD")
    _, _, node_nbytes, record_nbytes, depth, _, _, root, count, _ = _TREE.unpack_from(data)
    if not record_nbytes or depth > _MAX_DEPTH or node_nbytes <= _NODE_NBYTES + record_nbytes:
        raise malformed(f"the B-tree at byte {blocks.start + address} has nodes of no use")
    # How many records a node of each level can have, and all below it, says how wide the counts in pointers are.
    most = [(node_nbytes - _NODE_NBYTES) // record_nbytes]
    total = list(most)
    count_nbytes = _width(most[0])
    for level in range(1, depth + 1):
        pointer = 8 + count_nbytes + (_width(total[level - 1]) if level > 1 else 0)
        most.append((node_nbytes - _NODE_NBYTES - pointer) // (record_nbytes + pointer))
        total.append((most[level] + 1) * total[level - 1] + most[level])
    waiting = [(root, count, depth)] if root != UNDEFINED and count else []
    while waiting:
        node, count, level = waiting.pop()
        wide = _width(total[level - 1]) if level > 1 else 0
        pointer = 8 + count_nbytes + wide
        nbytes = 6 + count * record_nbytes + ((count + 1) * pointer if level else 0)
        data = blocks.signed(node, nbytes, b"BTIN" if level else b"BTLF")
        for start in range(6, 6 + count * record_nbytes, record_nbytes):
            yield data[start : start + record_nbytes]
        if level:
            for start in range(6 + count * record_nbytes, nbytes, pointer):
                waiting.append((number(data, start, 8), number(data, start + 8, count_nbytes), level - 1))


def _width(most: int) -> int:
    """Return the bytes that a number up to `most` is written in."""
    return max(1, (most.bit_length() + 7) // 8)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of a fractal heap: where it begins in the heap, its length, and the address of its block."""

    start: int
    nbytes: int
    address: int


class _Heap:
    """A fractal heap without filters, of which objects are read by their identifiers."""

    def __init__(self, blocks: Blocks, address: int) -> None:
        data = blocks.signed(address, _HEAP.size + _CHECKSUM_NBYTES, b"FRHP")
        (_, _, filters_nbytes, _, largest, self._width, start, most, bits, _, root, rows) = _HEAP.unpack_from(data)
        if filters_nbytes or not 0 < self._width <= _MAX_ROWS or not 0 < start <= most or not bits or bits > 64:
            raise malformed(f"the heap at byte {blocks.start + address} is of a kind that is not known")
        self._blocks = blocks
        self._start_nbytes = start
        self._direct_rows = (most // start).bit_length() + 1
        self._offset_nbytes = (bits + 7) // 8
        self._length_nbytes = min(_width(most - 1), _width(largest))
        self._pieces = sorted(
            self._direct(root, rows) if rows else [_Piece(0, start, root)], key=lambda piece: piece.start
        )
        self._starts = [piece.start for piece in self._pieces]

    def read(self, identifier: bytes) -> bytes:
        """Return the object of that identifier; raise FormatError where it is not in a block of the heap."""
        kind = identifier[0] >> 4 & 3
        if kind == _TINY:
            return identifier[1 : 2 + (identifier[0] & 15)]
        if kind != _MANAGED:
            raise malformed("an object of a heap lies outside it")
        start = number(identifier, 1, self._offset_nbytes)
        nbytes = number(identifier, 1 + self._offset_nbytes, self._length_nbytes)
        piece = self._piece(start)
        if start + nbytes > piece.start + piece.nbytes:
            raise malformed("an object of a heap leaves its block")
        return self._blocks.read(piece.address + start - piece.start, nbytes)

    def _piece(self, start: int) -> _Piece:
        index = bisect_right(self._starts, start) - 1
        if index < 0:
            raise malformed("an object of a heap lies before it")
        return self._pieces[index]

    def _direct(self, root: int, rows: int) -> Iterator[_Piece]:
        """Yield the direct blocks below the root, which is indirect and has so many rows."""
        waiting = [(root, rows, 0)]
        while waiting:
            address, rows, start = waiting.pop()
            if rows > _MAX_ROWS:
                raise malformed("a heap has more rows than any")
            head_nbytes = 13 + self._offset_nbytes
            data = self._blocks.signed(address, head_nbytes + 8 * rows * self._width, b"FHIB")
            for index in range(rows * self._width):
                row = index // self._width
                nbytes = self._start_nbytes << max(0, row - 1)
                child = number(data, head_nbytes + 8 * index, 8)
                if child != UNDEFINED and row < self._direct_rows:
                    self._blocks.keep(128)
                    yield _Piece(start, nbytes, child)
                elif child != UNDEFINED:
                    below = (nbytes // (self._start_nbytes * self._width)).bit_length()
                    waiting.append((child, below, start))
                start += nbytes
