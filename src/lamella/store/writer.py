"""Adding objects: hash, look up, choose a base, encode, and publish one pack for all of them.

Work goes over the threads in stripes of chunks, whatever the sizes of the tensors, and at most a few stripes a thread
are in memory. Every byte is hashed again as it is encoded, so a file that changes meanwhile is found out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from threading import Event

from blake3 import blake3

from lamella.codec.base import Codec
from lamella.codec.builtin import encode
from lamella.core.buffers import Buffer
from lamella.core.errors import ConflictError, IntegrityError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.core.limits import CHUNK_SHIFT, IO_NBYTES
from lamella.core.parallel import bundled_map
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.store.bases import ALONE, Choice, choose
from lamella.store.chain import Chain, resized
from lamella.store.derivation import find_derivation
from lamella.store.grace import Found, keep
from lamella.store.kin import Family
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackWriter
from lamella.store.record import DERIVED, RESIZED, Head, stripes
from lamella.store.relatives import Relatives
from lamella.store.rollup import roll_up
from lamella.store.sketch import CLOSE_SHARED, shared, take_sketch

ReadAt = Callable[[int, int], Buffer]
Record = tuple[str, Entry]
"""A record that is stored already: the name of its pack, and its entry there."""


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to store: `read_at(offset, nbytes)` lends them, from any thread, and `item_nbytes` is their item's width.

    `candidates` are ids of objects that may serve as a base, the most likely first; unknown ones are passed over. Where
    none of them is close, the store looks for relatives itself. `layout` is that of floats in `codec.delta`, None for
    items that are none. `spec` says what the bytes are as a tensor, and `family` which stored tensors they may be made
    of.
    """

    nbytes: int
    item_nbytes: int
    read_at: ReadAt
    candidates: tuple[ObjectId, ...] = ()
    layout: int | None = None
    spec: TensorSpec | None = None
    family: Family | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What adding did: how many objects were new, their decoded length, and what was written."""

    objects: int = 0
    nbytes: int = 0
    stored_nbytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """An object to be encoded: its head, which has no rows yet, its bytes, its base if any, and what suits it.

    Each equals none but itself, which is quickly told.
    """

    head: Head
    source: Source
    base: Chain | None
    codec: Codec | None


@dataclass(frozen=True, slots=True)
class _Stripe:
    plan: Plan
    first: int
    last: int

    @property
    def nbytes(self) -> int:
        """The decoded bytes; none of a derived object."""
        head = self.plan.head
        return min(self.last * head.chunk_nbytes, head.nbytes) - self.first * head.chunk_nbytes if self.last else 0


@dataclass(frozen=True, slots=True)
class _Encoded:
    plan: Plan
    data: Buffer
    chunks: list[tuple[int, bytes]]


def hash_source(source: Source, ending: Event | None = None) -> ObjectId:
    """Return the id of the bytes of `source`, read once in order; raise CancelledError where `ending` is set."""
    hasher = blake3()
    for offset in range(0, source.nbytes, IO_NBYTES):
        if ending is not None and ending.is_set():
            raise CancelledError
        hasher.update(source.read_at(offset, min(IO_NBYTES, source.nbytes - offset)))
    return ObjectId(hasher.digest())


def identify(sources: Sequence[Source], threads: int, progress: Progress = SILENT) -> list[ObjectId]:
    """Return the ids of `sources`, hashed in parallel, without storing anything."""
    progress.start("hashing", sum(source.nbytes for source in sources))
    ending = Event()
    ids = []
    hashing = bundled_map(partial(hash_source, ending=ending), sources, _nbytes, threads, ending)
    with closing(hashing) as hashed:
        for source, identity in zip(sources, hashed, strict=True):
            ids.append(identity)
            progress.advance(source.nbytes)
    progress.finish()
    return ids


def _nbytes(source: Source) -> int:
    return source.nbytes


def add_objects(
    store: ObjectStore, sources: Sequence[Source], progress: Progress = SILENT, *, anew: bool = False
) -> tuple[list[ObjectId], Added]:
    """Store every source that is not stored yet, or all of them `anew`, and return the ids in order and what was added.

    What is stored where it would keep much else from being collected is copied beside what is new. When this returns,
    everything is durable. Raises ConflictError (file-changed) where bytes differ between two reads.
    """
    ids = identify(sources, store.config.threads, progress)
    with store.lock(exclusive=False):
        store.refresh()
        given = dict(zip(reversed(ids), reversed(sources), strict=True))
        found = Found(set(ids), []) if anew else keep(store, given)
        missing = {identity: given[identity] for identity in ids if identity in found.absent}
        added = Added()
        if missing or found.carried:
            added = _write(store, missing, found.carried, progress, anew=anew)
        elif ids:
            store.flush_names()
    roll_up(store)
    return ids, added


def _write(
    store: ObjectStore, missing: dict[ObjectId, Source], carried: list[Record], progress: Progress, *, anew: bool
) -> Added:
    try:
        # What is stored anew is to stand by itself, whatever became of the rest.
        return _write_pack(store, missing, carried, progress, searching=not anew)
    except IntegrityError:
        # A base turned out to be damaged where it was not sampled: an old version must not keep a new one out.
        alone = {identity: replace(source, candidates=(), family=None) for identity, source in missing.items()}
        return _write_pack(store, alone, carried, progress, searching=False)


def _write_pack(
    store: ObjectStore, missing: dict[ObjectId, Source], carried: list[Record], progress: Progress, *, searching: bool
) -> Added:
    threads = store.config.threads
    total = sum(source.nbytes for source in missing.values())
    progress.start("storing", total)
    bare = {identity: _bare_head(identity, source) for identity, source in missing.items()}
    relatives = Relatives(store.index, bare.values()) if searching else None
    candidates = (
        (bare[identity], source, _candidates(store, bare[identity], source, relatives))
        for identity, source in missing.items()
    )
    # Closed at once where something fails: no task may read a source after that.
    planning = bundled_map(partial(_plan, store), candidates, lambda item: item[1].nbytes, threads)
    with PackWriter(store.packs) as pack, closing(planning) as plans:
        encode_objects(pack, plans, threads, progress)
        for name, entry in carried:
            pack.copy(store.pack(name), entry)
        stored = pack.nbytes
        store.publish(pack)
    progress.finish()
    return Added(len(missing), total, stored)


def encode_objects(pack: PackWriter, plans: Iterable[Plan], threads: int, progress: Progress) -> None:
    """Append objects to a pack, in order, encoded over the threads.

    Raises ConflictError (file-changed) where bytes are not those of the id in their head, and IntegrityError where a
    base is damaged.
    """
    with closing(bundled_map(_encode_stripe, _stripes(plans), lambda stripe: stripe.nbytes, threads)) as encoded:
        for plan, group in itertools.groupby(encoded, key=lambda stripe: stripe.plan):
            pack.add(plan.head, _checked_chunks(plan, group, progress))


def _bare_head(identity: ObjectId, source: Source) -> Head:
    """Return what is known of the head of an object before anything is encoded."""
    sketch = take_sketch(source.nbytes, source.item_nbytes, source.layout, source.read_at)
    return Head(identity, None, 0, source.item_nbytes, CHUNK_SHIFT, source.nbytes, 0, (), sketch=sketch)


def _candidates(store: ObjectStore, head: Head, source: Source, relatives: Relatives | None) -> list[Chain]:
    """Return the candidates that were named, and relatives where all of these have a sketch and none is close."""
    if not source.candidates and not head.sketch:
        return []
    named = _open(store, head.id, source.candidates)
    if relatives is None or any(_is_close(chain.head, head) for chain in named.values()):
        return list(named.values())
    return list((named | _open(store, head.id, relatives.of(head))).values())


def _is_close(candidate: Head, head: Head) -> bool:
    return not candidate.sketch or shared(candidate.sketch, head.sketch) >= CLOSE_SHARED


def _open(store: ObjectStore, target: ObjectId, candidates: Iterable[ObjectId]) -> dict[ObjectId, Chain]:
    """Open candidates and their own bases: where a candidate is too deep to lean on, what it leans on is not.

    One that leans on `target` itself is passed over: a second copy must not need the first.
    """
    chains: dict[ObjectId, Chain] = {}
    for candidate in candidates:
        try:
            chain = store.open(candidate)
            found = (candidate, *(head.id for head in chain.bases))
            if all(link.head.id != target for link in chain.every_link()):
                chains.update((identity, store.open(identity)) for identity in found if identity not in chains)
        except (NotFoundError, IntegrityError):
            continue
    return chains


def _plan(store: ObjectStore, item: tuple[Head, Source, list[Chain]]) -> Plan:
    bare, source, candidates = item

    def read_chunk(number: int) -> Buffer:
        return source.read_at(number * bare.chunk_nbytes, bare.decoded_nbytes(number))

    derivation = find_derivation(store, bare, source.read_at, source.spec, source.family)
    if derivation is not None:
        return Plan(derivation.finished(bare), source, None, None)
    try:
        choice = choose(bare, source.layout, read_chunk, candidates)
    except IntegrityError:
        choice = ALONE
    return Plan(bare if choice is ALONE else with_base(bare, choice), source, choice.chain, choice.codec)


def with_base(head: Head, choice: Choice) -> Head:
    """Return the head of an object that is stored as was chosen."""
    base = None if choice.chain is None else choice.chain.head.id
    parameters = b"" if choice.codec is None else choice.codec.parameters
    flags = RESIZED if choice.chain is not None and choice.chain.head.nbytes != head.nbytes else 0
    return replace(head, base=base, depth=choice.depth, parameters=parameters, flags=flags)


def _stripes(plans: Iterable[Plan]) -> Iterator[_Stripe]:
    """Cut the plans into pieces that are worth a task each."""
    for plan in plans:
        chunks = 0 if plan.head.flags & DERIVED else plan.head.chunks
        for first, last in stripes(chunks, plan.head.chunk_nbytes):
            yield _Stripe(plan, first, last)


def _encode_stripe(stripe: _Stripe) -> _Encoded:
    head, source, base = stripe.plan.head, stripe.plan.source, stripe.plan.base
    start = stripe.first * head.chunk_nbytes
    stop = min(stripe.last * head.chunk_nbytes, head.nbytes)
    data = memoryview(source.read_at(start, stop - start))
    based = memoryview(b"")
    if base is not None and stripe.first < base.head.chunks:
        based = memoryview(base.decode(stripe.first, min(stripe.last, base.head.chunks)))
    chunks = []
    for at in range(0, len(data), head.chunk_nbytes):
        chunk, against = data[at : at + head.chunk_nbytes], based[at : at + head.chunk_nbytes]
        base_chunk = resized(against, len(chunk)) if against else None
        chunks.append(encode(chunk, head.item_nbytes, base_chunk, stripe.plan.codec))
    return _Encoded(stripe.plan, data, chunks)


def _checked_chunks(plan: Plan, stripes: Iterable[_Encoded], progress: Progress) -> Iterator[tuple[int, bytes]]:
    """Yield one object's encoded chunks; raise at the end unless the bytes encoded are those that were identified.

    Nothing is encoded of a derived object, whose recipe was held against its id.
    """
    if plan.head.flags & DERIVED:
        progress.advance(plan.head.nbytes)
        return
    hasher = blake3()
    for stripe in stripes:
        hasher.update(stripe.data)
        yield from stripe.chunks
        progress.advance(len(stripe.data))
    if hasher.digest() != plan.head.id:
        raise ConflictError(
            "the file changed while it was being added",
            kind="file-changed",
            hint="wait until nothing writes to it, then add it again",
        )
