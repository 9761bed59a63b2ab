"""The index: object to pack and offset, a cache in SQLite that is rebuilt from the packs whenever it disagrees.

No fact lives here alone, so every fault of the database ends in a rebuild, and a store that cannot be written is
indexed in memory. TRUNCATE journalling, not WAL: SQLite before 3.51.3 can corrupt a WAL that several processes share.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from lamella.core import fsio
from lamella.core.errors import IntegrityError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.store.pack import SUFFIX, Entry, PackReader

Result = TypeVar("Result")
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE packs (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, damaged INTEGER NOT NULL);
CREATE TABLE objects (
    id BLOB NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL, payload INTEGER NOT NULL,
    head INTEGER NOT NULL, depth INTEGER NOT NULL, verification BLOB NOT NULL, PRIMARY KEY (id, pack, offset)
) WITHOUT ROWID;
"""
_SELECT = "SELECT name, id, offset, payload, head, depth, verification FROM objects JOIN packs ON pack = number"


class Index:
    """Finds objects. Safe for several threads and several processes."""

    def __init__(self, database: Path, packs: Path) -> None:
        self._database = database
        self._packs = packs
        self._mutex = threading.RLock()
        self._connection = self._open()
        self.refresh()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect(str(self._database))
        except sqlite3.DatabaseError:
            pass
        try:
            # A cache that cannot be read or written is dropped; one that cannot be dropped is done without.
            fsio.remove(self._database)
            return self._connect(str(self._database))
        except (sqlite3.DatabaseError, OSError):
            return self._connect(":memory:")

    def _connect(self, location: str) -> sqlite3.Connection:
        connection = sqlite3.connect(location, timeout=60, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=TRUNCATE")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                self._recreate(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _recreate(self, connection: sqlite3.Connection) -> None:
        for table in ("packs", "objects"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _SCHEMA.strip().split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mutex:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def pack_names(self) -> set[str]:
        """Return the names of the packs on disk, indexed or not."""
        with fsio.translated(self._packs):
            return {path.name for path in self._packs.iterdir() if path.name.endswith(SUFFIX)}

    def _known(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT name, number FROM packs").fetchall())

    def _guarded(self, action: Callable[[], Result]) -> Result:
        """Run `action`; where the database fails, start a new one from the packs and run it again."""
        with self._mutex:
            try:
                return action()
            except sqlite3.DatabaseError:
                self._connection.close()
                with contextlib.suppress(OSError):
                    fsio.remove(self._database)
                self._connection = self._open()
            try:
                self._refresh()
                return action()
            except sqlite3.DatabaseError:
                self._connection.close()
                self._connection = self._connect(":memory:")
                self._refresh()
                return action()

    def refresh(self) -> bool:
        """Bring the index up to what lies on disk and say whether anything changed."""
        return self._guarded(self._refresh)

    def _refresh(self) -> bool:
        present, known = self.pack_names(), self._known()
        if present == known.keys():
            return False
        for name in sorted(present - known.keys()):
            with contextlib.suppress(NotFoundError):
                self.add_pack(name)
        self.forget(known.keys() - present)
        return True

    def rebuild(self) -> None:
        """Throw the cache away and read every pack's directory again."""
        self._guarded(self._clear)
        self.refresh()

    def _clear(self) -> None:
        with self._transaction() as connection:
            self._recreate(connection)

    def add_pack(self, name: str, entries: Iterable[Entry] | None = None) -> None:
        """Index the pack called `name`, from `entries` where the caller has just written it."""
        damaged = False
        if entries is None:
            reader = PackReader(self._packs / name)
            try:
                entries = reader.entries()
            except IntegrityError:
                entries, damaged = list(reader.scan()), True
        rows = [(e.id, e.offset, e.payload_nbytes, e.head_nbytes, e.depth, e.check) for e in entries]
        self._guarded(lambda: self._insert(name, damaged, rows))

    def _insert(self, name: str, damaged: bool, rows: list[tuple[ObjectId, int, int, int, int, bytes]]) -> None:
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO packs (name, damaged) VALUES (?, ?)", (name, damaged))
            number = connection.execute("SELECT number FROM packs WHERE name = ?", (name,)).fetchone()[0]
            connection.executemany(
                "INSERT OR IGNORE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((identity, number, *rest) for identity, *rest in rows),
            )

    def forget(self, names: Iterable[str]) -> None:
        """Drop the rows of packs that are gone."""
        rows = [(name,) for name in names]
        if rows:
            self._guarded(lambda: self._delete(rows))

    def _delete(self, rows: list[tuple[str]]) -> None:
        with self._transaction() as connection:
            connection.executemany("DELETE FROM objects WHERE pack = (SELECT number FROM packs WHERE name = ?)", rows)
            connection.executemany("DELETE FROM packs WHERE name = ?", rows)

    def find(self, identity: ObjectId) -> list[tuple[str, Entry]]:
        """Return every place the object lies, as (pack name, entry), the best to read first.

        The shallowest copy comes first: since a writer leans on a copy shallower than what it writes, depth falls
        along every chain of first copies, and no two copies can lean on each other in a circle.
        """
        query = f"{_SELECT} WHERE id = ? ORDER BY damaged, depth, pack"
        return [(name, Entry(ObjectId(row[0]), *row[1:])) for name, *row in self._rows(query, identity)]

    def entries_of(self, name: str) -> list[Entry]:
        """Return the indexed entries of one pack in file order."""
        query = f"{_SELECT} WHERE name = ? ORDER BY offset"
        return [Entry(ObjectId(row[0]), *row[1:]) for _, *row in self._rows(query, name)]

    def count(self) -> int:
        """Return how many different objects are stored."""
        total: int = self._rows("SELECT COUNT(DISTINCT id) FROM objects")[0][0]
        return total

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._guarded(lambda: self._connection.execute(query, values).fetchall())
