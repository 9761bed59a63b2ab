"""Repacking: objects get the bases that a plan over the whole store gives them, and lose the copies they had.

It goes in rounds, each under the exclusive lock and complete in itself: records are written to a new pack, decoded and
held against their ids, and only then are the copies dropped that nothing needs any more. A base gets its new place
before what leans on it. Whatever has not had its turn keeps the copies that its chain consists of, whichever they are,
so the store is whole whenever the process dies, and the next run goes on from what it finds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId
from lamella.core.limits import MIB
from lamella.core.parallel import ordered_map
from lamella.core.progress import SILENT, Progress
from lamella.store.gc import Alive, Place, collect, plan_pack, refused_where_damaged, rewrite, verify_survivors
from lamella.store.objects import ObjectStore
from lamella.store.reader import verify_chain
from lamella.store.reencode import write_records
from lamella.store.series import Series, Wish, wishes
from lamella.store.shelf import Shelf, Standing

ROUND_NBYTES = 256 * MIB
"""Decoded bytes that a round encodes: what a killed run loses at most, and writers wait for."""
MOST_ROUNDS = 64
"""A round of a large store is larger: each one looks at all packs again."""
DEAD_SHARE = 0.5
"""A pack is rewritten before the last round when at least this share of it is dead, so no byte is copied often."""

SAME_SECONDS = 2.0
"""Times of packs that are no further apart are the same: some systems round them."""


@dataclass(frozen=True, slots=True)
class Repacked:
    """What a repack did, or would do: the bytes of all packs before and after, and the objects that got another base.

    `objects` counts all that were looked at; `repacked_nbytes` are decoded bytes. `costliest_before` and
    `costliest_after` say what the costliest object takes to restore, as a multiple of the same object stored alone.
    After a dry run, what comes after is predicted.
    """

    before_nbytes: int
    after_nbytes: int
    objects: int
    repacked_objects: int
    repacked_nbytes: int
    costliest_before: float
    costliest_after: float


def repack(
    store: ObjectStore,
    series: Callable[[], Iterable[Series]],
    keep: Callable[[], set[ObjectId]],
    *,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> Repacked:
    """Store every object against the base that a plan over the whole store gives it, and return what that changed.

    `series` is asked which objects are versions of one tensor, and `keep`, as in `collect`, which are needed. What is
    not, and out of its grace, is no base any more where another one does as well; it is dropped as `collect` drops it.
    No object gets another id, and the grace period of each counts from when it did. Interrupted at any point, the
    store is whole, and a second run goes on; on a store that was repacked, nothing is written. Raises IntegrityError
    (store-damaged) where anything that is read turns out to be damaged.
    """
    with refused_where_damaged("the store was not repacked"):
        with store.lock(exclusive=False):
            before_nbytes = sum(store.refresh().values())
            shelf = Shelf(store)
            standings = dict(shelf.standings())
            limit = time.time() - store.config.grace_seconds
            # What is not planned keeps the very copies that it leans on, so these stay whatever is planned.
            unplanned = set(shelf.copies.identities()) - standings.keys()
            pinned = {place.entry.id for place in shelf.copies.chains_of(unplanned, {})} & standings.keys()
            unneeded = standings.keys() - keep() - pinned
            needless = {identity for identity in unneeded if shelf.youth(identity) <= limit}
            wished = wishes(standings, series(), needless, pinned, shelf.open, store.config.threads, progress)
        before = _costliest((one.cost, one.nbytes) for one in standings.values())
        after = _costliest((wish.cost, standings[identity].nbytes) for identity, wish in wished.items())
        changed = {identity: wish for identity, wish in wished.items() if wish.is_new}
        changed_nbytes = sum(standings[identity].nbytes for identity in changed)
        saved = sum(standings[identity].stored_nbytes - wish.nbytes for identity, wish in changed.items())
        after_nbytes = before_nbytes - saved
        if not dry_run:
            _Rounds(store, standings, wished, progress).run()
            if needless:
                collect(store, keep, progress=progress)
            with store.lock(exclusive=False):
                after_nbytes = sum(store.refresh().values())
                after = _costliest((one.cost, one.nbytes) for _, one in Shelf(store).standings())
    return Repacked(before_nbytes, after_nbytes, len(standings), len(changed), changed_nbytes, before, after)


def _costliest(costs: Iterable[tuple[int, int]]) -> float:
    return round(max((cost / nbytes for cost, nbytes in costs if nbytes), default=1.0), 2)


class _Rounds:
    """The rounds in which a store comes to be as `wished`."""

    def __init__(
        self,
        store: ObjectStore,
        standings: Mapping[ObjectId, Standing],
        wished: Mapping[ObjectId, Wish],
        progress: Progress,
    ) -> None:
        self._store, self._standings, self._wished, self._progress = store, standings, wished, progress
        total = sum(standings[identity].nbytes for identity, wish in wished.items() if wish.is_new)
        self._round_nbytes = max(ROUND_NBYTES, total // MOST_ROUNDS)
        self._shelf: Shelf | None = None
        self._verified: set[ObjectId] = set()

    def run(self) -> None:
        """Work until all is as wished; what has gone meanwhile is passed over, and what has come is left alone."""
        unfinished = True
        while unfinished:
            with self._store.lock(exclusive=True):
                unfinished = self._round()
        self._progress.finish()

    def _round(self) -> bool:
        """Write a part, drop what it makes superfluous, and return whether there is more to do."""
        shelf = Shelf(self._store, self._shelf)
        settled = self._settled(shelf)
        batch, unfinished = self._next_batch(shelf, settled)
        if batch:
            written = write_records(self._store, shelf, batch, settled, self._progress)
            before, shelf = shelf, Shelf(self._store, shelf)
            settled = self._settled(shelf)
            try:
                self._verify(shelf, settled, set(batch))
            except IntegrityError:
                # Readers would take it for what it is not.
                self._store.drop_packs({written} - before.entries.keys())
                raise
        self._shelf = shelf
        alive = self._alive(shelf, settled)
        plans = [plan_pack(name, entries, alive) for name, entries in shelf.entries.items()]
        rewritten = [plan for plan in plans if plan.is_dead(DEAD_SHARE if unfinished else 0)]
        losing = {entry.id for plan in rewritten for entry in plan.dead}
        self._verify(shelf, settled, (losing & settled.keys()) - self._verified)
        verify_survivors(self._store, rewritten, alive)
        if rewritten:
            rewrite(self._store, rewritten, self._progress, is_flushed=bool(batch))
        return unfinished

    def _settled(self, shelf: Shelf) -> dict[ObjectId, Place]:
        """Return the copies that are as wished, down to the end of their chains."""
        settled: dict[ObjectId, Place] = {}
        for identity, wish in self._wished.items():
            below = None if wish.base is None else settled.get(wish.base)
            if wish.base is not None and below is None:
                continue
            # Nobody must lose the grace that a copy in a younger pack gives him.
            youth = shelf.youth(identity) - SAME_SECONDS
            for place in shelf.copies.places(identity):
                is_above = below is None or below.entry.depth < place.entry.depth
                if is_above and shelf.modified[place.pack] > youth and wish.is_met_by(shelf.form(place)):
                    settled[identity] = place
                    break
        return settled

    def _next_batch(self, shelf: Shelf, settled: Mapping[ObjectId, Place]) -> tuple[dict[ObjectId, Wish], bool]:
        """Return what is to be written next, every base first, and whether there is more."""
        batch: dict[ObjectId, Wish] = {}
        nbytes = 0
        for identity, wish in self._wished.items():
            has_base = wish.base is None or wish.base in settled or wish.base in batch
            if identity in settled or not has_base or not shelf.copies.places(identity):
                continue
            if nbytes >= self._round_nbytes:
                return batch, True
            batch[identity] = wish
            nbytes += self._standings[identity].nbytes
        return batch, False

    def _verify(self, shelf: Shelf, settled: Mapping[ObjectId, Place], identities: set[ObjectId]) -> None:
        """Decode what is to be all that there is of objects, by the chains that it will have."""

        def verify(identity: ObjectId) -> int:
            places = []
            current: ObjectId | None = identity
            while current is not None:
                places.append(settled[current])
                current = self._wished[current].base
            return verify_chain(shelf.chain(places))

        for nbytes in ordered_map(verify, sorted(identities), self._store.config.threads):
            self._progress.advance(nbytes)
        self._verified |= identities

    def _alive(self, shelf: Shelf, settled: Mapping[ObjectId, Place]) -> Alive:
        """Return the copies that are kept: one of what is settled, of the rest all, and what the rest leans on."""
        alive: Alive = {}
        for identity, place in settled.items():
            base = self._wished[identity].base
            alive[place] = () if base is None else (settled[base],)
        rest = set(shelf.copies.identities()) - settled.keys()
        alive = shelf.copies.chains_of(rest, alive)
        for identity in rest:
            for place in shelf.copies.places(identity):
                alive.setdefault(place, ())
        return alive
