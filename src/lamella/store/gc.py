"""Dropping what nothing reaches: packs are rewritten without their dead objects, and only then removed.

What is kept: every object that `keep` names, every object in a pack that is younger than the grace period, and every
base that one of those leans on. The whole runs under the store's exclusive lock, so no writer can lean on what is being
dropped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lamella.core import fsio
from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId
from lamella.core.progress import SILENT, Progress
from lamella.store.chain import Link
from lamella.store.copies import Links, Search
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackWriter
from lamella.store.reader import verify_record

DEAD_SHARE = 0.05
"""A pack is rewritten when at least this share of it is dead; below, the copying costs more than it frees."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did, or would do: objects and bytes kept and dropped; of those kept, what grace alone keeps."""

    kept_objects: int
    kept_nbytes: int
    dropped_objects: int
    freed_nbytes: int
    in_grace_objects: int
    in_grace_nbytes: int
    temporaries: int


class Place(NamedTuple):
    """A copy of an object: a record, and the pack that it lies in."""

    pack: str
    entry: Entry


Alive = dict[Place, tuple[Place, ...]]
"""The copies that are kept, each with the copies of what it leans on that readers go on with."""


@dataclass(frozen=True, slots=True)
class PackPlan:
    """What becomes of a pack: the records that are kept, and those that are not."""

    pack: str
    young: bool
    live: list[Entry]
    dead: list[Entry]

    def is_dead(self, share: float) -> bool:
        """Say whether at least that share of it, and anything at all, is not kept."""
        dead = sum(entry.nbytes for entry in self.dead)
        return bool(self.dead) and dead >= share * (dead + sum(entry.nbytes for entry in self.live))


def collect(
    store: ObjectStore, keep: Callable[[], set[ObjectId]], *, dry_run: bool = False, progress: Progress = SILENT
) -> Collected:
    """Drop every stored object that `keep()` does not hold up, and return what that freed.

    `keep` is asked while no writer is at work, so that it sees everything that was acknowledged. Interrupted at any
    point, the store is whole: a new pack is durable before an old one goes. What lies where is read from the packs,
    not from the index. Raises IntegrityError (store-damaged) where a pack's directory, the head of a copy of what is
    kept or a copy that is to stand alone is damaged: a damaged store is repaired first, so that nothing is dropped by
    mistake.
    """
    with store.lock(exclusive=True):
        temporaries = 0 if dry_run else sweep(store)
        kept = keep()
        with refused_where_damaged():
            entries = {name: store.pack(name).entries() for name in sorted(store.refresh())}
            copies = Copies(store, entries)
            limit = time.time() - store.config.grace_seconds
            young = {name for name in entries if store.modified(name) > limit}
            wanted = copies.chains_of(kept, {})
            alive = copies.chains_of({entry.id for name in young for entry in entries[name]}, wanted)
            plans = [plan_pack(name, found, alive, young=name in young) for name, found in entries.items()]
            rewritten = [plan for plan in plans if not plan.young and plan.is_dead(DEAD_SHARE)]
            if not dry_run:
                verify_survivors(store, rewritten, alive)
        if not dry_run:
            rewrite(store, rewritten, progress)
    dropped = [entry for plan in rewritten for entry in plan.dead]
    live = [Place(plan.pack, entry) for plan in plans for entry in plan.live]
    graced = [place for place in live if place not in wanted]
    return Collected(
        len(live), sum(place.entry.nbytes for place in live), len(dropped), sum(entry.nbytes for entry in dropped),
        len(graced), sum(place.entry.nbytes for place in graced), temporaries,
    )  # fmt: skip


@contextlib.contextmanager
def refused_where_damaged(outcome: str = "nothing was dropped") -> Iterator[None]:
    """Say of damage that is found in the block what came of it, and that it has to be repaired first."""
    try:
        yield
    except IntegrityError as exc:
        raise IntegrityError(
            f"{outcome}, since the store is damaged: {exc.message}",
            kind="store-damaged",
            hint="run `lamella fsck --repair` first",
        ) from exc


def sweep(store: ObjectStore) -> int:
    """Remove the temporaries of processes that were killed, and return how many there were."""
    return sum(fsio.sweep(path) for path in (store.packs, store.temporary) if path.is_dir())


