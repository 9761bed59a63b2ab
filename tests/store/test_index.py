"""The index is a cache: whatever happens to it, the store behaves as if it had been built from the packs just now."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.core.errors import FormatError
from lamella.core.ids import check, digest
from lamella.store import index as indexing
from lamella.store.index import IDS_AT_ONCE, SCHEMA_VERSION, Index
from lamella.store.objects import ObjectStore
from lamella.store.pack import HEADER, MAGIC
from lamella.store.writer import add_objects
from lamella.testing.packs import ONE_THREAD, Content, Sample, one_of_everything, write_pack
from tests.store.scenarios import BASE, QUIET, SINGLE, STORE, TUNED, add, source


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    return tmp_path


@pytest.fixture
def samples(directory: Path) -> list[Sample]:
    return [write_pack(directory / "packs", one_of_everything(seed)) for seed in (0, 10)]


@pytest.fixture
def index(directory: Path, samples: list[Sample]) -> Index:
    return open_index(directory)


def open_index(directory: Path) -> Index:
    return Index(directory / "index.db", directory / "packs")


def lists_everything(index: Index, samples: list[Sample]) -> bool:
    return all(
        (sample.name, entry) in index.find(entry.id) for sample in samples for entry in sample.entries
    ) and index.count() == sum(len(sample.contents) for sample in samples)


def test_every_object_is_found_where_it_lies(index, samples):
    assert lists_everything(index, samples)
    assert index.find(digest(b"unknown")) == []
    assert index.pack_names() == {sample.name for sample in samples}


def test_many_objects_are_found_as_each_is(index, samples):
    ids = [entry.id for sample in samples for entry in sample.entries] + [digest(b"unknown")]
    ids *= 1 + IDS_AT_ONCE // len(ids)
    assert index.find_all(ids) == {identity: index.find(identity) for identity in ids}
    assert index.find_all([]) == {}


def test_a_second_process_sees_the_same(index, samples, directory):
    assert lists_everything(open_index(directory), samples)


def test_copies_come_shallowest_first_and_of_those_in_damaged_packs_last(directory):
    data, base = b"x" * 100, b"x" * 99 + b"y"
    deep = write_pack(directory / "packs", [Content(data, 1, base, 1), Content(base)])
    flat = write_pack(directory / "packs", [Content(data)])
    hurt = write_pack(directory / "packs", [Content(data), Content(b"other")])
    (directory / "packs" / hurt.name).write_bytes(hurt.data[:-1])
    places = open_index(directory).find(digest(data))
    assert [(name, entry.depth) for name, entry in places] == [(flat.name, 0), (hurt.name, 0), (deep.name, 1)]


def test_packs_that_come_and_go_are_noticed(index, samples, directory):
    third = write_pack(directory / "packs", [Content(b"third")])
    assert index.find(digest(b"third")) == []
    assert index.refresh() == {sample.name: len(sample.data) for sample in (*samples, third)}
    assert [name for name, _ in index.find(digest(b"third"))] == [third.name]
    (directory / "packs" / samples[0].name).unlink()
    index.refresh()
    assert lists_everything(index, [samples[1], third])


def test_what_is_no_pack_is_passed_over(index, samples, directory):
    (directory / "packs" / "directory.pack").mkdir()
    (directory / "packs" / ".lamella-tmp-0000").write_bytes(b"")
    (directory / "packs" / "broken.pack").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(directory / "packs") + b"/\xff.pack")).write_bytes(b"")
    assert set(index.refresh()) == {sample.name for sample in samples}


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def replace_by(data: bytes) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.write_bytes(data)

    return spoil


def run(*statements: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return spoil


SPOILERS = {
    "deleted": Path.unlink,
    "empty": replace_by(b""),
    "truncated": truncate,
    "garbage": replace_by(random.Random(1).randbytes(20_000)),
    "text": replace_by(b"this is not a database\n" * 1000),
    "header-only": replace_by(b"SQLite format 3\0"),
    "older-schema": run("PRAGMA user_version = 0", "DROP TABLE objects", "CREATE TABLE objects (x)"),
    "newer-schema": run(f"PRAGMA user_version = {SCHEMA_VERSION + 1}", "ALTER TABLE objects ADD COLUMN more"),
    "no-tables": run("DROP TABLE objects", "DROP TABLE packs"),
    "views": run("DROP TABLE packs", "CREATE VIEW packs AS SELECT 1 AS number", "PRAGMA user_version = 0"),
    "other-columns": run("DROP TABLE objects", "CREATE TABLE objects (id, pack)"),
    "no-rows": run("DELETE FROM objects", "DELETE FROM packs"),
    "no-packs": run("DELETE FROM packs"),
    "phantom-packs": run("INSERT INTO packs (name, nbytes, damaged) VALUES ('gone.pack', 5, 0)"),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_a_spoilt_database_is_replaced_when_it_is_opened(index, samples, directory, spoil):
    index.close()
    spoil(directory / "index.db")
    assert lists_everything(open_index(directory), samples)


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_a_database_spoilt_while_it_is_open_does_no_harm(index, samples, directory, spoil):
    spoil(directory / "index.db")
    third = write_pack(directory / "packs", [Content(b"third")])
    index.refresh()
    assert [name for name, _ in index.find(digest(b"third"))] == [third.name]
    assert lists_everything(index, [*samples, third])
    assert lists_everything(open_index(directory), [*samples, third])


def test_rows_that_vanished_are_found_by_rebuilding(index, samples, directory):
    run("DELETE FROM objects")(directory / "index.db")
    assert not lists_everything(index, samples)
    index.rebuild()
    assert lists_everything(index, samples)


def test_values_of_a_wrong_type_become_numbers_that_readers_check(index, samples, directory):
    run("UPDATE objects SET offset = 'far', payload = 1.5, head = x'00', verification = 7")(directory / "index.db")
    ((_, entry),) = index.find(samples[0].entries[0].id)
    assert (entry.offset, entry.payload_nbytes, entry.head_nbytes, entry.check) == (0, 1, 0, b"7")


@pytest.mark.parametrize("share", range(2))
def test_a_flipped_bit_of_the_database_never_costs_an_object(tmp_path, share):
    add(tmp_path, source(BASE))
    add(tmp_path, source(TUNED, 2, BASE), source(SINGLE, 4))
    path = tmp_path / STORE / "index.db"
    sound = path.read_bytes()
    for offset in range(share, len(sound), 67):
        data = bytearray(sound)
        data[offset] ^= 1 << offset % 8
        path.write_bytes(data)
        with ObjectStore(tmp_path / STORE, ONE_THREAD) as store:
            for content in (BASE, TUNED, SINGLE):
                assert store.read(digest(content)) == content


def test_a_directory_that_cannot_be_written_is_indexed_in_memory(samples, directory, monkeypatch):
    (directory / "index.db").mkdir()
    index = open_index(directory)
    assert lists_everything(index, samples)
    third = write_pack(directory / "packs", [Content(b"third")])
    index.refresh()
    assert lists_everything(index, [*samples, third])
    index.rebuild()
    assert lists_everything(index, [*samples, third])


def test_a_database_that_may_only_be_read_is_used_and_not_removed(samples, directory, monkeypatch):
    open_index(directory).close()
    before = (directory / "index.db").read_bytes()
    read_only(monkeypatch)
    index = open_index(directory)
    assert lists_everything(index, samples)
    third = write_pack(directory / "packs", [Content(b"third")])
    index.refresh()
    assert lists_everything(index, [*samples, third])
    assert (directory / "index.db").read_bytes() == before


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open every database file as a process does that has no right to write it, which root always has."""
    connect = sqlite3.connect

    def restricted(location: str, **options: object) -> sqlite3.Connection:
        if location != ":memory:":
            location = f"file:{location}?mode=ro"
        return connect(location, uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", restricted)


def test_a_full_disk_sends_the_index_to_memory(samples, directory, monkeypatch):
    connect = sqlite3.connect

    def small(location: str, **options: object) -> sqlite3.Connection:
        connection = connect(location, **options)
        if location != ":memory:":
            connection.execute("PRAGMA max_page_count = 6")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    more = [write_pack(directory / "packs", one_of_everything(seed)) for seed in range(20, 120, 10)]
    index = open_index(directory)
    assert lists_everything(index, [*samples, *more])
    last = write_pack(directory / "packs", one_of_everything(130))
    index.add_pack(last.name, len(last.data), last.entries)
    assert lists_everything(index, [*samples, *more, last])


def test_a_database_that_another_process_holds_is_neither_removed_nor_waited_for_without_end(
    index, samples, directory, monkeypatch
):
    monkeypatch.setattr(indexing, "BUSY_SECONDS", 0.05)
    impatient = open_index(directory)
    holder = sqlite3.connect(directory / "index.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    third = write_pack(directory / "packs", [Content(b"third")])
    impatient.refresh()
    assert lists_everything(impatient, [*samples, third])
    assert lists_everything(open_index(directory), [*samples, third])
    holder.execute("COMMIT")
    holder.close()
    assert lists_everything(open_index(directory), [*samples, third])
    assert index.find(digest(b"third"))


def test_an_interrupted_transaction_changes_nothing(index, samples, directory, monkeypatch):
    insert = Index._insert

    def interrupted(*args: object, **options: object) -> None:
        insert(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Index, "_insert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.add_pack("half.pack", 99, samples[0].entries)
    monkeypatch.undo()
    assert lists_everything(index, samples)
    assert lists_everything(open_index(directory), samples)


def test_a_pack_that_took_the_place_of_a_damaged_one_is_indexed_anew(directory):
    sample = write_pack(directory / "packs", one_of_everything())
    (directory / "packs" / sample.name).write_bytes(sample.data[:100])
    index = open_index(directory)
    assert index.count() == 0
    (directory / "packs" / sample.name).write_bytes(sample.data)
    index.add_pack(sample.name, len(sample.data), sample.entries)
    assert lists_everything(index, [sample])


def test_a_pack_that_was_copied_in_part_is_indexed_anew_once_it_is_whole(directory):
    sample = write_pack(directory / "packs", one_of_everything())
    path = directory / "packs" / sample.name
    path.write_bytes(sample.data[:600])
    index = open_index(directory)
    assert index.count() < len(sample.contents)
    path.write_bytes(sample.data)
    index.refresh()
    assert lists_everything(index, [sample])
    index.close()
    path.write_bytes(sample.data[:600])
    open_index(directory).close()
    path.write_bytes(sample.data)
    assert lists_everything(open_index(directory), [sample])


def test_processes_that_index_the_same_pack_at_once_do_not_remove_the_database(index, samples, directory, monkeypatch):
    third = write_pack(directory / "packs", [Content(b"third")])
    look = Index.pack_sizes

    def look_while_another_is_faster(self: Index) -> dict[str, int]:
        monkeypatch.undo()
        open_index(directory).close()
        return look(self)

    inode = (directory / "index.db").stat().st_ino
    monkeypatch.setattr(Index, "pack_sizes", look_while_another_is_faster)
    index.refresh()
    assert lists_everything(index, [*samples, third])
    assert (directory / "index.db").stat().st_ino == inode
    assert lists_everything(open_index(directory), [*samples, third])


def test_rows_that_contradict_each_other_do_not_remove_the_database(index, samples, directory, monkeypatch):
    insert = Index._insert
    inode = (directory / "index.db").stat().st_ino

    def twice(self: Index, *args: object, **options: object) -> None:
        insert(self, *args, **options)
        if self._connection.execute("PRAGMA database_list").fetchone()[2]:
            insert(self, *args, **options)

    monkeypatch.setattr(Index, "_insert", twice)
    index.rebuild()
    assert lists_everything(index, samples)
    assert (directory / "index.db").stat().st_ino == inode


def test_a_pack_of_a_newer_version_is_refused_and_nothing_stays_open(samples, directory):
    body = HEADER.pack(MAGIC, 2, 0, bytes(4))[:-4]
    newer = directory / "packs" / f"{'1' * 40}.pack"
    newer.write_bytes(body + check(body, 4) + b"something else")
    with pytest.raises(FormatError) as caught:
        open_index(directory)
    assert caught.value.kind == "pack-version"
    newer.unlink()
    assert lists_everything(open_index(directory), samples)


def test_a_closed_index_stays_closed(index, directory):
    index.close()
    with pytest.raises(sqlite3.ProgrammingError):
        index.find(digest(b"x"))
    assert (directory / "index.db").exists()


def test_threads_share_an_index(index, samples, directory):
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for round_ in range(15):
                sample = write_pack(directory / "packs", [Content(b"%d-%d" % (seed, round_))])
                index.add_pack(sample.name, len(sample.data), sample.entries)
                index.refresh()
                assert index.find(sample.entries[0].id)
                assert lists_nothing_twice(index)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert index.count() == 60 + sum(len(sample.contents) for sample in samples)


def lists_nothing_twice(index: Index) -> bool:
    places = index.find(digest(b"0-0"))
    return len(places) == len(set(places))


def test_adding_to_a_store_whose_index_is_spoilt_loses_nothing(tmp_path):
    for spoil in SPOILERS.values():
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        root.mkdir()
        add(root, source(BASE))
        spoil(root / STORE / "index.db")
        with ObjectStore(root / STORE, QUIET) as store:
            add_objects(store, [source(TUNED, 2, BASE), source(BASE)])
            assert store.read(digest(TUNED)) == TUNED
        with ObjectStore(root / STORE, QUIET) as store:
            assert store.read(digest(TUNED)) == TUNED
            assert store.read(digest(BASE)) == BASE
