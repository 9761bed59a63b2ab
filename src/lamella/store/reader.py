"""Reading objects back: decoded over the threads in stripes, in order, and compared with their ids at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId
from lamella.core.parallel import bundled_map
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


MOST_STREAMS = 3
"""Streams read side by side that decode ahead on threads of their own; of more, each would hold many MiB."""


@dataclass(frozen=True, slots=True)
class _Task:
    number: int
    chain: Chain
    first: int
    last: int

    @property
    def nbytes(self) -> int:
        """The decoded bytes."""
        head = self.chain.head
        return min(self.last * head.chunk_nbytes, head.nbytes) - self.first * head.chunk_nbytes


@contextmanager
def _counted(store: ObjectStore) -> Iterator[None]:
    # No lock: a stream that nobody closed may be collected in a thread that holds it.
    token = object()
    store.streaming.add(token)
    try:
        yield
    finally:
        store.streaming.discard(token)


def stream_objects(store: ObjectStore, identities: Iterable[ObjectId]) -> Iterator[Piece]:
    """Yield the decoded objects piece by piece, in the order asked for.

    An empty object yields one empty piece. Raises NotFoundError where an object is not stored, and IntegrityError
    after the last piece of an object that does not decode to its id: what was yielded of it must not be used. Since
    every byte is held against that, payloads are held against their own checks only to tell what is damaged.
    """
    hasher, current = blake3(), 0
    chain: Chain | None = None
    threads = store.config.threads if len(store.streaming) < MOST_STREAMS else 1
    decoding = bundled_map(_decode, _tasks(store, identities), lambda task: task.nbytes, threads)
    with _counted(store), closing(decoding) as decoded:
        for task, piece in decoded:
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
    for number, chain in enumerate(store.open_all(identities)):
        for first, last in chain.stripes():
            yield _Task(number, chain, first, last)


def _decode(task: _Task) -> tuple[_Task, Piece]:
    return task, Piece(task.number, task.first * task.chain.head.chunk_nbytes, _piece(task))


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