class Copies:
    """The copies that the packs' directories list, in the order in which readers try them."""

    def __init__(self, store: ObjectStore, entries: dict[str, list[Entry]]) -> None:
        self._store = store
        self._places: dict[ObjectId, list[Place]] = {}
        for name, found in entries.items():
            for entry in found:
                self._places.setdefault(entry.id, []).append(Place(name, entry))
        for places in self._places.values():
            places.sort(key=lambda place: (place.entry.depth, place.pack, place.entry.offset))

    def _links(self, identity: ObjectId) -> Iterator[Link]:
        for place in self._places.get(identity, ()):
            pack = self._store.pack(place.pack)
            yield Link(pack.head(place.entry), pack, place.entry)

    def identities(self) -> Iterable[ObjectId]:
        """Return the ids of all objects."""
        return self._places.keys()

    def places(self, identity: ObjectId) -> list[Place]:
        """Return where an object lies."""
        return self._places.get(identity, [])

    def search(self) -> Search:
        """Return a search among the copies."""
        return Search(self._links)

    def chains_of(self, identities: set[ObjectId], others: Alive) -> Alive:
        """Return `others` and what readers of `identities` use; where a chain is broken, whatever may belong to it."""
        search = self.search()
        alive = dict(others)
        for identity in identities:
            links = next(search.chains(identity), None)
            if links is None:
                for place in self._all_below(identity):
                    alive.setdefault(place, ())
            else:
                _enter(links, alive)
        return alive

    def _all_below(self, identity: ObjectId) -> Iterator[Place]:
        seen = {identity}
        waiting = [identity]
        while waiting:
            for link in self._links(waiting.pop()):
                yield Place(link.pack.name, link.entry)
                new = [below for below in link.head.leans_on if below not in seen]
                seen.update(new)
                waiting += new


def _enter(links: Links, alive: Alive) -> None:
    places = [Place(link.pack.name, link.entry) for link in links]
    for number, place in enumerate(places):
        alive[place] = tuple(places[number + 1 : number + 2])
    for source in links[-1].sources:
        alive[places[-1]] += (Place(source[0].pack.name, source[0].entry),)
        _enter(source, alive)


def plan_pack(name: str, entries: list[Entry], alive: Alive, *, young: bool = False) -> PackPlan:
    """Return which records of a pack are among the `alive`."""
    plan = PackPlan(name, young, [], [])
    for entry in entries:
        (plan.live if Place(name, entry) in alive else plan.dead).append(entry)
    return plan


def verify_survivors(store: ObjectStore, plans: list[PackPlan], alive: Alive) -> None:
    """Refuse to carry damage into a new pack, or to drop a copy whose place another takes that cannot be read."""
    checked = {Place(plan.pack, entry) for plan in plans for entry in plan.live}
    losing = {entry.id for plan in plans for entry in plan.dead}
    for place in alive:
        waiting = [place] if place.entry.id in losing else []
        while waiting:
            current = waiting.pop()
            checked.add(current)
            waiting += alive[current]
    for name, entry in sorted(checked, key=lambda place: (place.pack, place.entry.offset)):
        verify_record(store.pack(name), entry)


def rewrite(store: ObjectStore, plans: list[PackPlan], progress: Progress, *, is_flushed: bool = False) -> None:
    """Copy what is kept of some packs to a new one, as young as the youngest of them, and remove them.

    With `is_flushed`, the caller knows that the names of all packs are on stable storage.
    """
    copied = [plan for plan in plans if plan.live]
    progress.start("rewriting", sum(entry.nbytes for plan in copied for entry in plan.live))
    kept: set[str] = set()
    if copied:
        with PackWriter(store.packs) as writer:
            for plan in copied:
                pack = store.pack(plan.pack)
                for entry in plan.live:
                    writer.copy(pack, entry)
                    progress.advance(entry.nbytes)
            kept.add(store.publish(writer, max(store.modified(plan.pack) for plan in copied)))
    elif plans and not is_flushed:
        store.flush_names()
    store.drop_packs({plan.pack for plan in plans} - kept)
    progress.finish()
