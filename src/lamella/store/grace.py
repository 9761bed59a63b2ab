"""What a writer may take for stored: an object that can be read and that no collection drops for half a grace period.

A collection keeps what lies in a young pack and all that this leans on, so one copy of an object in a young pack is
enough for it and its bases. Where all its copies lie in old packs, a pack is made young as a whole only if much of it
is needed: otherwise one tensor that never changes would keep every version that was ever packed together with it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from typing import NamedTuple

from lamella.core import fsio
from lamella.core.errors import BackendError, IntegrityError
from lamella.core.ids import ObjectId
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry
from lamella.store.reader import verify_record

SMALL_PART = 1 / 16
"""A part of a pack that is copied rather than keep the rest: each byte kept for it would keep fifteen more."""


class Found(NamedTuple):
    """What there is of the objects asked for: the ids of the `absent`, and records to be `carried` to the new pack.

    A record is named by its pack and its entry there; it has been held against its checks.
    """

    absent: set[ObjectId]
    carried: list[tuple[str, Entry]]


def keep(store: ObjectStore, identities: Iterable[ObjectId]) -> Found:
    """Look for objects, and see to it that all are kept that are neither absent nor to be carried.

    The index is not taken at its word: an object is absent unless the heads of a whole chain are sound and its records
    lie within their packs. The caller holds the lock, which keeps packs from going, and has called `refresh` since.
    """
    found = Found(set(), [])
    needed: dict[str, list[Entry]] = {}

    @functools.cache
    def is_young(name: str) -> bool:
        return time.time() - store.modified(name) < store.config.grace_seconds / 2

    for identity, chains in store.chains(identities):
        best = None
        for link, *_ in chains:
            best = best or link
            if is_young(link.pack.name):
                break
        else:
            if best is None:
                found.absent.add(identity)
            else:
                needed.setdefault(best.pack.name, []).append(best.entry)
    for name, entries in needed.items():
        small = sum(entry.nbytes for entry in entries) <= SMALL_PART * store.pack(name).nbytes
        if small or not _rejuvenated(store, name):
            _carry(store, name, entries, found)
    return found


def _carry(store: ObjectStore, name: str, entries: list[Entry], found: Found) -> None:
    for entry in entries:
        try:
            verify_record(store.pack(name), entry)
        except IntegrityError:
            found.absent.add(entry.id)
        else:
            found.carried.append((name, entry))


def _rejuvenated(store: ObjectStore, name: str) -> bool:
    """Start the grace period of a pack anew; return False where it belongs to somebody else."""
    try:
        fsio.touch(store.packs / name)
    except BackendError as exc:
        if exc.kind == "read-only":
            return False
        raise
    return True
