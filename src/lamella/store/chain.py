"""An object with its bases, opened for reading: any chunk, any range, decoded chunk by chunk down the chain."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blake3 import blake3

from lamella.codec.base import Codec
from lamella.codec.builtin import RAW, codec_for
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError, UsageError
from lamella.store.derived import derive
from lamella.store.pack import Entry, PackReader
from lamella.store.record import DERIVED, Head, stripes, verify_chunk


@dataclass(frozen=True, slots=True)
class Link:
    """One object of a chain and where its payload lies; `sources` are the chains that a derived one is made of."""

    head: Head
    pack: PackReader
    entry: Entry
    sources: tuple[tuple[Link, ...], ...] = ()

    def codec(self, number: int) -> Codec:
        """Return what decodes the chunk of that number; what is derived is made as it is."""
        return RAW if self.head.flags & DERIVED else codec_for(self.head.rows[number].code, self.head.parameters)

    def payloads(self, numbers: Sequence[int], *, verified: bool = True) -> dict[int, memoryview]:
        """Return the payloads of the chunks in `numbers`, which ascend, by number, in one read.

        Chunks that the object does not have are left out. Raises IntegrityError (chunk-damaged) where one is not what
        was written, unless the caller finds that out by himself and wants them not `verified`.
        """
        rows = self.head.rows
        numbers = [number for number in numbers if number < len(rows)]
        if not numbers:
            return {}
        start = rows[numbers[0]].offset
        stop = rows[numbers[-1]].offset + rows[numbers[-1]].nbytes
        data = memoryview(self.pack.read_at(self.entry.offset + self.entry.head_nbytes + start, stop - start))
        found = {}
        for number in numbers:
            row = rows[number]
            found[number] = data[row.offset - start : row.offset - start + row.nbytes]
            if verified:
                verify_chunk(self.head, number, found[number])
        return found


class _Scratch(threading.local):
    """What a thread keeps between calls: for each level of a chain, room for one decoded chunk of a base."""

    def __init__(self) -> None:
        self._rooms: dict[int, bytearray] = {}

    def lend(self, level: int, nbytes: int) -> memoryview:
        """Return `nbytes` of room, with whatever they hold."""
        room = self._rooms.get(level)
        if room is None or len(room) < nbytes:
            room = self._rooms[level] = bytearray(nbytes)
        return memoryview(room)[:nbytes]


_scratch = _Scratch()


def resized(base: Buffer, nbytes: int) -> Buffer | None:
    """Return what a chunk of `nbytes` is held against, given the base's chunk of the same number.

    That is as much of the base as the chunk is long, with zeros behind its end; None where it has less than half.
    """
    if len(base) == nbytes:
        return base
    return bytes(base[:nbytes]) + bytes(max(0, nbytes - len(base))) if 2 * len(base) >= nbytes else None


class Chain:
    """Reads one object: `links` are the object and its bases, nearest first. Safe for several threads.

    `sources` are what the last of them is made of, where that is derived.
    """

    def __init__(self, links: tuple[Link, ...]) -> None:
        self.links = links
        self.head = links[0].head
        self.sources = tuple(map(Chain, links[-1].sources))

    @property
    def bases(self) -> tuple[Head, ...]:
        """The heads of the bases, nearest first."""
        return tuple(link.head for link in self.links[1:])

    def every_link(self) -> Iterator[Link]:
        """Yield every record that reading the object takes."""
        yield from self.links
        for source in self.sources:
            yield from source.every_link()

    @property
    def deltas(self) -> int:
        """How many deltas stand on each other above what is stored alone or derived, as depth counts them."""
        return self.head.depth - self.links[-1].head.depth

    @property
    def delta_nbytes(self) -> int:
        """Encoded bytes that a reader decodes on top of the object stored alone at the end of the chain."""
        return sum(link.head.payload_nbytes for link in self.links[:-1])

    def decode(self, first: int, last: int, *, verified: bool = True) -> bytearray:
        """Return the decoded bytes of the chunks from `first` up to `last`, `last` being at most their number.

        Raises IntegrityError where a payload is damaged or a base is not the one the object was encoded against. A
        caller who holds the whole object against its id may do without payloads that are `verified` by themselves: a
        decoder takes any, and what it makes of a damaged one is found out.
        """
        chunk_nbytes = self.head.chunk_nbytes
        recipe = self.head.recipe
        if recipe is not None:
            # In one piece: without rows, nothing bounds the number of its chunks.
            stop = min(last * chunk_nbytes, self.head.nbytes)
            return derive(recipe, self.head.item_nbytes, self.sources, first * chunk_nbytes, stop)
        out = bytearray(max(0, min(last * chunk_nbytes, self.head.nbytes) - first * chunk_nbytes))
        layers = self._layers(first, last, verified=verified)
        with memoryview(out) as view:
            for number in range(first, last):
                at = (number - first) * chunk_nbytes
                self._decode_chunk(layers, 0, number, view[at : at + chunk_nbytes])
        return out

    def _layers(self, first: int, last: int, *, verified: bool) -> list[dict[int, memoryview]]:
        """Return, for each link from the object down, the payloads that the chunks need, by the chunk's number.

        The heads tell which they are, so each link is read once and only where something leans on it.
        """
        layers = []
        needed = list(range(first, last))
        for link in self.links:
            is_derived = link.head.flags & DERIVED
            found = self._derived(link.head, needed) if is_derived else link.payloads(needed, verified=verified)
            layers.append(found)
            needed = [number for number in layers[-1] if link.codec(number).needs_base]
        return layers

    def _derived(self, head: Head, numbers: Sequence[int]) -> dict[int, memoryview]:
        """Return the chunks in `numbers`, which ascend, made of the sources; those that are not there are left out."""
        recipe = head.recipe
        numbers = [number for number in numbers if number < head.chunks]
        if recipe is None or not numbers:
            return {}
        size = head.chunk_nbytes
        start, stop = numbers[0] * size, min((numbers[-1] + 1) * size, head.nbytes)
        data = memoryview(derive(recipe, head.item_nbytes, self.sources, start, stop))
        return {number: data[number * size - start : (number + 1) * size - start] for number in numbers}

    def _decode_chunk(self, layers: list[dict[int, memoryview]], level: int, number: int, out: memoryview) -> None:
        head = self.links[level].head
        codec = self.links[level].codec(number)
        base = None
        if codec.needs_base:
            below = level + 1
            if below == len(layers) or not self.links[below].head.serves(number, head):
                raise IntegrityError(
                    f"chunk {number} of object {head.id.hex()} leans on a base without that chunk",
                    kind="base-mismatch",
                    hint="run `lamella fsck`",
                )
            nbytes = self.links[below].head.decoded_nbytes(number)
            room = _scratch.lend(below, max(nbytes, len(out)))
            self._decode_chunk(layers, below, number, room[:nbytes])
            room[nbytes:] = bytes(len(room) - nbytes)
            base = room[: len(out)]
        codec.decode(layers[level][number], head.item_nbytes, base, out)

    def stripes(self) -> Iterator[tuple[int, int]]:
        """Yield the (first, last) chunk numbers of pieces that are worth a task each; one of no chunks where empty."""
        return stripes(self.head.chunks, self.head.chunk_nbytes)

    def read(self, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the decoded bytes from `start` to `stop`, decoding only the chunks they touch.

        A whole read is checked against the object's id; a part is checked by its chunks' checksums. Raises UsageError
        (bad-argument) where `start` is negative.
        """
        if start < 0:
            raise UsageError(f"cannot read from byte {start}", kind="bad-argument")
        stop = self.head.nbytes if stop is None else min(stop, self.head.nbytes)
        out = self.part(start, stop)
        if start == 0 and stop == self.head.nbytes:
            self.verify(blake3(out).digest())
        return out

    def part(self, start: int, stop: int) -> bytearray:
        """Return the decoded bytes from `start` to `stop`, which lie within the object, checked by chunks alone."""
        out = bytearray()
        if start < stop:
            size = self.head.chunk_nbytes
            origin = start // size
            for first, last in stripes(-(-stop // size) - origin, size):
                out += self.decode(origin + first, origin + last)
            del out[: start - origin * size]
            del out[stop - start :]
        return out

    def verify(self, digest: bytes) -> None:
        """Raise IntegrityError (object-wrong-id) unless `digest` is the id of this object."""
        if digest != self.head.id:
            raise IntegrityError(
                f"object {self.head.id.hex()} decodes to other bytes",
                kind="object-wrong-id",
                hint="run `lamella fsck --repair`",
            )
