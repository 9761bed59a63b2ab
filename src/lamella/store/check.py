"""Checking every stored byte, and rebuilding what is damaged from any other copy.

A record is sound when its head, every payload and, asked for in full, the decoded object itself are what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lamella.core import fsio
from lamella.core.errors import IntegrityError, LamellaError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.core.limits import STRIPE_CHUNKS
from lamella.core.progress import SILENT, Progress
from lamella.store.chain import Link
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackWriter
from lamella.store.parallel import ordered_map
from lamella.store.reader import verify_object
from lamella.store.writer import Source, add_objects


@dataclass(frozen=True, slots=True)
class Damage:
    """One fault: the pack it lies in, the object it hits (None for the pack's own structure), and what is wrong."""

    pack: str
    object: ObjectId | None
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: every fault, the objects that cannot be read any more, and how much was read."""

    packs: int
    objects: int
    nbytes: int
    damage: tuple[Damage, ...]
    unreadable: frozenset[ObjectId]


def check_store(store: ObjectStore, *, decode: bool = True, progress: Progress = SILENT) -> Checked:
    """Read every pack and return what is damaged; with `decode`, decode every object and compare it with its id.

    The index is rebuilt first, so that its faults are no faults of the store. Raises nothing for damage.
    """
    store.index.rebuild()
    names = sorted(store.index.pack_names())
    progress.start("checking", sum(store.pack_sizes().values()))
    damage: list[Damage] = []
    objects = nbytes = 0
    suspects: set[ObjectId] = set()
    for name in names:
        damage.extend(_check_structure(store, name))
        entries = store.index.entries_of(name)
        for entry, faults in zip(
            entries, ordered_map(_checker(store, name), entries, store.config.threads), strict=True
        ):
            objects, nbytes = objects + 1, nbytes + entry.nbytes
            suspects.add(entry.id)
            damage.extend(faults)
            progress.advance(entry.nbytes)
    progress.finish()
    if decode:
        unreadable = frozenset(_unreadable(store, sorted(suspects), progress))
    else:
        unreadable = frozenset(fault.object for fault in damage if fault.object is not None)
    return Checked(len(names), objects, nbytes, tuple(damage), unreadable)


def _check_structure(store: ObjectStore, name: str) -> Iterator[Damage]:
    try:
        store.pack(name).entries()
    except (IntegrityError, NotFoundError) as exc:
        yield Damage(name, None, exc.kind, exc.message)


def _checker(store: ObjectStore, name: str) -> Callable[[Entry], list[Damage]]:
    def check_entry(entry: Entry) -> list[Damage]:
        try:
            pack = store.pack(name)
            link = Link(pack.head(entry), pack, entry)
            for first in range(0, len(link.head.rows), STRIPE_CHUNKS):
                link.payloads(first, first + STRIPE_CHUNKS)
        except LamellaError as exc:
            return [Damage(name, entry.id, exc.kind, exc.message)]
        return []

    return check_entry


def _unreadable(store: ObjectStore, identities: Iterable[ObjectId], progress: Progress) -> Iterator[ObjectId]:
    def probe(identity: ObjectId) -> tuple[ObjectId, int, bool]:
        try:
            return identity, verify_object(store, identity), True
        except LamellaError:
            return identity, 0, False

    progress.start("decoding", 0)
    for identity, nbytes, sound in ordered_map(probe, identities, store.config.threads):
        progress.advance(nbytes)
        if not sound:
            yield identity
    progress.finish()


def salvage(store: ObjectStore, copies: Iterable[Source], progress: Progress = SILENT) -> set[ObjectId]:
    """Move damaged packs aside, keep every sound record of theirs, and store `copies` again; return the ids stored.

    Damaged packs go to `quarantine/` and are never deleted. The sound records are durable in a new pack before that.
    """
    with store.lock(exclusive=True):
        store.index.rebuild()
        for name in sorted(store.index.pack_names()):
            entries = store.index.entries_of(name)
            faults = list(_check_structure(store, name))
            check_entry = _checker(store, name)
            sound = [entry for entry in entries if not check_entry(entry)]
            if faults or len(sound) < len(entries):
                _set_aside(store, name, sound)
    ids, _ = add_objects(store, list(copies), progress, anew=True)
    return set(ids)


def _set_aside(store: ObjectStore, name: str, sound: list[Entry]) -> None:
    if sound:
        with PackWriter(store.packs) as writer:
            for entry in sound:
                writer.copy(store.pack(name), entry)
            fresh = writer.publish()
            if fresh == name:
                return
            store.index.add_pack(fresh, writer.entries)
    fsio.make_directory(store.quarantine)
    target = store.quarantine / name
    fsio.rename(store.packs / name, target)
    store.drop_packs({name})
