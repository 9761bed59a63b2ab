"""Of several copies of an object, the first is taken whose whole chain is there, falls in depth and is on one grid."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lamella.core.config import StoreConfig
from lamella.core.errors import IntegrityError
from lamella.core.ids import ObjectId, digest
from lamella.store import rollup
from lamella.store.check import check_store
from lamella.store.gc import collect
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackWriter
from lamella.store.record import Head
from lamella.store.writer import add_objects
from lamella.testing.codecs import noise, weights
from lamella.testing.packs import ONE_THREAD, Content, Sample, changed, write_pack
from tests.store.scenarios import BASE, QUIET, STORE, TUNED, add, age, source

NO_GRACE = StoreConfig(threads=1, grace_seconds=0, roll_up_packs=1000)


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    (tmp_path / STORE / "packs").mkdir(parents=True)
    return tmp_path / STORE / "packs"


def read(packs: Path, content: bytes) -> bool:
    with ObjectStore(packs.parent, ONE_THREAD) as store:
        return store.read(digest(content)) == content


def flip(packs: Path, sample: Sample, offset: int) -> None:
    data = bytearray(sample.data)
    data[offset] ^= 1
    (packs / sample.name).write_bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_whose_base_is_missing_is_passed_over(tmp_path, packs, seed):
    base, gone = weights(300, 2, seed), weights(300, 2, seed + 99)
    data = changed(base, 50)
    write_pack(packs, [Content(base, 2)])
    write_pack(packs, [Content(data, 2, base, 1)])
    write_pack(packs, [Content(data, 2, gone, 1)])
    assert read(packs, data)
    age(tmp_path)
    with ObjectStore(packs.parent, NO_GRACE) as store:
        collect(store, lambda: {digest(data)})
        assert store.read(digest(data)) == data


def test_a_base_whose_shallowest_copy_has_a_damaged_head_is_taken_from_another_pack(packs):
    lowest = noise(500, 1)
    base = changed(lowest, 100)
    data = changed(base, 90)
    alone = write_pack(packs, [Content(base)])
    write_pack(packs, [Content(lowest), Content(base, 1, lowest, 1), Content(data, 1, base, 2)])
    flip(packs, alone, alone.entries[0].offset + 30)
    assert read(packs, data)


def test_a_damaged_frame_makes_nothing_unreadable_that_leans_on_the_copy_in_it(packs):
    lowest = noise(500, 1)
    middle = changed(lowest, 100)
    base = changed(middle, 90)
    data = changed(base, 80)
    alone = write_pack(packs, [Content(base)])
    write_pack(packs, [Content(lowest), Content(middle, 1, lowest, 1), Content(base, 1, middle, 2)])
    write_pack(packs, [Content(data, 1, base, 1)])
    flip(packs, alone, -1)
    with ObjectStore(packs.parent, ONE_THREAD) as store:
        assert check_store(store).unreadable == frozenset()
        assert store.read(digest(data)) == data


@pytest.mark.parametrize("seed", range(4))
def test_the_same_bytes_at_two_widths_keep_what_leans_on_either(tmp_path, seed):
    """Both are copies of one object, and neither can take the place of the other below a delta."""
    base = weights(3000, 2, seed)
    data, other = changed(base, 500), changed(base, 700)
    with ObjectStore(tmp_path / STORE, NO_GRACE, create=True) as store:
        add_objects(store, [source(base, 2), source(noise(3000, 91), 1)])
        add_objects(store, [source(data, 2, base)])
        add_objects(store, [source(base, 1), source(noise(3000, 92), 1), source(noise(3000, 93), 1)], anew=True)
    write_pack(tmp_path / STORE / "packs", [Content(other, 1, base, 1, chunk_shift=16)])

    def assert_whole() -> None:
        with ObjectStore(tmp_path / STORE, NO_GRACE) as store:
            assert [store.open(digest(one)).head.depth for one in (data, other)] == [1, 1]
            assert all(store.read(digest(one)) == one for one in (base, data, other))

    assert_whole()
    with ObjectStore(tmp_path / STORE, NO_GRACE) as store, store.lock(exclusive=True):
        assert rollup._merge(store, sorted(store.refresh())) == 3
    assert_whole()
    age(tmp_path)
    with ObjectStore(tmp_path / STORE, NO_GRACE) as store:
        assert collect(store, lambda: {digest(data), digest(other), digest(base)}).dropped_objects == 3
        assert len(store.index.find(digest(base))) == 2
    assert_whole()


def test_copies_of_a_chain_that_is_broken_are_kept_until_its_base_comes(tmp_path, packs):
    base = noise(500, 1)
    data = changed(base, 100)
    whole = write_pack(packs, [Content(base), Content(noise(600, 2))])
    write_pack(packs, [Content(data, 1, base, 1), Content(noise(600, 3))])
    (packs / whole.name).unlink()
    age(tmp_path)
    with ObjectStore(packs.parent, NO_GRACE) as store:
        assert collect(store, lambda: {digest(data)}).dropped_objects == 1
    (packs / whole.name).write_bytes(whole.data)
    assert read(packs, data)


def test_the_reason_why_the_first_copy_does_not_work_is_told(packs):
    base = noise(500, 1)
    data = changed(base, 100)
    write_pack(packs, [Content(base, 2)])
    write_pack(packs, [Content(data, 1, base, 1)])
    with ObjectStore(packs.parent, ONE_THREAD) as store, pytest.raises(IntegrityError) as caught:
        store.open(digest(data))
    assert caught.value.kind == "base-mismatch"


def test_copies_made_to_branch_cost_no_more_than_there_are_of_them(packs):
    """Sixteen levels of ten copies each, and nothing below: to try every path would take 10^16 steps."""
    ids = [digest(bytes([level])) for level in range(17)]
    with PackWriter(packs) as writer:
        for level in range(16):
            for _ in range(10):
                _append_leaning(writer, ids[level], ids[level + 1], 16 - level)
        writer.publish()
    began = time.perf_counter()
    with ObjectStore(packs.parent, ONE_THREAD) as store:
        assert len(check_store(store, decode=False).unreadable) == 16
    assert time.perf_counter() - began < 5


def _append_leaning(writer: PackWriter, identity: ObjectId, base: ObjectId, depth: int) -> None:
    writer.add(Head(identity, base, depth, 1, 6, 1, 0, ()), [(3, b"")])


def test_a_sound_copy_is_found_behind_many_that_are_not(tmp_path):
    add(tmp_path, source(BASE))
    add(tmp_path, source(TUNED, 2, BASE))
    packs = tmp_path / STORE / "packs"
    for seed in range(5):
        write_pack(packs, [Content(TUNED, 2, weights(900, 2, seed + 50), 1, chunk_shift=16)])
    with ObjectStore(tmp_path / STORE, QUIET) as store:
        assert len(list(store.search().chains(digest(TUNED)))) == 1
        assert store.read(digest(TUNED)) == TUNED
