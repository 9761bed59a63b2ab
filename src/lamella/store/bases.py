"""Which base an object is stored against: the cheapest of its candidates by sample, or none.

Depth and cost are bounded when an object is written, so that a version never costs more than a small multiple of the
newest root to restore (Bhattacherjee et al., "Principles of Dataset Versioning", VLDB 2015, state the trade-off).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lamella.codec.alone import Alone, fit_alone
from lamella.codec.base import Codec
from lamella.codec.builtin import PALETTE, encode
from lamella.codec.delta import Delta, fit_delta
from lamella.codec.palette import Palette
from lamella.core.buffers import Buffer
from lamella.core.limits import KIB, MAX_READ_DEPTH, MAX_WRITTEN_DEPTH
from lamella.store.chain import Chain, resized
from lamella.store.record import Head

SAMPLE_ITEMS = 1 << 14
"""Items of each sampled chunk: a quarter of it tells as much about its size as the whole."""
COMPARED_CHUNKS = 3
FITTED_CHUNKS = 8
"""Chunks that are looked at to compare candidates, and to fit tables to the best."""
MOST_LOSS = 0.005
"""A codec fitted to floats alone may be larger than their planes by this share: it is decoded twice as fast."""
MIN_SAVING = 0.05
"""A delta that saves less than this share of the object stored alone is not worth its base; nor is a palette."""
MAX_DELTA_SHARE = 1.0
"""Bytes of all deltas on a chain, as a share of the object stored alone: reading it costs at most twice as much."""
LEAST_FITTED_NBYTES = KIB
"""Less than this is stored as planes where it stands alone: the tables of a codec would take more than they save."""
LEAST_PALETTE_NBYTES = 4 * KIB
"""A palette is not looked for in less: a file may have many thousand tensors so small, and all of them save little."""

Fitted = Delta | Alone | Palette | None
"""What suits an object as a whole, None where each chunk is encoded as planes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A base and the depth that an object stored against it has; `chain` is None for an object stored alone."""

    chain: Chain | None
    depth: int
    codec: Fitted


ALONE = Choice(None, 0, None)


def _on_grid(candidates: Iterable[Chain], head: Head) -> Iterator[Chain]:
    for chain in candidates:
        same_grid = chain.head.item_nbytes == head.item_nbytes and chain.head.chunk_shift == head.chunk_shift
        if same_grid and chain.head.chunks:
            yield chain


def _is_shallow(chain: Chain) -> bool:
    return chain.deltas < MAX_WRITTEN_DEPTH and chain.head.depth < MAX_READ_DEPTH


def _spread(count: int, wanted: int) -> list[int]:
    """Return the numbers of at most `wanted` of `count` chunks, evenly spread."""
    wanted = min(wanted, count)
    return [(2 * step + 1) * count // (2 * wanted) for step in range(wanted)]


Pair = tuple[memoryview, memoryview | None]
"""The first items of a chunk, and the same of a base where it has them."""


class Fitter:
    """Fits codecs to parts of an object, alone and against the same parts of a base."""

    def __init__(self, head: Head, layout: int | None) -> None:
        self._head, self._layout = head, layout

    def fitted(self, pairs: Sequence[Pair], *, alone: bool) -> Delta | Alone | None:
        """Return what suits the pairs, None for items that are no floats or not whole."""
        if self._layout is None or self._head.nbytes % self._head.item_nbytes:
            return None
        if alone:
            return fit_alone(self._head.item_nbytes, (part for part, _ in pairs))
        return fit_delta(self._layout, ((part, base) for part, base in pairs if base is not None))

    def nbytes(self, pairs: Sequence[Pair], codec: Codec | None) -> int:
        """Return the bytes that the pairs take, each alone where it has no base."""
        return sum(len(encode(part, self._head.item_nbytes, base, codec)[1]) for part, base in pairs)

    def best(self, pairs: Sequence[Pair], *, alone: bool) -> tuple[Fitted, int]:
        """Return the codec that suits the pairs, None for planes, and the bytes that they take with it."""
        best: tuple[Fitted, int] = None, self.nbytes(pairs, None)
        codec = self.fitted(pairs, alone=alone)
        if codec is not None:
            nbytes = self.nbytes(pairs, codec) + len(codec.parameters)
            # Planes are the smaller where low bits are zeros, as in a wider copy of narrower floats.
            if nbytes <= best[1] * (1 + MOST_LOSS if alone else 1):
                best = codec, nbytes
        if alone and self._head.nbytes >= LEAST_PALETTE_NBYTES:
            listed_nbytes = self._palette_nbytes(pairs)
            if listed_nbytes is not None and listed_nbytes < (1 - MIN_SAVING) * best[1]:
                best = PALETTE, listed_nbytes
        return best

    def _palette_nbytes(self, pairs: Sequence[Pair]) -> int | None:
        """Return what a palette makes of the parts, None as soon as one of them does not suit it: it is slow to try."""
        total = 0
        for part, _ in pairs:
            nbytes = len(PALETTE.encode(part, self._head.item_nbytes, None))
            if nbytes == len(part):
                return None
            total += nbytes
        return total


class Sampler(Fitter):
    """Takes the parts from chunks that are spread over an object."""

    def __init__(self, head: Head, layout: int | None, read_chunk: Callable[[int], Buffer]) -> None:
        super().__init__(head, layout)
        self._read_chunk = read_chunk
        self._count = -(-head.nbytes // head.chunk_nbytes)

    def pairs(self, chain: Chain | None, wanted: int) -> list[Pair]:
        """Return parts of at most `wanted` chunks, with those of a base."""
        limit = SAMPLE_ITEMS * self._head.item_nbytes
        found: list[Pair] = []
        for number in _spread(self._count, wanted):
            part = memoryview(self._read_chunk(number))[:limit]
            base = memoryview(b"")
            if chain is not None and number < chain.head.chunks:
                base = memoryview(chain.decode(number, number + 1))
            against = resized(base[:limit], len(part)) if base else None
            found.append((part, None if against is None else memoryview(against)))
        return found

    def refitted(self, choice: Choice) -> Choice:
        """Return a choice with its codec fitted to more of the object."""
        if choice.codec is None or choice.codec is PALETTE or self._count <= COMPARED_CHUNKS:
            return choice
        pairs = self.pairs(choice.chain, FITTED_CHUNKS)
        return replace(choice, codec=self.fitted(pairs, alone=choice.chain is None))


def choose(head: Head, layout: int | None, read_chunk: Callable[[int], Buffer], candidates: Iterable[Chain]) -> Choice:
    """Return the base to store an object against, from `candidates` in order of preference, and the codec for it.

    `head` gives the object's lengths (it has no rows yet), `layout` that of its floats if it has any, and `read_chunk`
    its decoded chunks. Only a few chunks are read and encoded, so the choice costs little beside the encoding; ties go
    to the earlier candidate.

    Versions move on, and the candidates that may still be leaned on stay behind. An object is stored alone as soon as
    that is the cheaper when those that will lean on it, each as near to its base as this one is to its nearest, share
    the cost.
    """
    candidates = list(candidates)
    if head.nbytes < (LEAST_FITTED_NBYTES if not candidates else 1):
        return ALONE
    sampler = Sampler(head, layout, read_chunk)
    pairs = sampler.pairs(None, COMPARED_CHUNKS)
    codec, alone_nbytes = sampler.best(pairs, alone=True)
    best = alone = Choice(None, 0, codec)
    least, nearest = (1 - MIN_SAVING) * alone_nbytes, alone_nbytes
    raw_nbytes = sum(len(part) for part, _ in pairs)
    for chain in _on_grid(candidates, head):
        codec, nbytes = sampler.best(sampler.pairs(chain, COMPARED_CHUNKS), alone=False)
        nearest = min(nearest, nbytes)
        below = chain.delta_nbytes * raw_nbytes / head.nbytes
        if _is_shallow(chain) and nbytes < least and nbytes + below <= MAX_DELTA_SHARE * alone_nbytes:
            best, least = Choice(chain, chain.head.depth + 1, codec), nbytes
    if least > (alone_nbytes + MAX_WRITTEN_DEPTH * nearest) / (1 + MAX_WRITTEN_DEPTH):
        best = alone
    return sampler.refitted(best)
