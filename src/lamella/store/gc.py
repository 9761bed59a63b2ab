"""Dropping what nothing reaches: packs are rewritten without their dead objects, and only then removed.

What is kept: every object that `keep` names, every object in a pack that is younger than the grace period, and every
base that one of those leans on. The whole runs under the store's exclusive lock, so no writer can lean on what is being
dropped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lamella.core import fsio
from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId
from lamella.core.progress import SILENT, Progress
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackReader, PackWriter
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


@dataclass(frozen=True, slots=True)
class _Place:
    pack: PackReader
    entry: Entry


_Copies = dict[ObjectId, _Place]
"""The copy of each object that is kept: the shallowest, which is what readers prefer."""


@dataclass(frozen=True, slots=True)
class _PackPlan:
    pack: PackReader
    young: bool
    live: list[Entry]
    dead: list[Entry]

    @property
    def worth_rewriting(self) -> bool:
        dead = sum(entry.nbytes for entry in self.dead)
        total = dead + sum(entry.nbytes for entry in self.live)
        return not self.young and bool(self.dead) and dead >= DEAD_SHARE * total


def collect(
    store: ObjectStore, keep: Callable[[], set[ObjectId]], *, dry_run: bool = False, progress: Progress = SILENT
) -> Collected:
    """Drop every stored object that `keep()` does not hold up, and return what that freed.

    `keep` is asked while no writer is at work, so that it sees everything that was acknowledged. Interrupted at any
    point, the store is whole: a new pack is durable before an old one goes. What lies where is read from the packs,
    not from the index. Raises IntegrityError (store-damaged) where a pack's directory, a head on the way to a base or
    a copy that is to stand alone is damaged: a damaged store is repaired first, so that nothing is dropped by mistake.
    """
    with store.lock(exclusive=True):
        temporaries = 0 if dry_run else sweep(store)
        kept = keep()
        with _refused_where_damaged():
            entries = {store.pack(name): store.pack(name).entries() for name in sorted(store.refresh())}
            best = _best_copies(entries)
            limit = time.time() - store.config.grace_seconds
            young = {pack for pack in entries if store.modified(pack.name) > limit}
            wanted = _with_bases(best, kept)
            alive = wanted | _with_bases(best, {entry.id for pack in young for entry in entries[pack]})
            plans = [_plan(pack, found, best, alive, young=pack in young) for pack, found in entries.items()]
            rewritten = [plan for plan in plans if plan.worth_rewriting]
            if not dry_run:
                _verify_survivors(rewritten, best, alive)
        if not dry_run:
            _rewrite(store, rewritten, progress)
    dropped = [entry for plan in rewritten for entry in plan.dead]
    live = [entry for plan in plans for entry in plan.live]
    graced = [entry for entry in live if entry.id not in wanted]
    return Collected(
        len(live), sum(e.nbytes for e in live), len(dropped), sum(e.nbytes for e in dropped),
        len(graced), sum(e.nbytes for e in graced), temporaries,
    )  # fmt: skip


@contextlib.contextmanager
def _refused_where_damaged() -> Iterator[None]:
    try:
        yield
    except IntegrityError as exc:
        raise IntegrityError(
            f"nothing was dropped, since the store is damaged: {exc.message}",
            kind="store-damaged",
            hint="run `lamella fsck --repair` first",
        ) from exc


def sweep(store: ObjectStore) -> int:
    """Remove the temporaries of processes that were killed, and return how many there were."""
    return sum(fsio.sweep(path) for path in (store.packs, store.temporary) if path.is_dir())


def _best_copies(entries: dict[PackReader, list[Entry]]) -> _Copies:
    best: _Copies = {}
    for pack, found in entries.items():
        for entry in found:
            if entry.id not in best or entry.depth < best[entry.id].entry.depth:
                best[entry.id] = _Place(pack, entry)
    return best


def _with_bases(best: _Copies, wanted: set[ObjectId]) -> set[ObjectId]:
    """Return the stored objects of `wanted` and all that they lean on."""
    alive: set[ObjectId] = set()
    for identity in wanted:
        current: ObjectId | None = identity
        while current is not None and current in best and current not in alive:
            alive.add(current)
            place = best[current]
            current = place.pack.head(place.entry).base if place.entry.depth else None
    return alive


def _plan(pack: PackReader, entries: list[Entry], best: _Copies, alive: set[ObjectId], *, young: bool) -> _PackPlan:
    plan = _PackPlan(pack, young, [], [])
    for entry in entries:
        stays = entry.id in alive and best[entry.id] == _Place(pack, entry)
        (plan.live if stays else plan.dead).append(entry)
    return plan


def _verify_survivors(plans: list[_PackPlan], best: _Copies, alive: set[ObjectId]) -> None:
    """Refuse to carry damage into a new pack, or to drop a copy whose place another takes that cannot be read."""
    moved = {entry.id for plan in plans for entry in plan.live}
    replaced = {entry.id for plan in plans for entry in plan.dead} & alive
    for identity in sorted(moved | _with_bases(best, replaced)):
        verify_record(best[identity].pack, best[identity].entry)


def _rewrite(store: ObjectStore, plans: list[_PackPlan], progress: Progress) -> None:
    copied = [plan for plan in plans if plan.live]
    progress.start("rewriting", sum(entry.nbytes for plan in copied for entry in plan.live))
    kept: set[str] = set()
    if copied:
        with PackWriter(store.packs) as writer:
            for plan in copied:
                for entry in plan.live:
                    writer.copy(plan.pack, entry)
                    progress.advance(entry.nbytes)
            kept.add(store.publish(writer, max(store.modified(plan.pack.name) for plan in copied)))
    elif plans:
        store.flush_names()
    store.drop_packs({plan.pack.name for plan in plans} - kept)
    progress.finish()
