"""The object store of one repository: bytes by their id, in packs that several processes read and write at once.

Writers hold the store's lock shared from the moment they look for a base until their pack is indexed; only who drops
packs holds it exclusively. Readers hold nothing: a pack that vanishes under them was rewritten, and its objects are
found again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from lamella.core import fsio, locks
from lamella.core.config import DEFAULT, StoreConfig
from lamella.core.errors import BackendError, IntegrityError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.store.chain import Chain, Link
from lamella.store.copies import Links, Search, missing
from lamella.store.index import IDS_AT_ONCE, Index
from lamella.store.pack import Entry, PackReader, PackWriter

MAX_OPEN_PACKS = 64
"""Packs kept open between reads, beside those that a chain holds: systems allow a process 256 files or more."""


class ObjectStore:
    """Reads objects and hands out what writers need. Safe for several threads.

    `directory` is `.git/lamella` of the repository's common directory; `create` makes it where it is missing. Raises
    NotFoundError (object-missing) where there is no store, and FormatError (pack-version) where a newer version of
    Lamella has written to it.
    """

    def __init__(self, directory: Path, config: StoreConfig = DEFAULT, *, create: bool = False) -> None:
        self.directory = directory
        self.packs = directory / "packs"
        self.temporary = directory / "tmp"
        self.quarantine = directory / "quarantine"
        self.config = config
        if create:
            for path in (self.packs, self.temporary):
                fsio.make_directory(path, durable=False)
        elif not self.packs.is_dir():
            raise NotFoundError(
                "this repository has no lamella store", kind="object-missing", hint="run `lamella init`"
            )
        self.index = Index(directory / "index.db", self.packs)
        self.streaming: set[object] = set()
        """One thing for each stream of objects that is being read."""
        self._mutex = threading.Lock()
        self._open_packs: dict[str, PackReader] = {}  # the one used last at the end
        self._rebuilt = False

    def close(self) -> None:
        """Close every file; the store is not used after."""
        self._open_packs.clear()
        self.index.close()

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def lock(self, *, exclusive: bool, blocking: bool = True) -> contextlib.AbstractContextManager[None]:
        """Hold the store's lock: shared to write, exclusive to drop packs."""
        return locks.lock(self.directory / "lock", exclusive=exclusive, blocking=blocking)

    def refresh(self) -> dict[str, int]:
        """Look at the disk again and return the packs there with their lengths.

        Packs that are gone, or were copied further since, are closed.
        """
        present = self.index.refresh()
        with self._mutex:
            for name, pack in list(self._open_packs.items()):
                if present.get(name) != pack.nbytes:
                    del self._open_packs[name]
        return present

    def rebuild_index(self) -> set[str]:
        """Index the store anew, trusting nothing that was known before; return the names of the packs."""
        with self._mutex:
            self._open_packs.clear()
            self._rebuilt = True
        self.index.rebuild()
        return self.index.pack_names()

    def pack(self, name: str) -> PackReader:
        """Return the open pack called `name`; raise NotFoundError (pack-missing) where it is gone."""
        with self._mutex:
            reader = self._open_packs.pop(name, None) or self._open_pack(name)
            self._open_packs[name] = reader
            if len(self._open_packs) > MAX_OPEN_PACKS:
                del self._open_packs[next(iter(self._open_packs))]
            return reader

    def _open_pack(self, name: str) -> PackReader:
        try:
            return PackReader(self.packs / name)
        except BackendError:
            # Too many open files, perhaps; any other fault comes again.
            self._open_packs.clear()
            return PackReader(self.packs / name)

    def contains(self, identity: ObjectId) -> bool:
        """Say whether an object is stored."""
        return not self.missing([identity])

    def missing(self, identities: Iterable[ObjectId]) -> set[ObjectId]:
        """Return those of many objects that are not stored."""
        absent = set(identities)
        absent -= self.index.known(list(absent))
        if absent:
            self.refresh()
            absent -= self.index.known(list(absent))
        return absent

    def modified(self, name: str) -> float:
        """Return when a pack was written or last leaned on, in seconds since the epoch."""
        with fsio.translated(self.packs / name, reading=True):
            return (self.packs / name).stat().st_mtime

    def search(self) -> Search:
        """Return a search among the copies that the index knows."""
        return Search(lambda identity: self._links(self.index.find(identity)))

    def chains(self, identities: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Iterator[Links]]]:
        """Yield each object with the chains that a search finds for it; the index is asked for many objects at once."""
        found: dict[ObjectId, list[tuple[str, Entry]]] = {}
        search = Search(lambda identity: self._links(found.get(identity) or self.index.find(identity)))
        waiting = iter(identities)
        while asked := list(islice(waiting, IDS_AT_ONCE)):
            found = self.index.find_all(asked)
            for identity in asked:
                yield identity, search.chains(identity) if found[identity] else iter(())

    def _links(self, places: Iterable[tuple[str, Entry]]) -> Iterator[Link | IntegrityError]:
        """Yield the copies of an object, or what is wrong with their heads."""
        for name, entry in places:
            try:
                pack = self.pack(name)
                yield Link(pack.head(entry), pack, entry)
            except NotFoundError:
                continue
            except IntegrityError as exc:
                yield exc

    def open(self, identity: ObjectId) -> Chain:
        """Open an object and its bases.

        A pack that has vanished was rewritten: its objects are found by looking again, whatever a look at the disk
        says, since another process may have indexed the new pack by then. Before an object is given up, the index is
        rebuilt, once in the life of this store.

        Raises NotFoundError (object-missing) where one of them is not stored, and IntegrityError where a head is
        damaged or the chain does not descend.
        """
        for look_again in (self.refresh, self.refresh, self._rebuild_once, None):
            search = self.search()
            links = next(search.chains(identity), None)
            if links is not None:
                return Chain(links)
            if look_again is not None:
                look_again()
        raise search.fault or missing(identity)

    def open_all(self, identities: Iterable[ObjectId]) -> Iterator[Chain]:
        """Yield many objects as `open` does, in order."""
        for identity, chains in self.chains(identities):
            links = next(chains, None)
            yield self.open(identity) if links is None else Chain(links)

    def _rebuild_once(self) -> None:
        if not self._rebuilt:
            self.rebuild_index()

    def read(self, identity: ObjectId) -> bytearray:
        """Return a whole object, verified; for objects known to be small."""
        return self.open(identity).read()

    def pack_sizes(self) -> dict[str, int]:
        """Return the length of every pack on disk."""
        return self.index.pack_sizes()

    def publish(self, writer: PackWriter, modified: float | None = None) -> str:
        """Publish and index a pack; what it holds is durable and found when this returns.

        `modified` sets the time from which a grace period counts, in seconds since the epoch; now by default.
        """
        if not self.index.pack_names():
            # Where there is a pack, the names of the directories are on stable storage: they are flushed before the
            # first one gets its name, since whoever made them may have died before he could.
            fsio.sync_directory(self.directory.parent)
            fsio.sync_directory(self.directory)
        name = writer.publish(modified)
        with self._mutex:
            self._open_packs.pop(name, None)
        self.index.add_pack(name, writer.nbytes, writer.entries)
        return name

    def flush_names(self) -> None:
        """Make sure that every pack on disk has its name on stable storage before anybody relies on it.

        Whoever renamed it may have died before the directory was flushed, or may be just about to flush it. To publish
        a pack does the same.
        """
        fsio.sync_directory(self.packs)

    def drop_packs(self, names: set[str]) -> None:
        """Remove packs whose live objects lie elsewhere, durably. The caller holds the lock exclusively."""
        for name in sorted(names):
            fsio.remove(self.packs / name)
        if names:
            fsio.sync_directory(self.packs)
        self.forget_packs(names)

    def forget_packs(self, names: set[str]) -> None:
        """Close packs that are gone and drop them from the index."""
        with self._mutex:
            for name in names:
                self._open_packs.pop(name, None)
        self.index.forget(names)
