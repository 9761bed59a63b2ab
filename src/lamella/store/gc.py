"""Dropping what nothing reaches: packs are rewritten without their dead objects, and only then removed.

What is kept: every object that `keep` names, every object in a pack that is younger than the grace period, and every base that
one of those leans on. The whole runs under the store's exclusive lock, so no writer can lean on what is being dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lamella.core import fsio
from lamella.core.ids import ObjectId
from lamella.core.limits import STRIPE_CHUNKS
from lamella.core.progress import SILENT, Progress
from lamella.store.chain import Link
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackWriter

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
class _PackPlan:
    name: str
    young: bool
    live: list[Entry]
    dead: list[Entry]


def collect(
    store: ObjectStore, keep: Callable[[], set[ObjectId]], *, dry_run: bool = False, progress: Progress = SILENT
) -> Collected:
    """Drop every stored object that `keep()` does not hold up, and return what that freed.

    `keep` is asked while no writer is at work, so that it sees everything that was acknowledged. Interrupted at any point, the store is whole: a new pack is durable before an old one goes. Raises IntegrityError
    where a pack's directory is damaged: a damaged store is repaired first, so that nothing is dropped by mistake.
    """
    with store.lock(exclusive=True):
        store.index.refresh()
        temporaries = 0 if dry_run else sweep(store)
        wanted = _with_bases(store, keep())
        plans = _plan(store, wanted)
        rewritten = [plan for plan in plans if _worth_rewriting(plan)]
        if not dry_run:
            _rewrite(store, rewritten, progress)
    dropped = [entry for plan in rewritten for entry in plan.dead]
    live = [entry for plan in plans for entry in plan.live]
    graced = [entry for plan in plans for entry in plan.live if entry.id not in wanted]
    return Collected(
        len(live), sum(e.nbytes for e in live), len(dropped), sum(e.nbytes for e in dropped),
        len(graced), sum(e.nbytes for e in graced), temporaries,
    )  # fmt: skip


def sweep(store: ObjectStore) -> int:
    """Remove the temporaries of processes that were killed, and return how many there were."""
    return sum(fsio.sweep(path) for path in (store.packs, store.temporary) if path.is_dir())


def _plan(store: ObjectStore, keep: set[ObjectId]) -> list[_PackPlan]:
    limit = time.time() - store.config.grace_seconds
    young: dict[str, bool] = {}
    entries: dict[str, list[Entry]] = {}
    for name in sorted(store.index.pack_names()):
        entries[name] = store.pack(name).entries()
        with fsio.translated(store.packs / name):
            young[name] = (store.packs / name).stat().st_mtime > limit
    alive = _with_bases(store, keep | {entry.id for name in entries if young[name] for entry in entries[name]})
    best = {identity: (name, entry.offset) for identity in alive for name, entry in store.index.find(identity)[:1]}
    plans = []
    for name, found in entries.items():
        live = [entry for entry in found if best.get(entry.id) == (name, entry.offset)]
        dead = [entry for entry in found if best.get(entry.id) != (name, entry.offset)]
        plans.append(_PackPlan(name, young[name], live, dead))
    return plans


def _with_bases(store: ObjectStore, wanted: set[ObjectId]) -> set[ObjectId]:
    alive: set[ObjectId] = set()
    for identity in wanted:
        current: ObjectId | None = identity
        while current is not None and current not in alive and store.contains(current):
            alive.add(current)
            name, entry = store.head_entry(current)
            current = store.pack(name).head(entry).base
    return alive


def _worth_rewriting(plan: _PackPlan) -> bool:
    dead = sum(entry.nbytes for entry in plan.dead)
    total = dead + sum(entry.nbytes for entry in plan.live)
    return not plan.young and bool(plan.dead) and dead >= DEAD_SHARE * total


def _rewrite(store: ObjectStore, plans: list[_PackPlan], progress: Progress) -> None:
    copied = [plan for plan in plans if plan.live]
    progress.start("rewriting", sum(entry.nbytes for plan in copied for entry in plan.live))
    kept: set[str] = set()
    if copied:
        with PackWriter(store.packs) as writer:
            for plan in copied:
                for entry in plan.live:
                    _verify(store, plan.name, entry)
                    writer.copy(store.pack(plan.name), entry)
                    progress.advance(entry.nbytes)
            newest = max((store.packs / plan.name).stat().st_mtime for plan in copied)
            name = writer.publish(newest)
            store.index.add_pack(name, writer.entries)
            kept.add(name)
    store.drop_packs({plan.name for plan in plans} - kept)
    progress.finish()


def _verify(store: ObjectStore, name: str, entry: Entry) -> None:
    """Refuse to carry damage into a new pack, or to drop a sound copy in favour of a damaged one."""
    pack = store.pack(name)
    link = Link(pack.head(entry), pack, entry)
    for first in range(0, len(link.head.rows), STRIPE_CHUNKS):
        link.payloads(first, first + STRIPE_CHUNKS)
