"""The object store finds what lies on disk, whatever other processes did to it meanwhile."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lamella.core import fsio
from lamella.core.errors import BackendError, ConflictError, FormatError, IntegrityError, NotFoundError
from lamella.core.ids import ObjectId, check, digest
from lamella.store import rollup
from lamella.store.index import Index
from lamella.store.objects import MAX_OPEN_PACKS, ObjectStore
from lamella.store.pack import HEADER, MAGIC, PackWriter
from lamella.store.record import Head
from lamella.store.writer import add_objects
from lamella.testing.codecs import noise
from lamella.testing.faults import changes_of
from lamella.testing.packs import ONE_THREAD, Content, one_of_everything, write_pack
from tests.store.scenarios import BASE, QUIET, SINGLE, STORE, TUNED, WIDE, add, source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add(tmp_path, source(BASE))
    add(tmp_path, source(TUNED, 2, BASE), source(SINGLE, 4))
    add(tmp_path, source(WIDE, 8))
    return tmp_path


def merge(root: Path) -> None:
    """Merge all packs into one, as another process would."""
    with ObjectStore(root / STORE, QUIET) as other, other.lock(exclusive=True):
        names = sorted(other.refresh())
        assert rollup._merge(other, names) == len(names) - 1


def packs(root: Path) -> list[Path]:
    return sorted((root / STORE / "packs").iterdir())


def test_a_store_that_is_not_there_is_not_made_by_reading(tmp_path):
    with pytest.raises(NotFoundError):
        ObjectStore(tmp_path / STORE)
    assert list(tmp_path.iterdir()) == []
    ObjectStore(tmp_path / STORE, create=True).close()
    ObjectStore(tmp_path / STORE).close()


def test_an_object_is_read_whole_in_part_and_not_at_all(root):
    with ObjectStore(root / STORE, QUIET) as store:
        assert store.read(digest(TUNED)) == TUNED
        assert store.open(digest(TUNED)).read(10, 20) == TUNED[10:20]
        assert store.contains(digest(TUNED))
        assert not store.contains(digest(b"nothing"))
        with pytest.raises(NotFoundError) as caught:
            store.read(digest(b"nothing"))
        assert caught.value.kind == "object-missing"
        assert digest(b"nothing").hex() in caught.value.message


def test_many_objects_are_opened_as_each_is(root):
    with ObjectStore(root / STORE, QUIET) as store:
        wanted = [TUNED, SINGLE, BASE, TUNED, WIDE]
        chains = store.open_all(map(digest, wanted))
        assert [chain.read() for chain in chains] == wanted
        with pytest.raises(NotFoundError):
            list(store.open_all([digest(BASE), digest(b"nothing")]))


def test_many_objects_of_which_packs_vanish_meanwhile_are_opened(root):
    with ObjectStore(root / STORE, QUIET) as store:
        chains = store.open_all(map(digest, [BASE, TUNED, SINGLE, WIDE]))
        assert next(chains).read() == BASE
        merge(root)
        store._open_packs.clear()
        assert [chain.read() for chain in chains] == [TUNED, SINGLE, WIDE]


def test_what_another_process_added_is_found(root):
    with ObjectStore(root / STORE, QUIET) as store:
        add(root, source(b"later", 1))
        assert store.read(digest(b"later")) == b"later"
        add(root, source(b"even later", 1))
        assert store.contains(digest(b"even later"))


def test_a_pack_that_vanished_under_a_reader_is_found_again(root):
    with ObjectStore(root / STORE, QUIET) as store:
        opened = store.open(digest(TUNED))
        merge(root)
        assert opened.read() == TUNED
        for content in (BASE, TUNED, SINGLE, WIDE):
            assert store.read(digest(content)) == content


def test_a_pack_that_vanishes_between_looking_up_and_opening_is_found_again(root, monkeypatch):
    """The other process has indexed the new pack by then, so nothing but a second look tells."""
    find = Index.find
    for times in (1, 2):
        left = [times]

        def find_then_merge(self, identity, left=left):
            places = find(self, identity)
            if left[0] and places:
                left[0] -= 1
                add(root, source(noise(500, left[0]), 1))
                merge(root)
            return places

        with ObjectStore(root / STORE, QUIET) as store:
            monkeypatch.setattr(Index, "find", find_then_merge)
            assert store.read(digest(SINGLE)) == SINGLE
            monkeypatch.undo()


def test_a_vanished_pack_is_found_again_by_a_store_that_indexes_in_memory(root):
    (root / STORE / "index.db").unlink()
    (root / STORE / "index.db").mkdir()
    with ObjectStore(root / STORE, QUIET) as store:
        assert store.read(digest(TUNED)) == TUNED
        merge(root)
        store.refresh()
        assert store.read(digest(TUNED)) == TUNED


def test_an_index_that_lost_rows_is_rebuilt_before_an_object_is_given_up(root):
    with ObjectStore(root / STORE, QUIET) as store:
        store.index._connection.execute("DELETE FROM objects")
        assert store.read(digest(TUNED)) == TUNED


def test_an_index_that_points_elsewhere_is_rebuilt_before_damage_is_reported(root):
    with ObjectStore(root / STORE, QUIET) as store:
        store.index._connection.execute("UPDATE objects SET offset = offset + 1")
        assert store.read(digest(TUNED)) == TUNED


def test_a_second_missing_object_costs_no_second_rebuild(root, monkeypatch):
    with ObjectStore(root / STORE, QUIET) as store:
        with pytest.raises(NotFoundError):
            store.read(digest(b"one"))
        monkeypatch.setattr(Index, "rebuild", None)
        with pytest.raises(NotFoundError):
            store.read(digest(b"two"))


def test_packs_that_are_gone_are_closed(root):
    with ObjectStore(root / STORE, QUIET) as store:
        for content in (BASE, TUNED, WIDE):
            store.read(digest(content))
        assert len(store._open_packs) == 3
        merge(root)
        store.refresh()
        assert store._open_packs == {}


def test_an_object_is_not_taken_for_stored_because_the_index_says_so(root):
    with ObjectStore(root / STORE, QUIET) as store:
        assert store.contains(digest(BASE))
        for path in packs(root):
            path.unlink()
        add_objects(store, [source(BASE)])
    with ObjectStore(root / STORE, QUIET) as store:
        assert store.read(digest(BASE)) == BASE


def test_an_object_whose_head_is_damaged_is_stored_again(root):
    with ObjectStore(root / STORE, QUIET) as store:
        ((name, entry),) = store.index.find(digest(BASE))
    path = root / STORE / "packs" / name
    data = bytearray(path.read_bytes())
    data[entry.offset + 20] ^= 1
    path.write_bytes(data)
    with ObjectStore(root / STORE, QUIET) as store:
        _, added = add_objects(store, [source(BASE), source(WIDE, 8)])
        assert added.objects == 1
        assert store.read(digest(BASE)) == BASE
        assert store.read(digest(TUNED)) == TUNED


def test_a_copy_with_a_damaged_head_is_passed_over_for_another(tmp_path):
    store_packs = tmp_path / "packs"
    store_packs.mkdir()
    one = write_pack(store_packs, [Content(b"twice stored"), Content(b"one")])
    other = write_pack(store_packs, [Content(b"twice stored"), Content(b"other")])
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        first = store.index.find(digest(b"twice stored"))[0][0]
        hurt = one if first == one.name else other
        data = bytearray(hurt.data)
        data[hurt.entries[0].offset + 9] ^= 1
        (store_packs / hurt.name).write_bytes(data)
        assert store.read(digest(b"twice stored")) == b"twice stored"


def test_the_shallowest_copy_is_read(tmp_path):
    (tmp_path / "packs").mkdir()
    data, base = bytes(range(200)), bytes(range(199)) + b"\0"
    write_pack(tmp_path / "packs", [Content(base), Content(data, 1, base, 1)])
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        assert store.open(digest(data)).head.depth == 1
        write_pack(tmp_path / "packs", [Content(data)])
        store.refresh()
        assert store.open(digest(data)).head.depth == 0
        assert store.read(digest(data)) == data


def raw(writer: PackWriter, data: bytes, base: ObjectId | None, depth: int, identity: ObjectId, **grid: int) -> None:
    """Append a record that says whatever it is told, with a payload of codec 3: a copy of its base."""
    head = Head(identity, base, depth, grid.get("item_nbytes", 1), grid.get("chunk_shift", 6), len(data), 0, ())
    writer.add(head, [(0 if base is None else 3, data if base is None else b"")])


A, B, C = digest(b"a"), digest(b"b"), digest(b"c")


@pytest.mark.parametrize(
    ("records", "kind"),
    [
        ([(A, B, 1), (B, A, 1)], "chain-too-deep"),
        ([(A, A, 1)], "chain-too-deep"),
        ([(A, B, 2), (B, C, 1), (C, A, 1)], "chain-too-deep"),
        ([(A, B, 1), (B, C, 2), (C, None, 0)], "chain-too-deep"),
        ([(A, B, 16), (B, C, 16), (C, None, 0)], "chain-too-deep"),
        ([(A, B, 2), (B, None, 0)], None),
        ([(A, None, 0)], None),
    ],
    ids=[
        "two leaning on each other",
        "on itself",
        "three in a ring",
        "depth rises",
        "depth stays",
        "steps of two",
        "alone",
    ],
)
def test_a_chain_that_does_not_descend_is_refused(tmp_path, records, kind):
    (tmp_path / "packs").mkdir()
    with PackWriter(tmp_path / "packs") as writer:
        for identity, base, depth in records:
            raw(writer, b"a", base, depth, identity)
        writer.publish()
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        if kind is None:
            assert store.open(A).read() == b"a"
            return
        with pytest.raises(IntegrityError) as caught:
            store.open(A)
        assert caught.value.kind == kind


def test_the_longest_chain_that_descends_is_read_and_a_longer_one_cannot_be_written_down(tmp_path):
    (tmp_path / "packs").mkdir()
    ids = [digest(b"a"), *(digest(bytes([number])) for number in range(16))]
    with PackWriter(tmp_path / "packs") as writer:
        raw(writer, b"a", None, 0, ids[16])
        for depth in range(1, 17):
            raw(writer, b"a", ids[17 - depth], depth, ids[16 - depth])
        writer.publish()
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        assert len(store.open(ids[0]).bases) == 16
        assert store.read(ids[0]) == b"a"


@pytest.mark.parametrize("grid", [{"item_nbytes": 2}, {"chunk_shift": 7}], ids=str)
def test_a_base_on_another_grid_is_refused(tmp_path, grid):
    (tmp_path / "packs").mkdir()
    with PackWriter(tmp_path / "packs") as writer:
        raw(writer, b"a", B, 1, A)
        raw(writer, b"a", None, 0, B, **grid)
        writer.publish()
    with ObjectStore(tmp_path, ONE_THREAD) as store, pytest.raises(IntegrityError) as caught:
        store.open(A)
    assert caught.value.kind == "base-mismatch"


def test_a_base_that_is_missing_is_named(tmp_path):
    (tmp_path / "packs").mkdir()
    with PackWriter(tmp_path / "packs") as writer:
        raw(writer, b"a", B, 1, A)
        writer.publish()
    with ObjectStore(tmp_path, ONE_THREAD) as store, pytest.raises(NotFoundError) as caught:
        store.open(A)
    assert B.hex() in caught.value.message


def test_a_store_with_a_pack_of_a_newer_version_is_refused(root):
    body = HEADER.pack(MAGIC, 2, 0, bytes(4))[:-4]
    newer = root / STORE / "packs" / f"{'1' * 40}.pack"
    newer.write_bytes(body + check(body, 4) + bytes(100))
    with pytest.raises(FormatError) as caught:
        ObjectStore(root / STORE, QUIET)
    assert caught.value.kind == "pack-version"
    newer.unlink()
    with ObjectStore(root / STORE, QUIET) as store:
        newer.write_bytes(body + check(body, 4) + bytes(100))
        assert store.read(digest(TUNED)) == TUNED
        with pytest.raises(FormatError):
            add_objects(store, [source(b"new", 1)])


def test_a_damaged_pack_does_not_keep_the_others_from_being_read(root):
    for path in packs(root):
        sound = path.read_bytes()
        path.write_bytes(b"")
        lost = 0
        with ObjectStore(root / STORE, QUIET) as store:
            for content in (BASE, TUNED, SINGLE, WIDE):
                try:
                    assert store.read(digest(content)) == content
                except NotFoundError:
                    lost += 1
        assert 0 < lost < 4
        path.write_bytes(sound)


def test_writers_share_the_lock_and_whoever_drops_has_it_alone(root):
    with ObjectStore(root / STORE, QUIET) as one, ObjectStore(root / STORE, QUIET) as other:
        with one.lock(exclusive=False), other.lock(exclusive=False, blocking=False):
            with pytest.raises(ConflictError) as caught, other.lock(exclusive=True, blocking=False):
                pass
            assert caught.value.kind == "lock-held"
        with one.lock(exclusive=True), pytest.raises(ConflictError), other.lock(exclusive=False, blocking=False):
            pass
        with other.lock(exclusive=True, blocking=False):
            pass


def test_the_names_of_a_new_store_are_flushed_before_its_first_pack_is_named(tmp_path):
    with ObjectStore(tmp_path / STORE, QUIET, create=True) as store:
        changes = changes_of(lambda: add_objects(store, [source(b"first", 1)]))
        operations = [(operation, os.path.relpath(path, tmp_path)) for operation, path in changes]
        rename = [operation for operation, _ in operations].index("rename")
        assert operations.index(("fsync-directory", ".")) < rename
        assert operations.index(("fsync-directory", STORE)) < rename
        again = [path for operation, path in changes_of(lambda: add_objects(store, [source(b"second", 1)]))]
        assert os.fspath(tmp_path) not in again


def test_a_store_in_a_directory_that_cannot_be_written_is_read(root, monkeypatch):
    """Whoever runs the tests may be root, whom no permission stops; so the calls themselves are refused."""

    def refuse(operation: str, path: str) -> None:
        raise PermissionError(13, "permission denied", path)

    (root / STORE / "index.db").unlink()
    (root / STORE / "index.db").mkdir()
    with fsio.observe(refuse), ObjectStore(root / STORE, QUIET) as store:
        for content in (BASE, TUNED, SINGLE, WIDE):
            assert store.read(digest(content)) == content
        with pytest.raises(BackendError) as caught:
            add_objects(store, [source(b"new", 1)])
        assert caught.value.kind == "read-only"


def test_many_objects_are_found_in_any_order(tmp_path):
    (tmp_path / "packs").mkdir()
    samples = [write_pack(tmp_path / "packs", one_of_everything(10 * seed)) for seed in range(5)]
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        for sample in reversed(samples):
            for identity, content in reversed(sample.contents.items()):
                assert store.read(identity) == content


def test_a_pack_that_was_copied_further_is_opened_anew(tmp_path):
    (tmp_path / "packs").mkdir()
    sample = write_pack(tmp_path / "packs", [Content(noise(500, 1)), Content(noise(500, 2))])
    path = tmp_path / "packs" / sample.name
    path.write_bytes(sample.data[:1000])
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        assert store.read(digest(noise(500, 1))) == noise(500, 1)
        path.write_bytes(sample.data)
        assert store.read(digest(noise(500, 2))) == noise(500, 2)


def test_more_packs_than_a_process_may_open_are_read(tmp_path, monkeypatch):
    (tmp_path / "packs").mkdir()
    contents = [noise(50, seed) for seed in range(MAX_OPEN_PACKS + 20)]
    for data in contents:
        write_pack(tmp_path / "packs", [Content(data)])
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        for data in contents:
            assert store.read(digest(data)) == data
        assert len(store._open_packs) == MAX_OPEN_PACKS
        held, whole = store._open_packs, os.open

        def scarce(path: str, flags: int, *rest: object, **options: object) -> int:
            if len(held) >= 10:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
            return whole(path, flags, *rest, **options)

        monkeypatch.setattr(os, "open", scarce)
        for data in contents:
            assert store.read(digest(data)) == data


def test_a_pack_that_may_not_be_read_is_told_so(root, monkeypatch):
    """Whoever runs the tests may be root, whom no permission stops; so the call itself is refused."""

    def refuse(path: str, *args: object, **options: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with ObjectStore(root / STORE, QUIET) as store:
        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(BackendError) as caught:
            store.read(digest(BASE))
    assert caught.value.kind == "io-failed"
    assert caught.value.message.startswith("cannot read ")
