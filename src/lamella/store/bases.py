"""Which base an object is stored against: the cheapest of its candidates by sample, or none.

Depth and cost are bounded when an object is written, so that a version never costs more than a small multiple of the
newest root to restore (Bhattacherjee et al., "Principles of Dataset Versioning", VLDB 2015, state the trade-off).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lamella.codec.builtin import encode
from lamella.core.buffers import Buffer
from lamella.core.limits import MAX_WRITTEN_DEPTH
from lamella.store.chain import Chain
from lamella.store.record import Head

SAMPLE_ITEMS = 1 << 14
"""Items of each sampled chunk: a quarter of it tells as much about its size as the whole."""
MIN_SAVING = 0.05
"""A delta that saves less than this share of the object stored alone is not worth its base."""
MAX_DELTA_SHARE = 1.0
"""Bytes of all deltas on a chain, as a share of the object stored alone: reading it costs at most twice as much."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A base and the depth that an object stored against it has; `chain` is None for an object stored alone."""

    chain: Chain | None
    depth: int


ALONE = Choice(None, 0)


def _allowed(candidates: Iterable[Chain], head: Head) -> Iterator[Chain]:
    for chain in candidates:
        same_grid = chain.head.item_nbytes == head.item_nbytes and chain.head.chunk_shift == head.chunk_shift
        if same_grid and chain.head.rows and chain.head.depth < MAX_WRITTEN_DEPTH:
            yield chain


def _sample(count: int) -> list[int]:
    """Return the numbers of the chunks to look at: evenly spread, one for a small object and three for a large one."""
    wanted = 1 if count <= 4 else 2 if count <= 32 else 3
    return [(2 * step + 1) * count // (2 * wanted) for step in range(wanted)]


def _delta_nbytes(chain: Chain, samples: list[tuple[int, memoryview]], item_nbytes: int, alone: list[int]) -> int:
    total = 0
    for (number, part), alone_nbytes in zip(samples, alone, strict=True):
        base = chain.decode(number, number + 1) if number < len(chain.head.rows) else b""
        if len(base) < len(part):
            total += alone_nbytes
        else:
            total += len(encode(part, item_nbytes, memoryview(base)[: len(part)])[1])
    return total


def choose(head: Head, read_chunk: Callable[[int], Buffer], candidates: Iterable[Chain]) -> Choice:
    """Return the base to store an object against, from `candidates` in order of preference.

    `head` gives the object's lengths (it has no rows yet) and `read_chunk` its decoded chunks. Only a few chunks are
    read and encoded, so the choice costs little beside the encoding; ties go to the earlier candidate.
    """
    allowed = list(_allowed(candidates, head))
    if not allowed or not head.nbytes:
        return ALONE
    count = -(-head.nbytes // head.chunk_nbytes)
    limit = SAMPLE_ITEMS * head.item_nbytes
    samples = [(number, memoryview(read_chunk(number))[:limit]) for number in _sample(count)]
    alone = [len(encode(chunk, head.item_nbytes, None)[1]) for _, chunk in samples]
    raw_nbytes = sum(len(chunk) for _, chunk in samples)
    best, least = ALONE, (1 - MIN_SAVING) * sum(alone)
    for chain in allowed:
        nbytes = _delta_nbytes(chain, samples, head.item_nbytes, alone)
        below = chain.delta_nbytes * raw_nbytes / max(1, head.nbytes)
        if nbytes < least and nbytes + below <= MAX_DELTA_SHARE * sum(alone):
            best, least = Choice(chain, chain.head.depth + 1), nbytes
    return best
