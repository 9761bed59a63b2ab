"""Writing stored objects once more: against other bases, at another depth, or as they are, as cheaply as that goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial

from lamella.core.buffers import Buffer
from lamella.core.errors import ConflictError, IntegrityError
from lamella.core.ids import ObjectId
from lamella.core.limits import CHUNK_SHIFT
from lamella.core.parallel import ordered_map
from lamella.core.progress import Progress
from lamella.store.bases import FITTED_CHUNKS, Choice, Sampler
from lamella.store.chain import Chain, Link
from lamella.store.gc import Place
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackWriter
from lamella.store.record import Head, stripes
from lamella.store.series import Wish
from lamella.store.shelf import Shelf
from lamella.store.sketch import take_sketch
from lamella.store.writer import Plan, Source, encode_objects, with_base


def write_records(
    store: ObjectStore,
    shelf: Shelf,
    batch: Mapping[ObjectId, Wish],
    settled: Mapping[ObjectId, Place],
    progress: Progress,
) -> str:
    """Publish a pack with a record of each object in `batch`, as wished, and return its name.

    Every base is settled or comes before what leans on it.

    The pack is as young as the youngest that has one of them. Raises IntegrityError where a copy is damaged.
    """
    depths: dict[ObjectId, int] = {}
    copied: list[tuple[Place, int]] = []
    encoded: list[tuple[ObjectId, Wish, int]] = []
    for identity, wish in batch.items():
        if wish.base is None:
            depths[identity] = 0
        else:
            depths[identity] = 1 + (depths[wish.base] if wish.base in depths else settled[wish.base].entry.depth)
        alike = [place for place in shelf.copies.places(identity) if wish.is_met_by(shelf.form(place))]
        if alike:
            copied.append((alike[0], depths[identity]))
        else:
            encoded.append((identity, wish, depths[identity]))
    # Each byte counts twice: it is encoded here, and decoded by whoever verifies it.
    progress.start("repacking", 2 * sum(shelf.open(identity).head.nbytes for identity, *_ in encoded))
    threads = store.config.threads
    with PackWriter(store.packs) as pack, closing(ordered_map(partial(_plan, shelf), encoded, threads)) as plans:
        try:
            encode_objects(pack, plans, threads, progress)
        except ConflictError as exc:
            raise IntegrityError(
                "a stored object decodes to other bytes", kind="object-wrong-id", hint="run `lamella fsck --repair`"
            ) from exc
        for place, depth in copied:
            _copy(store, place, depth, pack)
        return store.publish(pack, max(map(shelf.youth, batch)))


def _copy(store: ObjectStore, place: Place, depth: int, pack: PackWriter) -> None:
    """Append a record with another depth in its head."""
    source = store.pack(place.pack)
    link = Link(source.head(place.entry), source, place.entry)
    pack.add(replace(link.head, depth=depth, payload_nbytes=0, rows=()), _payloads(link))


def _payloads(link: Link) -> Iterator[tuple[int, bytes]]:
    for first, last in stripes(len(link.head.rows), link.head.chunk_nbytes):
        for number, payload in link.payloads(range(first, last)).items():
            yield link.head.rows[number].code, bytes(payload)


def _plan(shelf: Shelf, item: tuple[ObjectId, Wish, int]) -> Plan:
    identity, wish, depth = item
    chain = shelf.open(identity)
    base = None if wish.base is None else shelf.open(wish.base, wish.item_nbytes)
    source = Source(chain.head.nbytes, wish.item_nbytes, partial(_read, chain))
    sketch = chain.head.sketch if chain.head.item_nbytes == source.item_nbytes else b""
    sketch = sketch or take_sketch(source.nbytes, source.item_nbytes, wish.layout, source.read_at)
    head = Head(identity, None, 0, wish.item_nbytes, CHUNK_SHIFT, source.nbytes, 0, (), sketch=sketch)
    sampler = Sampler(head, wish.layout, partial(_read_chunk, chain, head.chunk_nbytes))
    codec, _ = sampler.best(sampler.pairs(base, FITTED_CHUNKS), alone=base is None)
    return Plan(with_base(head, Choice(base, depth, codec)), source, base, codec)


def _read_chunk(chain: Chain, chunk_nbytes: int, number: int) -> Buffer:
    return _read(chain, number * chunk_nbytes, chunk_nbytes)


def _read(chain: Chain, offset: int, nbytes: int) -> Buffer:
    return chain.read(offset, offset + nbytes)
