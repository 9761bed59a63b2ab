"""An object with its bases, opened for reading: any chunk, any range, decoded chunk by chunk down the chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from lamella.codec.builtin import codec_for
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError, UsageError
from lamella.core.limits import STRIPE_CHUNKS
from lamella.store.pack import Entry, PackReader
from lamella.store.record import Head, verify_chunk


@dataclass(frozen=True, slots=True)
class Link:
    """One object of a chain and where its payload lies."""

    head: Head
    pack: PackReader
    entry: Entry

    def payloads(self, first: int, last: int) -> list[memoryview]:
        """Return the verified payloads of the chunks from `first` up to `last`, in one read."""
        rows = self.head.rows[first:last]
        if not rows:
            return []
        start = rows[0].offset
        data = memoryview(
            self.pack.read_at(
                self.entry.offset + self.entry.head_nbytes + start, rows[-1].offset + rows[-1].nbytes - start
            )
        )
        found = []
        for number, row in enumerate(rows, first):
            payload = data[row.offset - start : row.offset - start + row.nbytes]
            verify_chunk(self.head, number, payload)
            found.append(payload)
        return found


class Chain:
    """Reads one object. Safe for several threads; holds nothing but heads between calls."""

    def __init__(self, links: tuple[Link, ...]) -> None:
        self._links = links
        self.head = links[0].head

    @property
    def bases(self) -> tuple[Head, ...]:
        """The heads of the bases, nearest first."""
        return tuple(link.head for link in self._links[1:])

    @property
    def delta_nbytes(self) -> int:
        """Encoded bytes that a reader decodes on top of the object stored alone at the end of the chain."""
        return sum(link.head.payload_nbytes for link in self._links[:-1])

    def decode(self, first: int, last: int) -> list[Buffer]:
        """Return the decoded chunks from `first` up to `last`.

        Raises IntegrityError where a payload is damaged or a base is not the one the object was encoded against.
        """
        return self._decode(0, first, last)

    def _decode(self, level: int, first: int, last: int) -> list[Buffer]:
        link = self._links[level]
        head = link.head
        payloads = link.payloads(first, last)
        codecs = [codec_for(row.code) for row in head.rows[first:last]]
        bases: list[Buffer | None] = [None] * len(codecs)
        leaning = [number for number, codec in enumerate(codecs) if codec.needs_base]
        if leaning:
            low, high = leaning[0], leaning[-1] + 1
            bases[low:high] = self._base_chunks(level, first + low, first + high)
        decoded = []
        for number, (codec, payload, base) in enumerate(zip(codecs, payloads, bases, strict=True), first):
            nbytes = head.decoded_nbytes(number)
            if codec.needs_base and (base is None or len(base) != nbytes):
                raise IntegrityError(
                    f"chunk {number} of object {head.id.hex()} leans on a base without that chunk",
                    kind="base-mismatch",
                    hint="run `lamella fsck`",
                )
            decoded.append(codec.decode(payload, nbytes, head.item_nbytes, base))
        return decoded

    def _base_chunks(self, level: int, first: int, last: int) -> list[Buffer | None]:
        if level + 1 >= len(self._links):
            return [None] * (last - first)
        present = max(first, min(last, len(self._links[level + 1].head.rows)))
        found: list[Buffer | None] = list(self._decode(level + 1, first, present))
        return found + [None] * (last - present)

    def stripes(self) -> Iterator[tuple[int, int]]:
        """Yield the (first, last) chunk numbers of pieces that are worth a task each; one of no chunks where empty."""
        count = len(self.head.rows)
        for first in range(0, max(count, 1), STRIPE_CHUNKS):
            yield first, min(first + STRIPE_CHUNKS, count)

    def read(self, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the decoded bytes from `start` to `stop`, decoding only the chunks they touch.

        A whole read is checked against the object's id; a part is checked by its chunks' checksums. Raises UsageError
        (bad-argument) where `start` is negative.
        """
        if start < 0:
            raise UsageError(f"cannot read from byte {start}", kind="bad-argument")
        stop = self.head.nbytes if stop is None else min(stop, self.head.nbytes)
        if start >= stop:
            out = bytearray()
        else:
            size = self.head.chunk_nbytes
            first, last = start // size, -(-stop // size)
            out = bytearray()
            for at in range(first, last, STRIPE_CHUNKS):
                for chunk in self.decode(at, min(at + STRIPE_CHUNKS, last)):
                    out += chunk
            del out[: start - first * size]
            del out[stop - start :]
        if start == 0 and stop == self.head.nbytes:
            self.verify(blake3(out).digest())
        return out

    def verify(self, digest: bytes) -> None:
        """Raise IntegrityError (object-wrong-id) unless `digest` is the id of this object."""
        if digest != self.head.id:
            raise IntegrityError(
                f"object {self.head.id.hex()} decodes to other bytes",
                kind="object-wrong-id",
                hint="run `lamella fsck --repair`",
            )
