"""The index: object to pack and offset, a cache in SQLite that is rebuilt from the packs whenever it disagrees.

No fact lives here alone, so every fault of the database ends in a new one, and a store that cannot be written is
indexed in memory. Nothing is believed because it stands here: readers check a record's head against what the index
says, and whoever drops objects asks the packs. TRUNCATE journalling, not WAL: SQLite before 3.51.3 can corrupt a WAL
that several processes share.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lamella.core import fsio
from lamella.core.database import transaction
from lamella.core.errors import IntegrityError, NotFoundError
from lamella.core.ids import ID_NBYTES, ObjectId
from lamella.store.pack import SUFFIX, Entry, PackReader
from lamella.store.record import MIN_HEAD_NBYTES
from lamella.store.scan import survey
from lamella.store.sketch import SKETCH

Result = TypeVar("Result")
SCHEMA_VERSION = 3
Fault = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What a database that is not sound raises; the second where SQLite quotes its garbage."""

BUSY_SECONDS = 30
_IN_MEMORY = ":memory:"
_SKETCHES_A_ROW = 4096
_PACKS_AT_ONCE = 64
IDS_AT_ONCE = 500
"""Objects that one query asks for."""

_SCHEMA = """
CREATE TABLE packs (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, nbytes INTEGER NOT NULL, damaged INTEGER NOT NULL,
    sketched INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE objects (
    id BLOB NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL, payload INTEGER NOT NULL,
    head INTEGER NOT NULL, depth INTEGER NOT NULL, verification BLOB NOT NULL, PRIMARY KEY (id, pack, offset)
) WITHOUT ROWID;
CREATE TABLE sketches (
    class INTEGER NOT NULL, pack INTEGER NOT NULL, part INTEGER NOT NULL, ids BLOB NOT NULL, sketches BLOB NOT NULL,
    PRIMARY KEY (class, pack, part)
);
"""
_FIND = """
SELECT name, CAST(id AS BLOB), CAST(offset AS INTEGER), CAST(payload AS INTEGER), CAST(head AS INTEGER),
    CAST(depth AS INTEGER), CAST(verification AS BLOB)
FROM objects JOIN packs ON pack = number WHERE id IN ({}) ORDER BY depth, damaged, name, offset
"""
"""The casts keep a flipped bit in the database from giving a value of another type."""
_NOT_THE_FILES_FAULT = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_NOLFS),
    *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH),
    sqlite3.SQLITE_CONSTRAINT,
}
"""Primary result codes of a database that may be sound, and in use by other processes: it must not be removed."""


