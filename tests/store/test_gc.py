"""What nothing reaches goes, what anything needs stays, and damage stops it all."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.core import fsio
from lamella.core.config import StoreConfig
from lamella.core.errors import ConflictError, IntegrityError
from lamella.core.ids import ObjectId, digest
from lamella.store.check import check_store
from lamella.store.gc import Collected, collect
from lamella.store.objects import ObjectStore
from lamella.store.writer import add_objects
from lamella.testing.codecs import noise
from lamella.testing.packs import Content, changed, write_pack
from tests.store.scenarios import BASE, LONG_AGO, QUIET, SINGLE, STORE, TUNED, WIDE, add, age, source

GRACE = StoreConfig(threads=1, grace_seconds=3600, roll_up_packs=1000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add(tmp_path, source(BASE))
    add(tmp_path, source(TUNED, 2, BASE), source(SINGLE, 4))
    add(tmp_path, source(WIDE, 8))
    age(tmp_path)
    return tmp_path


def collected(root: Path, *kept: bytes, dry_run: bool = False, config: StoreConfig = GRACE) -> Collected:
    with ObjectStore(root / STORE, config) as store:
        return collect(store, lambda: {digest(data) for data in kept}, dry_run=dry_run)


def stored(root: Path) -> set[bytes]:
    with ObjectStore(root / STORE, QUIET) as store:
        checked = check_store(store)
        assert (checked.damage, checked.unreadable) == ((), frozenset())
        return {data for data in (BASE, TUNED, SINGLE, WIDE) if store.contains(digest(data))}


def packs(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / STORE / "packs").iterdir()}


def spoil(root: Path, content: bytes, at: int = -1) -> None:
    """Flip a bit of the record of `content`: of its payload's last byte, or of another of its bytes."""
    with ObjectStore(root / STORE, QUIET) as store:
        name, entry = store.index.find(digest(content))[0]
    path = root / STORE / "packs" / name
    data = bytearray(path.read_bytes())
    data[entry.offset + (at if at >= 0 else entry.nbytes + at)] ^= 1
    path.write_bytes(data)
    age(root)


def test_what_is_kept_stays_and_the_rest_goes(root):
    report = collected(root, SINGLE, BASE)
    assert stored(root) == {BASE, SINGLE}
    assert (report.kept_objects, report.dropped_objects, report.in_grace_objects) == (2, 2, 0)
    assert report.freed_nbytes > 0


def test_a_base_stays_as_long_as_something_leans_on_it(root):
    report = collected(root, TUNED)
    assert stored(root) == {BASE, TUNED}
    assert report.in_grace_objects == 0
    collected(root)
    assert stored(root) == set()
    assert packs(root) == {}


def test_a_dry_run_changes_nothing_and_says_the_same(root):
    before = packs(root)
    foreseen = collected(root, TUNED, dry_run=True)
    assert packs(root) == before
    assert collected(root, TUNED) == foreseen


def test_what_is_younger_than_the_grace_period_stays_with_its_bases(root):
    for path in (root / STORE / "packs").iterdir():
        with ObjectStore(root / STORE, QUIET) as store:
            if path.name == store.index.find(digest(TUNED))[0][0]:
                os.utime(path, (time.time() - 3000,) * 2)
    report = collected(root)
    assert stored(root) == {BASE, TUNED, SINGLE}
    assert report.in_grace_objects == 3
    assert report.dropped_objects == 1


def test_what_a_writer_was_told_is_stored_is_in_grace_again(root):
    with ObjectStore(root / STORE, QUIET) as store:
        add_objects(store, [source(TUNED)])
    collected(root)
    assert {BASE, TUNED} <= stored(root)


def test_a_rewritten_pack_keeps_its_age(root):
    collected(root, SINGLE)
    (path,) = (root / STORE / "packs").iterdir()
    assert path.stat().st_mtime == LONG_AGO


