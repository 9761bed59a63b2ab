"""Small packs become one, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.config import StoreConfig
from lamella.core.errors import BackendError
from lamella.core.ids import digest
from lamella.store import rollup
from lamella.store.check import check_store
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackWriter
from lamella.store.rollup import roll_up
from lamella.store.writer import add_objects
from lamella.testing.codecs import noise
from lamella.testing.faults import changes_of
from tests.store.scenarios import BASE, LONG_AGO, MERGING, QUIET, SINGLE, STORE, TUNED, WIDE, add, source

CONTENTS = {BASE, TUNED, SINGLE, WIDE}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add(tmp_path, source(BASE))
    add(tmp_path, source(TUNED, 2, BASE), source(SINGLE, 4))
    add(tmp_path, source(WIDE, 8))
    return tmp_path


def packs(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / STORE / "packs").iterdir()}


def assert_whole(root: Path) -> None:
    with ObjectStore(root / STORE, QUIET) as store:
        assert all(store.read(digest(content)) == content for content in CONTENTS)
        checked = check_store(store)
        assert (checked.damage, checked.unreadable) == ((), frozenset())


def test_many_packs_become_one(root):
    with ObjectStore(root / STORE, MERGING) as store:
        assert roll_up(store) == 2
        assert store.index.count() == 4
    assert len(packs(root)) == 1
    assert_whole(root)


def test_few_packs_are_left_as_they_are(root):
    before = packs(root)
    with ObjectStore(root / STORE, QUIET) as store:
        assert roll_up(store) == 0
    assert packs(root) == before


def test_adding_rolls_up_when_there_are_many(tmp_path):
    config = StoreConfig(threads=1, roll_up_packs=5)
    contents = [noise(100 + number, number) for number in range(40)]
    with ObjectStore(tmp_path / STORE, config, create=True) as store:
        for number, data in enumerate(contents):
            add_objects(store, [source(data, 1)])
            assert len(packs(tmp_path)) <= 5
            assert store.read(digest(contents[number // 2])) == contents[number // 2]
        assert all(store.read(digest(data)) == data for data in contents)


def test_a_merged_pack_is_as_old_as_its_youngest_part(root):
    for number, path in enumerate(sorted((root / STORE / "packs").iterdir())):
        os.utime(path, (LONG_AGO + number, LONG_AGO + number))
    with ObjectStore(root / STORE, MERGING) as store:
        roll_up(store)
        (name,) = store.index.pack_names()
        assert store.modified(name) == LONG_AGO + 2


def test_nothing_happens_while_somebody_writes(root):
    with ObjectStore(root / STORE, MERGING) as store, ObjectStore(root / STORE, QUIET) as writer:
        with writer.lock(exclusive=False):
            assert roll_up(store) == 0
        assert roll_up(store) == 2


def test_a_damaged_pack_is_left_as_it_is(root):
    with ObjectStore(root / STORE, QUIET) as store:
        ((name, entry),) = store.index.find(digest(WIDE))
    path = root / STORE / "packs" / name
    data = bytearray(path.read_bytes())
    data[entry.offset + entry.nbytes - 1] ^= 1
    path.write_bytes(data)
    with ObjectStore(root / STORE, MERGING) as store:
        assert roll_up(store) == 1
    assert packs(root)[name] == data
    assert len(packs(root)) == 2


def test_a_pack_without_a_directory_is_left_as_it_is(root):
    path = min((root / STORE / "packs").iterdir())
    path.write_bytes(path.read_bytes()[:-5])
    with ObjectStore(root / STORE, MERGING) as store:
        assert roll_up(store) == 1
    assert path.exists()


def test_a_fault_of_merging_does_not_undo_what_was_added(root, monkeypatch):
    def fail(*args: object) -> None:
        raise BackendError("no space left", kind="no-space")

    monkeypatch.setattr(PackWriter, "copy", fail)
    with ObjectStore(root / STORE, MERGING) as store:
        add_objects(store, [source(b"acknowledged", 1)])
        assert store.read(digest(b"acknowledged")) == b"acknowledged"
    assert len(packs(root)) == 4


def test_packs_of_equal_content_are_merged_and_nothing_is_lost(root):
    with ObjectStore(root / STORE, QUIET) as store:
        add_objects(store, [source(BASE), source(WIDE, 8)], anew=True)
    with ObjectStore(root / STORE, MERGING) as store:
        while roll_up(store):
            pass
    assert_whole(root)


def test_a_large_pack_is_not_copied(tmp_path, monkeypatch):
    for seed in range(4):
        add(tmp_path, source(noise(1000, seed), 1))
    add(tmp_path, source(noise(2000, 4), 1))
    before = packs(tmp_path)
    monkeypatch.setattr(rollup, "SMALL_NBYTES", 2000)
    with ObjectStore(tmp_path / STORE, MERGING) as store:
        assert roll_up(store) == 3
        assert roll_up(store) == 0
    (kept,) = before.keys() & packs(tmp_path).keys()
    assert len(before[kept]) > 2000


def test_no_more_is_copied_at_once_than_is_felt(tmp_path, monkeypatch):
    for seed in range(12):
        add(tmp_path, source(noise(1000, seed), 1))
    monkeypatch.setattr(rollup, "MERGED_NBYTES", 5500)
    with ObjectStore(tmp_path / STORE, MERGING) as store:
        assert roll_up(store) == 3
        assert max(store.pack_sizes().values()) < 5500
        assert all(store.read(digest(noise(1000, seed))) == noise(1000, seed) for seed in range(12))


def test_large_packs_alone_are_not_many(tmp_path, monkeypatch):
    for seed in range(6):
        add(tmp_path, source(noise(1000, seed), 1))
    monkeypatch.setattr(rollup, "SMALL_NBYTES", 500)
    with ObjectStore(tmp_path / STORE, MERGING) as store, store.lock(exclusive=False):
        assert changes_of(lambda: roll_up(store)) == []


@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_what_stays_is_in_geometric_progression(lengths):
    sizes = {f"{number:03}.pack": nbytes for number, nbytes in enumerate(lengths)}
    chosen = rollup._progression(sizes)
    assert len(chosen) != 1
    merged = sum(sizes[name] for name in chosen)
    kept = sorted(nbytes for name, nbytes in sizes.items() if name not in chosen)
    smaller = merged
    for nbytes in kept:
        assert nbytes >= smaller
        smaller += nbytes
    assert all(sizes[name] <= nbytes for name in chosen for nbytes in kept)
