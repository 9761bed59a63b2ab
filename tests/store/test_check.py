"""Checking finds all damage and only damage, and salvage keeps all that is sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.core.config import StoreConfig
from lamella.core.errors import ConflictError, IntegrityError, NotFoundError
from lamella.core.ids import digest
from lamella.store.check import check_store, salvage
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackWriter
from lamella.store.record import Head
from lamella.store.writer import add_objects
from lamella.testing.codecs import noise
from lamella.testing.packs import ONE_THREAD, Content, one_of_everything, write_pack
from tests.store.scenarios import BASE, QUIET, SINGLE, STORE, TUNED, WIDE, add, source

EVERYTHING = (BASE, TUNED, SINGLE, WIDE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add(tmp_path, source(BASE))
    add(tmp_path, source(TUNED, 2, BASE), source(SINGLE, 4))
    add(tmp_path, source(WIDE, 8))
    return tmp_path


class Listener:
    """A progress listener that keeps what it hears."""

    def __init__(self) -> None:
        self.pieces: list[list[object]] = []
        self.ended = 0

    def start(self, label: str, total_nbytes: int) -> None:
        self.pieces.append([label, total_nbytes, 0])

    def advance(self, nbytes: int) -> None:
        self.pieces[-1][2] += nbytes

    def finish(self) -> None:
        self.ended += 1


def pack_of(root: Path, content: bytes) -> Path:
    with ObjectStore(root / STORE, QUIET) as store:
        return root / STORE / "packs" / store.index.find(digest(content))[0][0]


def spoil(root: Path, content: bytes, at: int = -1) -> Path:
    with ObjectStore(root / STORE, QUIET) as store:
        name, entry = store.index.find(digest(content))[0]
    path = root / STORE / "packs" / name
    data = bytearray(path.read_bytes())
    data[entry.offset + (at if at >= 0 else entry.nbytes + at)] ^= 1
    path.write_bytes(data)
    return path


def quarantined(root: Path) -> list[str]:
    aside = root / STORE / "quarantine"
    return sorted(path.name for path in aside.iterdir()) if aside.exists() else []


def assert_whole(root: Path, *contents: bytes) -> None:
    with ObjectStore(root / STORE, QUIET) as store:
        checked = check_store(store)
        assert (checked.damage, checked.unreadable) == ((), frozenset())
        for data in contents:
            assert store.read(digest(data)) == data


@pytest.mark.parametrize("threads", [1, 3])
def test_a_sound_store_is_sound_and_all_of_it_was_read(root, threads):
    listener = Listener()
    with ObjectStore(root / STORE, StoreConfig(threads=threads)) as store:
        checked = check_store(store, progress=listener)
        assert (checked.packs, checked.objects, checked.damage, checked.unreadable) == (3, 4, (), frozenset())
        checking, decoding = listener.pieces
        assert checking[:2] == ["checking", sum(store.pack_sizes().values())]
        assert 0 < checked.nbytes == checking[2] < checking[1]
        assert decoding == ["decoding", 0, sum(map(len, EVERYTHING))]
        assert listener.ended == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_damage_names_its_pack_and_object_and_those_that_lean_on_it(root, threads):
    path = spoil(root, BASE)
    with ObjectStore(root / STORE, StoreConfig(threads=threads)) as store:
        checked = check_store(store)
    (fault,) = checked.damage
    assert (fault.pack, fault.object, fault.kind) == (path.name, digest(BASE), "chunk-damaged")
    assert checked.unreadable == {digest(BASE), digest(TUNED)}


@pytest.mark.parametrize("threads", [1, 3])
def test_without_decoding_the_same_objects_are_named(root, threads):
    spoil(root, BASE)
    with ObjectStore(root / STORE, StoreConfig(threads=threads)) as store:
        assert check_store(store, decode=False).unreadable == {digest(BASE), digest(TUNED)}
        salvage(store, [source(TUNED, 2)])
        assert check_store(store, decode=False).unreadable == frozenset()
        assert store.read(digest(TUNED)) == TUNED
    pack_of(root, TUNED).unlink()
    with ObjectStore(root / STORE, QUIET) as store:
        assert check_store(store, decode=False).unreadable == {digest(TUNED)}


@pytest.mark.parametrize("at", [0, 9, -1, -60])
def test_a_damaged_frame_hits_no_object(root, at):
    path = pack_of(root, SINGLE)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with ObjectStore(root / STORE, QUIET) as store:
        checked = check_store(store)
        assert [(fault.pack, fault.object, fault.kind) for fault in checked.damage] == [
            (path.name, None, "pack-damaged")
        ]
        assert checked.unreadable == frozenset()
        assert [store.read(digest(data)) for data in EVERYTHING] == list(EVERYTHING)


def test_a_base_that_is_missing_makes_what_leans_on_it_unreadable(root):
    pack_of(root, BASE).unlink()
    with ObjectStore(root / STORE, QUIET) as store:
        checked = check_store(store)
    assert checked.damage == ()
    assert checked.unreadable == {digest(TUNED)}


def test_a_spoilt_index_is_no_damage(root):
    with ObjectStore(root / STORE, QUIET) as store:
        store.index._connection.execute("DELETE FROM objects")
        assert check_store(store).damage == ()
        store.index._connection.execute("UPDATE objects SET offset = offset + 1")
        assert check_store(store).damage == ()


def test_packs_cannot_vanish_while_they_are_checked(root):
    held = []

    class Meddler(Listener):
        def start(self, label: str, total_nbytes: int) -> None:
            super().start(label, total_nbytes)
            with ObjectStore(root / STORE, QUIET) as other:
                taken = other.lock(exclusive=True, blocking=False)
                with pytest.raises(ConflictError), taken:
                    pass
            held.append(label)

    with ObjectStore(root / STORE, QUIET) as store:
        check_store(store, progress=Meddler())
    assert held == ["checking", "decoding"]


def test_damage_is_seen_by_a_store_that_had_the_pack_open(root):
    with ObjectStore(root / STORE, QUIET) as store:
        assert store.read(digest(WIDE)) == WIDE
        path = pack_of(root, WIDE)
        data = bytearray(path.read_bytes())
        data[200] ^= 1
        path.unlink()
        path.write_bytes(data)
        assert check_store(store).damage


def test_salvage_of_a_sound_store_changes_nothing(root):
    before = {path.name for path in (root / STORE / "packs").iterdir()}
    with ObjectStore(root / STORE, QUIET) as store:
        assert salvage(store, []) == set()
    assert {path.name for path in (root / STORE / "packs").iterdir()} == before
    assert quarantined(root) == []


def test_salvage_keeps_what_is_sound_and_stores_the_copies(root):
    path = spoil(root, SINGLE)
    damaged = path.read_bytes()
    with ObjectStore(root / STORE, QUIET) as store:
        with pytest.raises(IntegrityError):
            store.read(digest(SINGLE))
        assert salvage(store, [source(SINGLE, 4)]) == {digest(SINGLE)}
        assert store.read(digest(SINGLE)) == SINGLE
        assert store.read(digest(TUNED)) == TUNED
        assert check_store(store).damage == ()
    assert_whole(root, *EVERYTHING)
    assert quarantined(root) == [path.name]
    assert (root / STORE / "quarantine" / path.name).read_bytes() == damaged


def test_salvage_without_a_copy_loses_only_what_was_damaged(root):
    spoil(root, BASE, 50)
    with ObjectStore(root / STORE, QUIET) as store:
        salvage(store, [])
        checked = check_store(store)
        assert checked.damage == ()
        assert checked.unreadable == {digest(TUNED)}
        for data in (BASE, TUNED):
            with pytest.raises(NotFoundError):
                store.read(digest(data))
        salvage(store, [source(BASE)])
    assert_whole(root, *EVERYTHING)


@pytest.mark.parametrize("at", [0, 9, -1, -60])
def test_a_damaged_frame_is_made_anew_in_its_place(root, at):
    path = pack_of(root, SINGLE)
    sound = path.read_bytes()
    data = bytearray(sound)
    data[at] ^= 1
    path.write_bytes(data)
    with ObjectStore(root / STORE, QUIET) as store:
        assert check_store(store).damage
        salvage(store, [])
        assert check_store(store).damage == ()
        assert [store.read(digest(data)) for data in EVERYTHING] == list(EVERYTHING)
    assert path.read_bytes() == sound
    assert quarantined(root) == []


@pytest.mark.parametrize("keep", [0, 50, 200, -70, -1])
def test_a_pack_that_was_cut_is_set_aside_and_its_whole_records_are_kept(root, keep):
    path = pack_of(root, SINGLE)
    path.write_bytes(path.read_bytes()[:keep])
    with ObjectStore(root / STORE, QUIET) as store:
        salvage(store, [source(TUNED, 2), source(SINGLE, 4)])
    assert_whole(root, *EVERYTHING)


def test_a_pack_that_is_damaged_twice_is_kept_twice(root):
    for _ in range(3):
        spoil(root, WIDE)
        with ObjectStore(root / STORE, QUIET) as store:
            salvage(store, [source(WIDE, 8)])
        assert_whole(root, *EVERYTHING)
    name = pack_of(root, WIDE).name
    assert quarantined(root) == [name, f"{name}.1", f"{name}.2"]


def test_of_two_copies_the_sound_one_is_read_after_salvage(tmp_path):
    (tmp_path / "packs").mkdir()
    twice = noise(300, 1)
    samples = [write_pack(tmp_path / "packs", [Content(twice), Content(noise(9, number))]) for number in range(2)]
    for sample in samples:
        data = bytearray(sample.data)
        data[sample.entries[0].offset + 300] ^= 1
        (tmp_path / "packs" / sample.name).write_bytes(data)
        with ObjectStore(tmp_path, ONE_THREAD) as store:
            assert [fault.object for fault in check_store(store).damage] == [digest(twice)]
            salvage(store, [])
            assert check_store(store).unreadable == frozenset()
            assert store.read(digest(twice)) == twice
            add_objects(store, [source(twice, 1), source(noise(50, 7), 1)], anew=True)


def test_an_object_with_an_unknown_codec_is_unreadable_and_stays(tmp_path):
    (tmp_path / "packs").mkdir()
    with PackWriter(tmp_path / "packs") as writer:
        writer.add(Head(digest(b"x"), None, 0, 1, 16, 1, 0, ()), [(99, b"?")])
        name = writer.publish()
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        checked = check_store(store)
        assert (checked.damage, checked.unreadable) == ((), {digest(b"x")})
        salvage(store, [])
    assert [path.name for path in (tmp_path / "packs").iterdir()] == [name]


def test_a_store_of_many_kinds_is_sound(tmp_path):
    (tmp_path / "packs").mkdir()
    samples = [write_pack(tmp_path / "packs", one_of_everything(seed)) for seed in range(0, 50, 10)]
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        checked = check_store(store)
        assert (checked.damage, checked.unreadable) == ((), frozenset())
        assert checked.objects == sum(len(sample.contents) for sample in samples)