class Index:
    """Finds objects. Safe for several threads and several processes.

    Raises FormatError (pack-version) where a pack was written by a newer version, whose objects it cannot list.
    """

    def __init__(self, database: Path, packs: Path) -> None:
        self._database = database
        self._packs = packs
        self._mutex = threading.RLock()
        self._connection = self._open()
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database; the index is not used after."""
        with self._mutex:
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        """Open the database, a new one where it is broken, one in memory where that cannot be."""
        try:
            return self._connect(os.fspath(self._database))
        except Fault as exc:
            broken = _is_broken(exc)
        if broken:
            with contextlib.suppress(*Fault, OSError):
                fsio.remove(self._database)
                return self._connect(os.fspath(self._database))
        return self._connect(_IN_MEMORY)

    def _connect(self, location: str) -> sqlite3.Connection:
        connection = sqlite3.connect(location, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=TRUNCATE")
            connection.execute("PRAGMA synchronous=FULL")
            # Whoever only reads asks for no lock that a writer could hold.
            if _schema_version(connection) != SCHEMA_VERSION:
                with transaction(connection):
                    if _schema_version(connection) != SCHEMA_VERSION:
                        _recreate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _guarded(self, action: Callable[[], Result]) -> Result:
        """Run `action`; where the database fails, run it again on a new one, and at last on one in memory."""
        with self._mutex:
            try:
                return action()
            except sqlite3.ProgrammingError:
                raise
            except Fault as exc:
                self._connection.close()
                if _is_broken(exc):
                    with contextlib.suppress(OSError):
                        fsio.remove(self._database)
                self._connection = self._open()
            try:
                self._synchronise()
                return action()
            except Fault:
                self._connection.close()
                self._connection = self._connect(_IN_MEMORY)
            self._synchronise()
            return action()

    def pack_sizes(self) -> dict[str, int]:
        """Return the names and lengths of the packs on disk, indexed or not."""
        sizes = {}
        with fsio.translated(self._packs, reading=True), os.scandir(self._packs) as found:
            for entry in found:
                if entry.name.endswith(SUFFIX) and entry.name.isascii() and entry.is_file():
                    with contextlib.suppress(FileNotFoundError):
                        sizes[entry.name] = entry.stat().st_size
        return sizes

    def pack_names(self) -> set[str]:
        """Return the names of the packs on disk, indexed or not."""
        return set(self.pack_sizes())

    def refresh(self) -> dict[str, int]:
        """Bring the index up to what lies on disk and return the names and lengths of the packs there."""
        return self._guarded(self._synchronise)

    def _synchronise(self) -> dict[str, int]:
        if self._indexed() == (present := self.pack_sizes()):
            return present
        with transaction(self._connection):
            # Other processes index what they find, too, so both sides are looked at again while none of them can; the
            # disk last, so that a pack that one of them publishes now is not taken for one that went.
            known = self._indexed()
            present = self.pack_sizes()
            self._delete({name for name, nbytes in known.items() if present.get(name) != nbytes})
            self._insert_packs({name for name, nbytes in present.items() if known.get(name) != nbytes})
        return present

    def _indexed(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT name, nbytes FROM packs"))

    def rebuild(self) -> None:
        """Throw the cache away and read every pack's directory again; others see the old rows or the new ones."""
        self._guarded(self._rebuild)

    def _rebuild(self) -> None:
        with transaction(self._connection):
            _recreate(self._connection)
            self._insert_packs(self.pack_names())

    def _insert_packs(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            with contextlib.suppress(NotFoundError):
                pack = PackReader(self._packs / name)
                entries, damage = survey(pack)
                self._insert(name, pack.nbytes, entries, damaged=damage is not None)

    def add_pack(self, name: str, nbytes: int, entries: Sequence[Entry]) -> None:
        """Index the pack called `name`, which the caller has just written, replacing what was known of that name."""

        def replace() -> None:
            with transaction(self._connection):
                self._delete({name})
                self._insert(name, nbytes, entries, damaged=False)

        self._guarded(replace)

    def _insert(self, name: str, nbytes: int, entries: Sequence[Entry], *, damaged: bool) -> None:
        statement = "INSERT INTO packs (name, nbytes, damaged) VALUES (?, ?, ?)"
        number = self._connection.execute(statement, (name, nbytes, damaged)).lastrowid
        # A database that lost rows may still have others under a number that is given anew.
        self._connection.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((e.id, number, e.offset, e.payload_nbytes, e.head_nbytes, e.depth, e.check) for e in entries),
        )

    def forget(self, names: set[str]) -> None:
        """Drop the rows of packs that are gone."""

        def delete() -> None:
            with transaction(self._connection):
                self._delete(names)

        self._guarded(delete)

    def _delete(self, names: set[str]) -> None:
        if self._connection.executemany("DELETE FROM packs WHERE name = ?", ((name,) for name in names)).rowcount > 0:
            for table in ("objects", "sketches"):
                self._connection.execute(f"DELETE FROM {table} WHERE pack NOT IN (SELECT number FROM packs)")

    def find(self, identity: ObjectId) -> list[tuple[str, Entry]]:
        """Return every place the object lies, as (pack name, entry), the best to read first.

        The shallowest copy comes first, and of those one in a pack with a sound frame.
        """
        return self.find_all([identity])[identity]

    def find_all(self, identities: Sequence[ObjectId]) -> dict[ObjectId, list[tuple[str, Entry]]]:
        """Return for each of many objects what `find` does."""
        found: dict[ObjectId, list[tuple[str, Entry]]] = {identity: [] for identity in identities}
        different = list(found)
        for start in range(0, len(different), IDS_AT_ONCE):
            asked = different[start : start + IDS_AT_ONCE]
            for name, *row in self._rows(_FIND.format(", ".join("?" * len(asked))), *asked):
                if _is_name(name):
                    entry = Entry(*row)
                    found[entry.id].append((name, entry))
        return found

    def known(self, identities: Sequence[ObjectId]) -> set[ObjectId]:
        """Return those of many objects that lie anywhere."""
        found: set[ObjectId] = set()
        for start in range(0, len(identities), IDS_AT_ONCE):
            asked = identities[start : start + IDS_AT_ONCE]
            marks = ", ".join("?" * len(asked))
            query = f"SELECT DISTINCT CAST(id AS BLOB) FROM objects JOIN packs ON pack = number WHERE id IN ({marks})"
            found.update(ObjectId(identity) for (identity,) in self._rows(query, *asked))
        return found

    def read_sketches(self) -> None:
        """Enter the sketches of packs whose heads have not been read for them yet: only who searches pays for that."""

        def enter() -> None:
            unread = "SELECT number, name FROM packs WHERE NOT sketched LIMIT ?"
            # Some at a time, so that no other process waits for long.
            while self._connection.execute(unread, (1,)).fetchone():
                with transaction(self._connection):
                    for number, name in self._connection.execute(unread, (_PACKS_AT_ONCE,)).fetchall():
                        self._insert_sketches(number, name)

        self._guarded(enter)

    def _insert_sketches(self, number: int, name: str) -> None:
        with contextlib.suppress(NotFoundError):
            self._connection.executemany(
                "INSERT OR REPLACE INTO sketches VALUES (?, ?, ?, ?, ?)",
                ((kind, number, *row) for kind, *row in _sketches_in(PackReader(self._packs / name))),
            )
        self._connection.execute("UPDATE packs SET sketched = 1 WHERE number = ?", (number,))

    def sketches(self, kind: int) -> Iterator[tuple[ObjectId, tuple[int, ...]]]:
        """Yield objects of a size class with the numbers of their sketches, those of the newest packs first.

        What `read_sketches` has entered is all there is. Nothing is checked: an id may be of no object.
        """
        for place in self._rows("SELECT pack, part FROM sketches WHERE class = ? ORDER BY pack DESC, part", kind):
            query = (
                "SELECT CAST(ids AS BLOB), CAST(sketches AS BLOB) FROM sketches WHERE (class, pack, part) = (?, ?, ?)"
            )
            for ids, sketches in self._rows(query, kind, *place):
                whole = len(sketches) // SKETCH.size * SKETCH.size
                starts = range(0, len(ids), ID_NBYTES)
                for start, numbers in zip(starts, SKETCH.iter_unpack(sketches[:whole]), strict=False):
                    yield ObjectId(ids[start : start + ID_NBYTES]), numbers

    def count(self) -> int:
        """Return how many different objects are stored."""
        total: int = self._rows("SELECT COUNT(DISTINCT id) FROM objects")[0][0]
        return total

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._guarded(lambda: self._connection.execute(query, values).fetchall())


def _sketches_in(pack: PackReader) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Yield the size class of many objects of a pack, the number of that row, their ids and their sketches."""
    waiting: dict[int, tuple[bytearray, bytearray]] = {}
    parts = itertools.count()
    for entry in survey(pack)[0]:
        if entry.head_nbytes < MIN_HEAD_NBYTES + SKETCH.size:
            continue
        try:
            head = pack.head(entry)
        except IntegrityError:
            continue
        if head.sketch:
            kind = head.size_class
            ids, sketches = waiting.setdefault(kind, (bytearray(), bytearray()))
            ids += head.id
            sketches += head.sketch
            if len(sketches) >= _SKETCHES_A_ROW * SKETCH.size:
                del waiting[kind]
                yield kind, next(parts), bytes(ids), bytes(sketches)
    for kind, (ids, sketches) in waiting.items():
        yield kind, next(parts), bytes(ids), bytes(sketches)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and "/" not in name and "\0" not in name


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _recreate(connection: sqlite3.Connection) -> None:
    for table in ("packs", "objects", "sketches"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.strip().split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _is_broken(exc: Exception) -> bool:
    """Say whether the database file itself is at fault, so that a new one helps."""
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    return code is None or code & 0xFF not in _NOT_THE_FILES_FAULT