def test_a_pack_with_little_dead_weight_is_not_rewritten(tmp_path):
    with ObjectStore(tmp_path / STORE, GRACE, create=True) as store:
        add_objects(store, [source(noise(5000, 1), 1), source(b"x", 1)])
    age(tmp_path)
    before = packs(tmp_path)
    report = collected(tmp_path, noise(5000, 1))
    assert packs(tmp_path) == before
    assert report.dropped_objects == 0


def test_of_two_copies_one_stays(root):
    with ObjectStore(root / STORE, QUIET) as store:
        add_objects(store, [source(BASE), source(WIDE, 8), source(b"more", 1)], anew=True)
    age(root)
    report = collected(root, BASE, TUNED, SINGLE, WIDE, b"more")
    assert report.kept_objects == 5
    with ObjectStore(root / STORE, QUIET) as store:
        assert [len(store.index.find(digest(data))) for data in (BASE, TUNED, SINGLE, WIDE, b"more")] == [1] * 5
    assert stored(root) == {BASE, TUNED, SINGLE, WIDE}


def test_a_sound_copy_is_not_dropped_in_favour_of_a_damaged_one(tmp_path):
    store_packs = tmp_path / STORE / "packs"
    store_packs.mkdir(parents=True)
    twice = noise(300, 1)
    samples = [write_pack(store_packs, [Content(twice), Content(noise(300, number))]) for number in (2, 3)]
    for hurt in samples:
        for at in (20, 400):
            data = bytearray(hurt.data)
            data[hurt.entries[0].offset + at] ^= 1
            (store_packs / hurt.name).write_bytes(data)
            age(tmp_path)
            with contextlib.suppress(IntegrityError):
                collected(tmp_path, twice, noise(300, 2), noise(300, 3))
            with ObjectStore(tmp_path / STORE, QUIET) as store:
                places = store.index.find(digest(twice))
                assert any(name != hurt.name for name, _ in places)
            for sample in samples:
                (store_packs / sample.name).write_bytes(sample.data)
            for path in store_packs.iterdir():
                if path.name not in {sample.name for sample in samples}:
                    path.unlink()


def test_a_copy_is_not_dropped_where_the_other_leans_on_damage(tmp_path):
    store_packs = tmp_path / STORE / "packs"
    store_packs.mkdir(parents=True)
    base, other = noise(500, 1), noise(499, 1) + b"z"
    data = changed(base, 100)
    lower = write_pack(store_packs, [Content(base)])
    write_pack(store_packs, [Content(data, 1, base, 1)])
    write_pack(
        store_packs,
        [Content(other), Content(changed(other, 300), 1, other, 1), Content(data, 1, changed(other, 300), 2)],
    )
    spoilt = bytearray(lower.data)
    spoilt[lower.entries[0].offset + 300] ^= 1
    (store_packs / lower.name).write_bytes(spoilt)
    age(tmp_path)
    with pytest.raises(IntegrityError):
        collected(tmp_path, data)
    with ObjectStore(tmp_path / STORE, QUIET) as store:
        assert [entry.depth for _, entry in store.index.find(digest(data))] == [1, 2]


@pytest.mark.parametrize("content", [TUNED, SINGLE], ids=["delta", "alone"])
def test_a_damaged_payload_is_not_carried_into_a_new_pack(root, content):
    spoil(root, content)
    before = packs(root)
    with pytest.raises(IntegrityError):
        collected(root, content)
    assert packs(root) == before


def test_a_damaged_head_on_the_way_to_a_base_stops_the_collection(root):
    spoil(root, TUNED, 60)
    before = packs(root)
    with pytest.raises(IntegrityError):
        collected(root, TUNED, SINGLE)
    assert packs(root) == before


@pytest.mark.parametrize("at", [0, 9, -1, -60])
def test_a_damaged_frame_stops_the_collection(root, at):
    path = max((root / STORE / "packs").iterdir())
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    before = packs(root)
    with pytest.raises(IntegrityError):
        collected(root)
    assert packs(root) == before


