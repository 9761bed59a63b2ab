"""Reading objects back: decoded over the threads in stripes, in order, and compared with their ids at the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId
from lamella.core.limits import OBJECT_COST_NBYTES, STRIPE_NBYTES
from lamella.core.parallel import bundled, ordered_map
from lamella.store.chain import Chain, Link
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackReader
from lamella.store.record import stripes


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive decoded chunks of the object numbered `number` in the request, from byte `offset` of it."""

    number: int
    offset: int
    data: Buffer


@dataclass(frozen=True, slots=True)
class _Task:
    number: int
    chain: Chain
    first: int
    last: int

    @property
    def cost_nbytes(self) -> int:
        return OBJECT_COST_NBYTES + (self.last - self.first) * self.chain.head.chunk_nbytes


def stream_objects(store: ObjectStore, identities: Iterable[ObjectId]) -> Iterator[Piece]:
    """Yield the decoded objects piece by piece, in the order asked for.

    An empty object yields one empty piece. Raises NotFoundError where an object is not stored, and IntegrityError
    after the last piece of an object that does not decode to its id: what was yielded of it must not be used. Since
    every byte is held against that, payloads are held against their own checks only to tell what is damaged.
    """
    hasher, current = blake3(), 0
    chain: Chain | None = None
    bundles = bundled(_tasks(store, identities), lambda task: task.cost_nbytes, STRIPE_NBYTES)
    with closing(ordered_map(_decode, bundles, store.config.threads)) as decoded:
        for task, piece in itertools.chain.from_iterable(decoded):
            if chain is not None and task.number != current:
                _verify(chain, hasher.digest())
                hasher = blake3()
            chain, current = task.chain, task.number
            hasher.update(piece.data)
            yield piece
    if chain is not None:
        _verify(chain, hasher.digest())


def _verify(chain: Chain, digest: bytes) -> None:
    try:
        chain.verify(digest)
    except IntegrityError:
        _blame(chain)
        raise


def _blame(chain: Chain) -> None:
    """Raise IntegrityError where a record that an object is read from is damaged."""
    for link in chain.every_link():
        verify_record(link.pack, link.entry)


def _tasks(store: ObjectStore, identities: Iterable[ObjectId]) -> Iterator[_Task]:
    for number, identity in enumerate(identities):
        chain = store.open(identity)
        for first, last in chain.stripes():
            yield _Task(number, chain, first, last)


def _decode(bundle: list[_Task]) -> list[tuple[_Task, Piece]]:
    return [(task, Piece(task.number, task.first * task.chain.head.chunk_nbytes, _piece(task))) for task in bundle]


def _piece(task: _Task) -> bytearray:
    try:
        return task.chain.decode(task.first, task.last, verified=False)
    except IntegrityError:
        _blame(task.chain)
        raise


def verify_object(store: ObjectStore, identity: ObjectId) -> int:
    """Decode an object in bounded memory, in this thread, and return its length.

    Raises IntegrityError unless the object and every base below it are what was stored, NotFoundError where one is
    missing.
    """
    return verify_chain(store.open(identity))


def verify_chain(chain: Chain) -> int:
    """Decode an object by this very chain, as `verify_object` does, and return its length."""
    hasher = blake3()
    for first, last in chain.stripes():
        hasher.update(chain.decode(first, last))
    chain.verify(hasher.digest())
    return chain.head.nbytes


def verify_record(pack: PackReader, entry: Entry) -> None:
    """Read a record and compare it with its checksums, decoding nothing; raise IntegrityError where it is damaged."""
    link = Link(pack.head(entry), pack, entry)
    for first, last in stripes(len(link.head.rows), link.head.chunk_nbytes):
        link.payloads(range(first, last))
