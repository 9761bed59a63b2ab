"""What a writer is told is stored can be read and stays, and keeps little else from being collected."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from lamella.core import fsio
from lamella.core.config import StoreConfig
from lamella.core.errors import BackendError
from lamella.core.ids import digest
from lamella.store.gc import collect
from lamella.store.objects import ObjectStore
from lamella.store.writer import Source, add_objects
from lamella.testing.codecs import noise
from lamella.testing.faults import changes_of
from tests.store.scenarios import BASE, LONG_AGO, QUIET, STORE, TUNED, add, age, source

GRACE = StoreConfig(threads=1, grace_seconds=3600, roll_up_packs=1000)
FROZEN = noise(300, 77)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add(tmp_path, source(BASE))
    add(tmp_path, source(TUNED, 2, BASE))
    return tmp_path


def added(root: Path, *sources: Source) -> int:
    with ObjectStore(root / STORE, GRACE) as store:
        return add_objects(store, sources)[1].objects


def pack_of(root: Path, content: bytes) -> Path:
    with ObjectStore(root / STORE, QUIET) as store:
        return root / STORE / "packs" / store.index.find(digest(content))[0][0]


def reads(root: Path, content: bytes) -> bool:
    with ObjectStore(root / STORE, QUIET) as store:
        return store.read(digest(content)) == content


def collected(root: Path, *kept: bytes) -> int:
    with ObjectStore(root / STORE, GRACE) as store:
        return collect(store, lambda: {digest(content) for content in kept}).dropped_objects


def make_old(root: Path, content: bytes, seconds: float = 0) -> Path:
    path = pack_of(root, content)
    when = time.time() - seconds if seconds else LONG_AGO
    os.utime(path, (when, when))
    return path


@pytest.mark.parametrize("loss", ["gone", "head", "cut"])
def test_an_object_whose_base_is_lost_is_stored_again(root, loss):
    path = pack_of(root, BASE)
    data = bytearray(path.read_bytes())
    if loss == "gone":
        path.unlink()
    elif loss == "head":
        data[60] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(data[:200])
    assert added(root, source(TUNED, 2, BASE)) == 1
    assert reads(root, TUNED)
    assert added(root, source(TUNED, 2, BASE)) == 0


def test_an_object_that_was_cut_off_is_stored_again(tmp_path):
    data = noise(500_000, 1)
    add(tmp_path, source(data, 1))
    path = pack_of(tmp_path, data)
    path.write_bytes(path.read_bytes()[:1000])
    assert added(tmp_path, source(data, 1)) == 1
    assert reads(tmp_path, data)


def test_a_pack_of_which_much_is_needed_becomes_young(root):
    age(root)
    path = pack_of(root, TUNED)
    with ObjectStore(root / STORE, GRACE) as store:
        changes = changes_of(lambda: add_objects(store, [source(TUNED, 2, BASE)]))
    assert [os.fspath(path)] == [where for operation, where in changes if operation == "touch"]
    assert "write" not in [operation for operation, _ in changes]
    assert collected(root) == 0
    assert reads(root, TUNED)


def test_a_pack_that_is_young_enough_is_left_as_it_is(root):
    for seconds, touched in ((1700, 0), (1900, 1)):
        make_old(root, BASE, seconds)
        with ObjectStore(root / STORE, GRACE) as store:
            changes = changes_of(lambda store=store: add_objects(store, [source(BASE)]))
        assert [operation for operation, _ in changes].count("touch") == touched


def test_a_copy_in_a_young_pack_is_enough(root):
    with ObjectStore(root / STORE, GRACE) as store:
        add_objects(store, [source(BASE), source(b"more", 1)], anew=True)
    for path in (root / STORE / "packs").iterdir():
        if b"more" not in path.read_bytes():
            os.utime(path, (LONG_AGO, LONG_AGO))
    with ObjectStore(root / STORE, GRACE) as store:
        assert "touch" not in [operation for operation, _ in changes_of(lambda: add_objects(store, [source(BASE)]))]
    collected(root)
    assert reads(root, BASE)


def test_what_leans_on_an_old_pack_keeps_its_bases(root):
    age(root)
    again = TUNED[:-2] + b"\1\2"
    assert added(root, source(again, 2, TUNED)) == 1
    with ObjectStore(root / STORE, GRACE) as store:
        assert store.open(digest(again)).head.depth == 2
    assert collected(root) == 0
    assert reads(root, again)


def test_a_tensor_that_never_changes_keeps_no_version_that_nothing_reaches(tmp_path):
    versions = [noise(100_000, seed) for seed in range(10)]
    for version in versions:
        add(tmp_path, source(FROZEN, 1), source(version, 1))
        age(tmp_path)
    add(tmp_path, source(FROZEN, 1), source(noise(1000, 50), 1), config=GRACE)
    assert collected(tmp_path, FROZEN) >= len(versions)
    assert reads(tmp_path, FROZEN)
    with ObjectStore(tmp_path / STORE, GRACE) as store:
        places = store.index.find(digest(FROZEN))
        add_objects(store, [source(FROZEN, 1), source(noise(1000, 51), 1)])
        assert store.index.find(digest(FROZEN)) == places


def test_a_delta_that_is_copied_stays_a_delta(tmp_path):
    base = noise(200_000, 1)
    tuned = base[:-1] + b"x"
    add(tmp_path, source(base, 1))
    add(tmp_path, source(tuned, 1, base), source(noise(100_000, 2), 1))
    age(tmp_path)
    with ObjectStore(tmp_path / STORE, GRACE) as store:
        _, report = add_objects(store, [source(tuned, 1)])
        assert report.objects == 0
        assert 0 < report.stored_nbytes < 70_000
        assert store.open(digest(tuned)).head.depth == 1
    assert collected(tmp_path) >= 1
    assert reads(tmp_path, tuned)
    with ObjectStore(tmp_path / STORE, GRACE) as store:
        assert not store.contains(digest(noise(100_000, 2)))


def test_a_small_part_with_a_damaged_payload_is_stored_again(tmp_path):
    add(tmp_path, source(FROZEN, 1), source(noise(100_000, 1), 1))
    path = pack_of(tmp_path, FROZEN)
    data = bytearray(path.read_bytes())
    data[data.index(FROZEN) + 9] ^= 1
    path.write_bytes(data)
    age(tmp_path)
    assert added(tmp_path, source(FROZEN, 1)) == 1


def test_a_pack_that_another_user_wrote_is_not_needed(root):
    age(root)

    def refuse(operation: str, path: str) -> None:
        if operation == "touch":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    with fsio.observe(refuse):
        assert added(root, source(BASE)) == 0
    collected(root)
    assert reads(root, BASE)


def test_another_fault_of_touching_is_told(root):
    age(root)

    def refuse(operation: str, path: str) -> None:
        if operation == "touch":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    with fsio.observe(refuse), pytest.raises(BackendError) as caught:
        added(root, source(BASE))
    assert caught.value.kind == "io-failed"


def test_an_object_given_twice_is_stored_once(tmp_path):
    add(tmp_path, source(BASE), source(BASE, 1))
    with ObjectStore(tmp_path / STORE, GRACE) as store:
        assert len(store.index.find(digest(BASE))) == 1
        assert store.open(digest(BASE)).head.item_nbytes == 2
