"""Reading objects back: decoded over the threads in stripes, in order, and compared with their ids at the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.ids import ObjectId
from lamella.core.limits import STRIPE_CHUNKS
from lamella.store.chain import Chain, Link
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackReader
from lamella.store.parallel import ordered_map


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive decoded chunks of the object numbered `number` in the request, from byte `offset` of it."""

    number: int
    offset: int
    chunks: list[Buffer]

    @property
    def nbytes(self) -> int:
        """The decoded bytes in this piece."""
        return sum(len(chunk) for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class _Task:
    number: int
    chain: Chain
    first: int
    last: int


def stream_objects(store: ObjectStore, identities: Iterable[ObjectId]) -> Iterator[Piece]:
    """Yield the decoded objects piece by piece, in the order asked for.

    An empty object yields one empty piece. Raises NotFoundError where an object is not stored, and IntegrityError
    after the last piece of an object that does not decode to its id: what was yielded of it must not be used.
    """
    hasher, current = blake3(), 0
    chain: Chain | None = None
    with closing(ordered_map(_decode_batch, _batches(store, identities), store.config.threads)) as batches:
        for task, piece in itertools.chain.from_iterable(batches):
            if chain is not None and task.number != current:
                chain.verify(hasher.digest())
                hasher = blake3()
            chain, current = task.chain, task.number
            for chunk in piece.chunks:
                hasher.update(chunk)
            yield piece
    if chain is not None:
        chain.verify(hasher.digest())


def _batches(store: ObjectStore, identities: Iterable[ObjectId]) -> Iterator[list[_Task]]:
    batch: list[_Task] = []
    chunks = 0
    for number, identity in enumerate(identities):
        chain = store.open(identity)
        for first, last in chain.stripes():
            batch.append(_Task(number, chain, first, last))
            chunks += max(1, last - first)
            if chunks >= STRIPE_CHUNKS:
                yield batch
                batch, chunks = [], 0
    if batch:
        yield batch


def _decode_batch(batch: list[_Task]) -> list[tuple[_Task, Piece]]:
    return [
        (task, Piece(task.number, task.first * task.chain.head.chunk_nbytes, task.chain.decode(task.first, task.last)))
        for task in batch
    ]


def verify_object(store: ObjectStore, identity: ObjectId) -> int:
    """Decode an object in bounded memory, in this thread, and return its length.

    Raises IntegrityError unless the object and every base below it are what was stored, NotFoundError where one is
    missing.
    """
    chain = store.open(identity)
    hasher = blake3()
    for first, last in chain.stripes():
        for chunk in chain.decode(first, last):
            hasher.update(chunk)
    chain.verify(hasher.digest())
    return chain.head.nbytes


def verify_record(pack: PackReader, entry: Entry) -> None:
    """Read a record and compare it with its checksums, decoding nothing; raise IntegrityError where it is damaged."""
    link = Link(pack.head(entry), pack, entry)
    for first in range(0, len(link.head.rows), STRIPE_CHUNKS):
        link.payloads(first, first + STRIPE_CHUNKS)
