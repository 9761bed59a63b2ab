"""The object store of one repository: bytes by their id, in packs that several processes read and write at once.

Writers hold the store's lock shared from the moment they look for a base until their pack is indexed; only `gc` holds
it exclusively. Readers hold nothing: a pack that vanishes under them was rewritten, and its objects are found again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lamella.core import fsio
from lamella.core.config import DEFAULT, StoreConfig
from lamella.core.errors import IntegrityError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.core.limits import MAX_READ_DEPTH
from lamella.store.chain import Chain, Link
from lamella.store.index import Index
from lamella.store.pack import Entry, PackReader

FRESHEN_SECONDS = 3_600
"""A pack that is leaned on is touched at most this often; far below any grace period."""


class ObjectStore:
    """Reads objects and hands out what writers need. Safe for several threads.

    `directory` is `.git/lamella` of the repository's common directory; `create` makes it where it is missing.
    """

    def __init__(self, directory: Path, config: StoreConfig = DEFAULT, *, create: bool = False) -> None:
        self.directory = directory
        self.packs = directory / "packs"
        self.temporary = directory / "tmp"
        self.quarantine = directory / "quarantine"
        self.config = config
        if create:
            for path in (self.packs, self.temporary):
                fsio.make_directory(path)
        elif not self.packs.is_dir():
            raise NotFoundError(
                "this repository has no lamella store", kind="object-missing", hint="run `lamella init`"
            )
        self.index = Index(directory / "index.db", self.packs)
        self._mutex = threading.Lock()
        self._open_packs: dict[str, PackReader] = {}

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
        return fsio.lock(self.directory / "lock", exclusive=exclusive, blocking=blocking)

    def pack(self, name: str) -> PackReader:
        """Return the open pack called `name`; raise NotFoundError (pack-missing) where it is gone."""
        with self._mutex:
            reader = self._open_packs.get(name)
            if reader is None:
                reader = self._open_packs[name] = PackReader(self.packs / name)
            return reader

    def contains(self, identity: ObjectId) -> bool:
        """Say whether an object is stored."""
        return bool(self.index.find(identity)) or (self.index.refresh() and bool(self.index.find(identity)))

    def freshen(self, identity: ObjectId) -> bool:
        """Say whether an object is stored, and start its grace period anew, since a writer is about to lean on it."""
        if not self.contains(identity):
            return False
        for name, _ in self.index.find(identity)[:1]:
            path = self.packs / name
            with fsio.translated(path):
                if time.time() - path.stat().st_mtime > FRESHEN_SECONDS:
                    fsio.touch(path)
        return True

    def _links(self, identity: ObjectId) -> Iterator[Link]:
        """Yield the copies of an object that have an undamaged head."""
        damage: IntegrityError | None = None
        found = False
        for name, entry in self.index.find(identity):
            try:
                pack = self.pack(name)
                link = Link(pack.head(entry), pack, entry)
            except NotFoundError:
                continue
            except IntegrityError as exc:
                damage = exc
                continue
            found = True
            yield link
        if not found and damage is not None:
            raise damage

    def _link(self, identity: ObjectId) -> Link:
        link = next(self._links(identity), None)
        if link is None and self.index.refresh():
            link = next(self._links(identity), None)
        if link is None:
            raise NotFoundError(
                f"object {identity.hex()} is not in the store",
                kind="object-missing",
                hint="get it from another clone, or run `lamella fsck` to see what is affected",
            )
        return link

    def head_entry(self, identity: ObjectId) -> tuple[str, Entry]:
        """Return the pack and entry from which an object is read first."""
        link = self._link(identity)
        return link.pack.name, link.entry

    def open(self, identity: ObjectId) -> Chain:
        """Open an object and its bases.

        Raises NotFoundError (object-missing) where one of them is not stored, and IntegrityError where a head is
        damaged or the chain does not descend.
        """
        links = [self._link(identity)]
        while (base := links[-1].head.base) is not None:
            link = self._link(base)
            grid = (link.head.item_nbytes, link.head.chunk_shift)
            if grid != (links[-1].head.item_nbytes, links[-1].head.chunk_shift):
                raise IntegrityError(
                    f"object {links[-1].head.id.hex()} has a base on another grid", kind="base-mismatch"
                )
            if link.head.depth >= links[-1].head.depth or len(links) > MAX_READ_DEPTH:
                raise IntegrityError(
                    f"the chain of object {identity.hex()} does not end",
                    kind="chain-too-deep",
                    hint="run `lamella fsck`",
                )
            links.append(link)
        return Chain(tuple(links))

    def read(self, identity: ObjectId) -> bytearray:
        """Return a whole object, verified; for objects known to be small."""
        return self.open(identity).read()

    def pack_sizes(self) -> dict[str, int]:
        """Return the length of every pack on disk."""
        with fsio.translated(self.packs):
            return {name: (self.packs / name).stat().st_size for name in self.index.pack_names()}

    def drop_packs(self, names: set[str]) -> None:
        """Remove packs whose live objects lie elsewhere by now. The caller holds the lock exclusively."""
        for name in sorted(names):
            with self._mutex:
                self._open_packs.pop(name, None)
            fsio.remove(self.packs / name)
        self.index.forget(names)
        if names:
            fsio.sync_directory(self.packs)
