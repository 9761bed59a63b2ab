"""Checking every stored byte, and rebuilding what is damaged from any other copy.

A record is sound when its head, every payload and, asked for in full, the decoded object itself are what was written.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import BackendError, IntegrityError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.core.parallel import ordered_map
from lamella.core.progress import SILENT, Progress
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry, PackReader, PackWriter
from lamella.store.reader import verify_object, verify_record
from lamella.store.scan import survey
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

    Without, an object is unreadable where a record of its chain is damaged or missing.

    The index is rebuilt first, so that its faults are no faults of the store. Raises nothing for damage. Where the
    store can be locked, packs neither vanish nor change their names meanwhile.
    """
    with contextlib.ExitStack() as held:
        # Who may not even open the lock reads a store that nobody else may change either.
        with contextlib.suppress(BackendError):
            held.enter_context(store.lock(exclusive=False))
        return _check(store, decode, progress)


def _check(store: ObjectStore, decode: bool, progress: Progress) -> Checked:
    names = sorted(store.rebuild_index())
    progress.start("checking", sum(store.pack_sizes().values()))
    damage: list[Damage] = []
    objects = nbytes = 0
    suspects: set[ObjectId] = set()
    spoilt: set[tuple[str, int]] = set()
    for name in names:
        pack = store.pack(name)
        entries, fault = survey(pack)
        if fault is not None:
            damage.append(Damage(name, None, fault.kind, fault.message))
        for entry, faults in zip(entries, ordered_map(_checker(pack), entries, store.config.threads), strict=True):
            objects, nbytes = objects + 1, nbytes + entry.nbytes
            suspects.add(entry.id)
            damage.extend(faults)
            if faults:
                spoilt.add((name, entry.offset))
            progress.advance(entry.nbytes)
    progress.finish()

    def decoded(identity: ObjectId) -> int:
        return verify_object(store, identity)

    def opened(identity: ObjectId) -> int | None:
        links = store.open(identity).every_link()
        return None if any((link.pack.name, link.entry.offset) in spoilt for link in links) else 0

    progress.start("decoding" if decode else "opening", 0)
    unreadable = set()
    for identity, read in ordered_map(_tried(decoded if decode else opened), sorted(suspects), store.config.threads):
        progress.advance(read or 0)
        if read is None:
            unreadable.add(identity)
    progress.finish()
    return Checked(len(names), objects, nbytes, tuple(damage), frozenset(unreadable))


def _checker(pack: PackReader) -> Callable[[Entry], list[Damage]]:
    def check_entry(entry: Entry) -> list[Damage]:
        try:
            verify_record(pack, entry)
        except IntegrityError as exc:
            return [Damage(pack.name, entry.id, exc.kind, exc.message)]
        return []

    return check_entry


def _tried(read: Callable[[ObjectId], int | None]) -> Callable[[ObjectId], tuple[ObjectId, int | None]]:
    """Return `read` with its argument beside what it returns; None where that cannot be read."""

    def attempt(identity: ObjectId) -> tuple[ObjectId, int | None]:
        try:
            return identity, read(identity)
        except (IntegrityError, NotFoundError):
            return identity, None

    return attempt


def salvage(store: ObjectStore, copies: Iterable[Source], progress: Progress = SILENT) -> set[ObjectId]:
    """Move damaged packs aside, keep every sound record of theirs, and store `copies` again; return the ids stored.

    Damaged packs go to `quarantine/` and are never deleted. The sound records are durable in a new pack before that.
    """
    with store.lock(exclusive=True):
        for name in sorted(store.rebuild_index()):
            pack = store.pack(name)
            entries, fault = survey(pack)
            check_entry = _checker(pack)
            sound = [entry for entry in entries if not check_entry(entry)]
            if fault is not None or len(sound) < len(entries):
                _set_aside(store, pack, sound)
    ids, _ = add_objects(store, list(copies), progress, anew=True)
    return set(ids)


def _set_aside(store: ObjectStore, pack: PackReader, sound: list[Entry]) -> None:
    if sound:
        with PackWriter(store.packs) as writer:
            for entry in sound:
                writer.copy(pack, entry)
            if store.publish(writer) == pack.name:
                # Nothing but the pack's frame was damaged, and the new one has taken its place.
                return
    fsio.make_directory(store.quarantine)
    fsio.rename(pack.path, _free_name(store.quarantine, pack.name))
    store.forget_packs({pack.name})


def _free_name(directory: Path, name: str) -> Path:
    """Return a path in `directory` that nothing has: a pack that was damaged twice is kept twice."""
    numbered = (directory / f"{name}.{number}" for number in itertools.count(1))
    return next(path for path in itertools.chain([directory / name], numbered) if not path.exists())