def test_what_the_index_says_decides_nothing(root):
    with ObjectStore(root / STORE, GRACE) as store:
        store.index._connection.execute("DELETE FROM objects")
        collect(store, lambda: {digest(TUNED), digest(SINGLE)})
    assert stored(root) == {BASE, TUNED, SINGLE}


def test_what_is_kept_is_asked_for_while_nobody_writes(root):
    def keep() -> set[ObjectId]:
        with ObjectStore(root / STORE, QUIET) as other:
            taken = other.lock(exclusive=False, blocking=False)
            with pytest.raises(ConflictError), taken:
                pass
        return {digest(data) for data in (BASE, TUNED, SINGLE, WIDE)}

    with ObjectStore(root / STORE, GRACE) as store:
        collect(store, keep)
    assert stored(root) == {BASE, TUNED, SINGLE, WIDE}


def test_an_exception_of_the_one_who_keeps_drops_nothing(root):
    before = packs(root)

    def keep() -> set[ObjectId]:
        raise RuntimeError("Git cannot be read to the end")

    with ObjectStore(root / STORE, GRACE) as store:
        with pytest.raises(RuntimeError):
            collect(store, keep)
        with store.lock(exclusive=True, blocking=False):
            pass
    assert packs(root) == before


def test_an_object_that_is_kept_and_not_stored_is_no_fault(root):
    collected(root, SINGLE, b"in another clone")
    assert stored(root) == {SINGLE}


def test_temporaries_of_the_dead_are_swept_and_those_of_the_living_are_not(root):
    orphan = root / STORE / "packs" / f"{fsio.TEMPORARY_PREFIX}0123456789abcdef"
    orphan.write_bytes(b"half a pack")
    with fsio.Temporary(root / STORE / "tmp") as alive:
        alive.write_at(b"in use", 0)
        report = collected(root, BASE, TUNED, SINGLE, WIDE)
        assert report.temporaries == 1
        assert alive.path.exists()
    assert not orphan.exists()


def test_a_store_without_packs_is_collected(tmp_path):
    ObjectStore(tmp_path / STORE, QUIET, create=True).close()
    assert collected(tmp_path) == Collected(0, 0, 0, 0, 0, 0, 0)


@given(
    links=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    kept=st.sets(st.integers(0, 7)),
    cuts=st.sets(st.integers(0, 7)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_stays_is_what_is_kept_and_all_below_it(links, kept, cuts, tmp_path_factory):
    """Object n leans on object n - 1 - link where that is shallow enough; packs end at `cuts`."""
    root = tmp_path_factory.mktemp("gc")
    store_packs = root / STORE / "packs"
    store_packs.mkdir(parents=True)
    contents: list[Content] = []
    parents: list[int | None] = []
    for number, link in enumerate(links):
        at = number - 1 - link
        parent = at if at >= 0 and contents[at].depth < 4 else None
        base = None if parent is None else contents[parent].data
        data = changed(noise(400, 1), 50 + number) + bytes([number])
        contents.append(Content(data, 1, base, 0 if parent is None else contents[parent].depth + 1))
        parents.append(parent)
    start = 0
    for stop in sorted({cut for cut in cuts if 0 < cut < len(contents)} | {len(contents)}):
        write_pack(store_packs, contents[start:stop])
        start = stop
    age(root)
    expected = set()
    for number in kept:
        current = number if number < len(contents) else None
        while current is not None:
            expected.add(current)
            current = parents[current]
    with ObjectStore(root / STORE, GRACE) as store:
        collect(store, lambda: {digest(contents[number].data) for number in kept if number < len(contents)})
        assert check_store(store).damage == ()
        for number in expected:
            assert store.read(digest(contents[number].data)) == contents[number].data
        present = {number for number, one in enumerate(contents) if store.contains(digest(one.data))}
    assert expected <= present
    if not expected:
        assert present == set()
