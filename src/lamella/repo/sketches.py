"""The sketches of what is stored, kept beside the store so that nobody reads weights twice to compare them.

A cache: nothing is lost with it, so every fault of the database ends in a sketch that is made anew, and at worst in
a new database. Nothing that stands here is believed to be more than a hint.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from lamella.core import fsio
from lamella.core.database import transaction
from lamella.core.errors import LamellaError
from lamella.core.ids import ObjectId
from lamella.core.limits import KIB, MIB
from lamella.core.tensors import TensorSpec
from lamella.formats.base import RandomAccess, TensorSpan
from lamella.model.sketch import SKETCH_NBYTES, take_sketch

Key = tuple[ObjectId, str]
"""An object and the name of the dtype that it is read with."""
Result = TypeVar("Result")

NAME = "sketches.db"
LEAST_NBYTES = 16 * KIB
"""A smaller tensor is read as fast as its sketch."""
MOST_SKETCHES = 1 << 18
"""Sketches that are kept, 256 MiB of them; the oldest make room."""

EAGER_NBYTES = 256 * MIB
"""Of so much that is new, sketches are taken as it is added, and so not read again. With less, NumPy's start would be a
good part of the work, and reading it again is none; whoever compares first takes them then."""

_VERSION = 1
_BUSY_SECONDS = 5
_AT_ONCE = 400
_KEPT_AT_ONCE = 4096
_CHECK_NBYTES = 8
_SCHEMA = """
CREATE TABLE sketches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL, dtype TEXT NOT NULL, sketch BLOB NOT NULL,
    UNIQUE (id, dtype)
)
"""


def is_kept(spec: TensorSpec) -> bool:
    """Say whether the sketch of a tensor is worth keeping."""
    return spec.nbytes >= LEAST_NBYTES


def keep_sketches(directory: Path, file: RandomAccess, tensors: Iterable[tuple[TensorSpan, ObjectId]]) -> None:
    """Take the sketches of tensors of a file that are not kept yet, and keep them in the `directory` of a store."""
    cache = SketchCache(directory)
    spans = {(identity, span.spec.dtype.name): span for span, identity in tensors if is_kept(span.spec)}
    keys = list(spans)
    for start in range(0, len(keys), _KEPT_AT_ONCE):
        some = keys[start : start + _KEPT_AT_ONCE]
        known = cache.find(some)
        cache.keep({key: _taken(file, spans[key]) for key in some if key not in known})


def _taken(file: RandomAccess, span: TensorSpan) -> bytes:
    sketch = take_sketch(span.spec, lambda start, stop: file.read_at(span.offset + start, stop - start))
    return sketch.astype("<f4").tobytes()


class SketchCache:
    """Keeps sketches in the folder of a store. Safe for several processes; each call opens the database anew."""

    def __init__(self, directory: Path) -> None:
        self._database = directory / NAME

    def find(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """Return the sketches that are kept, each of 1 KiB."""
        if not keys or not self._database.exists():
            return {}
        return self._guarded(lambda connection: dict(_rows(connection, keys)), {})

    def keep(self, sketches: Mapping[Key, bytes]) -> None:
        """Keep sketches, as long as there is room; the oldest make it."""
        if sketches:
            self._guarded(lambda connection: _insert(connection, sketches), None)

    def drop(self, gone: Callable[[Sequence[ObjectId]], Iterable[ObjectId]]) -> int:
        """Drop the sketches of objects that are `gone`, which is asked of some at a time; return how many."""
        if not self._database.exists():
            return 0
        return self._guarded(lambda connection: _delete(connection, gone), 0)

    def _guarded(self, action: Callable[[sqlite3.Connection], Result], otherwise: Result) -> Result:
        """Return what `action` does; where the database fails, `otherwise`, and remove one that is damaged."""
        try:
            with contextlib.closing(self._connect()) as connection:
                return action(connection)
        except sqlite3.OperationalError:
            return otherwise  # in use, or not to be written, by this user or just now
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            with contextlib.suppress(LamellaError, OSError):
                fsio.remove(self._database)
            return otherwise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(os.fspath(self._database), timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=TRUNCATE")
            connection.execute("PRAGMA synchronous=NORMAL")
            if _version(connection) != _VERSION:
                with transaction(connection):
                    if _version(connection) != _VERSION:
                        connection.execute("DROP TABLE IF EXISTS sketches")
                        connection.execute(_SCHEMA)
                        connection.execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _rows(connection: sqlite3.Connection, keys: Sequence[Key]) -> Iterator[tuple[Key, bytes]]:
    wanted = set(keys)
    for start in range(0, len(keys), _AT_ONCE):
        asked = [identity for identity, _ in keys[start : start + _AT_ONCE]]
        marks = ", ".join("?" * len(asked))
        query = f"SELECT CAST(id AS BLOB), dtype, CAST(sketch AS BLOB) FROM sketches WHERE id IN ({marks})"
        for identity, dtype, sealed in connection.execute(query, asked):
            key, sketch = (ObjectId(identity), dtype), sealed[:SKETCH_NBYTES]
            if key in wanted and sealed == _sealed(key, sketch):
                yield key, sketch


def _sealed(key: Key, sketch: bytes) -> bytes:
    """Return a sketch with a check behind it: SQLite has none of its own, and reads on in a file that was cut."""
    identity, dtype = key
    return sketch + blake3(identity + dtype.encode() + sketch).digest(length=_CHECK_NBYTES)


def _insert(connection: sqlite3.Connection, sketches: Mapping[Key, bytes]) -> None:
    with transaction(connection):
        connection.executemany(
            "INSERT OR IGNORE INTO sketches (id, dtype, sketch) VALUES (?, ?, ?)",
            ((*key, _sealed(key, sketch)) for key, sketch in sketches.items()),
        )
        connection.execute(
            "DELETE FROM sketches WHERE number <= (SELECT MAX(number) FROM sketches) - ?", (MOST_SKETCHES,)
        )


def _delete(connection: sqlite3.Connection, gone: Callable[[Sequence[ObjectId]], Iterable[ObjectId]]) -> int:
    listed = connection.execute("SELECT DISTINCT CAST(id AS BLOB) FROM sketches").fetchall()
    dropped = [(identity,) for identity in gone([ObjectId(identity) for (identity,) in listed])]
    with transaction(connection):
        connection.executemany("DELETE FROM sketches WHERE id = ?", dropped)
    return len(dropped)
