"""Adding objects: what was given comes back bit for bit, durable once it is acknowledged, and stored small."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.core import fsio
from lamella.core.config import StoreConfig
from lamella.core.errors import BackendError, ConflictError
from lamella.core.ids import ObjectId, digest
from lamella.core.limits import CHUNK_SHIFT, MAX_WRITTEN_DEPTH, MIB
from lamella.store.bases import MIN_SAVING, SAMPLE_ITEMS
from lamella.store.check import check_store
from lamella.store.objects import ObjectStore
from lamella.store.reader import stream_objects
from lamella.store.writer import Added, Source, add_objects, hash_source, identify
from lamella.testing.codecs import noise, weights
from lamella.testing.faults import recorded
from lamella.testing.packs import changed
from tests.store.scenarios import source
from tests.store.workers import no_worker_stays

CHUNK_ITEMS = 1 << CHUNK_SHIFT


@pytest.fixture
def store(tmp_path: Path):
    with ObjectStore(tmp_path / "store", StoreConfig(threads=1, roll_up_packs=1000), create=True) as opened:
        yield opened


def pack_bytes(store: ObjectStore) -> list[bytes]:
    return sorted(path.read_bytes() for path in store.packs.iterdir())


@st.composite
def tensors(draw: st.DrawFn, *, large: bool = False) -> tuple[bytes, int]:
    item_nbytes = draw(st.sampled_from((1, 2, 4, 8)))
    counts = st.integers(0, 300)
    if large:
        counts = st.sampled_from((0, 1, CHUNK_ITEMS - 1, CHUNK_ITEMS, CHUNK_ITEMS + 1, 2 * CHUNK_ITEMS, 150_000))
    count = draw(counts)
    seed = draw(st.integers(0, 3))
    kind = draw(st.sampled_from(("weights", "noise", "zeros", "pattern")))
    nbytes = count * item_nbytes + draw(st.integers(0, item_nbytes - 1))
    if kind == "weights":
        data = weights(count + 1, item_nbytes, seed)[:nbytes]
    elif kind == "noise":
        data = noise(nbytes, seed)
    else:
        data = bytes(nbytes) if kind == "zeros" else (bytes(range(seed, 250)) * (nbytes // (250 - seed) + 1))[:nbytes]
    return data, item_nbytes


@st.composite
def series(draw: st.DrawFn, *, large: bool = False) -> list[tuple[bytes, int, list[int]]]:
    """Draw versions: each a fresh tensor or a changed earlier one, with earlier versions as candidates."""
    versions: list[tuple[bytes, int, list[int]]] = []
    for number in range(draw(st.integers(1, 4 if large else 8))):
        if number and draw(st.booleans()):
            origin = draw(st.integers(0, number - 1))
            data, item_nbytes, _ = versions[origin]
            data = changed(data, draw(st.sampled_from((2, 7, 50, 1000)))) if data else data
            data = data[: len(data) - draw(st.sampled_from((0, 0, 1, 9)))] + draw(st.binary(max_size=5))
            item_nbytes = draw(st.sampled_from((item_nbytes, item_nbytes, 1, 8)))
        else:
            data, item_nbytes = draw(tensors(large=large))
        candidates = draw(st.lists(st.integers(0, number), max_size=3))
        versions.append((data, item_nbytes, candidates))
    return versions


def add_series(directory: Path, versions: list[tuple[bytes, int, list[int]]], threads: int) -> ObjectStore:
    store = ObjectStore(directory, StoreConfig(threads=threads, roll_up_packs=1000), create=True)
    for data, item_nbytes, candidates in versions:
        bases = [versions[number][0] for number in candidates]
        (identity,), added = add_objects(store, [source(data, item_nbytes, *bases)])
        assert identity == digest(data)
        assert added.nbytes in (0, len(data))
    return store


def check_series(store: ObjectStore, versions: list[tuple[bytes, int, list[int]]]) -> None:
    for data, _, _ in versions:
        chain = store.open(digest(data))
        assert chain.read() == data
        assert chain.head.depth <= MAX_WRITTEN_DEPTH
        assert len(chain.bases) == chain.head.depth
    checked = check_store(store)
    assert (checked.damage, checked.unreadable) == ((), frozenset())
    assert checked.objects == len({data for data, _, _ in versions})


@given(versions=series())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_series_of_tensors_comes_back_bit_for_bit(versions, tmp_path_factory):
    with add_series(tmp_path_factory.mktemp("series") / "s", versions, 1) as store:
        check_series(store, versions)


@given(versions=series(large=True), threads=st.sampled_from((1, 3)))
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_tensors_of_several_chunks_come_back_bit_for_bit(versions, threads, tmp_path_factory):
    with add_series(tmp_path_factory.mktemp("series") / "s", versions, threads) as store:
        check_series(store, versions)


@given(base=tensors(), step=st.sampled_from((1, 2, 3, 5, 9, 30, 200)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_delta_is_stored_only_where_it_saves(base, step, tmp_path_factory):
    data, item_nbytes = base
    tuned = changed(data, step)
    alone, delta = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("delta")
    with add_series(alone / "s", [(tuned, item_nbytes, [])], 1) as store:
        alone_nbytes = store.open(digest(tuned)).head.payload_nbytes
    with add_series(delta / "s", [(data, item_nbytes, []), (tuned, item_nbytes, [0])], 1) as store:
        head = store.open(digest(tuned)).head
    assert len(data) <= SAMPLE_ITEMS * item_nbytes
    if head.depth:
        assert head.payload_nbytes < (1 - MIN_SAVING) * alone_nbytes
    else:
        assert head.payload_nbytes == alone_nbytes


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_the_number_of_threads_changes_no_byte(tmp_path, threads):
    big = weights(CHUNK_ITEMS * 9 + 17, 2, 1)
    versions = [
        *((weights(40 * number + 1, 2, number), 2, []) for number in range(40)),
        (big, 2, []),
    ]
    packs = []
    for name, count in (("one", 1), ("many", threads)):
        config = StoreConfig(threads=count, roll_up_packs=1000)
        with ObjectStore(tmp_path / name, config, create=True) as store:
            add_objects(store, [source(data, item_nbytes) for data, item_nbytes, _ in versions])
            tuned = [source(changed(data, 99), item_nbytes, data) for data, item_nbytes, _ in versions]
            add_objects(store, tuned)
            packs.append({path.name: path.read_bytes() for path in store.packs.iterdir()})
    assert packs[0] == packs[1]
    assert len(packs[0]) == 2


def test_ids_come_in_the_order_asked_for_and_equal_content_is_stored_once(store):
    contents = [b"one", b"two", b"one", b"", b"two", b""]
    ids, added = add_objects(store, [source(data, 1) for data in contents])
    assert ids == [digest(data) for data in contents]
    assert (added.objects, added.nbytes) == (3, 6)
    assert [len(piece.data) for piece in stream_objects(store, [digest(b"")])] == [0]


def test_what_is_stored_already_adds_nothing(store):
    add_objects(store, [source(b"here", 1)])
    before = pack_bytes(store)
    ids, added = add_objects(store, [source(b"here", 1)])
    assert (ids, added) == ([digest(b"here")], Added())
    assert add_objects(store, []) == ([], Added())
    assert pack_bytes(store) == before


def test_equal_bytes_are_one_object_whatever_their_items(store):
    data = weights(64, 8, 1)
    for item_nbytes in (8, 1, 2, 4):
        ids, _ = add_objects(store, [source(data, item_nbytes)])
        assert ids == [digest(data)]
    assert store.index.count() == 1
    assert store.open(digest(data)).head.item_nbytes == 8


def test_what_is_acknowledged_is_flushed_and_indexed(store):
    with recorded() as changes:
        add_objects(store, [source(b"durable", 1)])
    operations = [operation for operation, _ in changes]
    assert operations[-3:] == ["fsync", "rename", "fsync-directory"]
    assert "write" not in operations[operations.index("fsync") :]
    assert store.index.find(digest(b"durable"))


def test_the_added_bytes_are_counted(store):
    data = noise(100_000, 1)
    _, added = add_objects(store, [source(data, 1), source(bytes(500_000), 1)])
    assert (added.objects, added.nbytes) == (2, 600_000)
    assert 100_000 < added.stored_nbytes < 101_000


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("change", ["other byte", "shorter", "longer", "empty"])
def test_a_source_that_changes_between_two_reads_is_found_out(tmp_path, threads, change):
    data = noise(200_000, 1)
    after = {"other byte": changed(data, len(data)), "shorter": data[:-1], "longer": data + b"x", "empty": b""}[change]
    reads: list[int] = []

    def read_at(offset: int, nbytes: int) -> bytes:
        reads.append(offset)
        return (data if len(reads) <= 1 else after)[offset : offset + nbytes]

    changing = Source(len(data), 1, read_at)
    with ObjectStore(tmp_path / "store", StoreConfig(threads=threads), create=True) as store:
        if change == "longer":
            assert add_objects(store, [changing])[0] == [digest(data)]
            return
        with pytest.raises(ConflictError) as caught:
            add_objects(store, [source(b"beside", 1), changing])
        assert caught.value.kind == "file-changed"
        assert list(store.packs.iterdir()) == []
        assert not store.contains(digest(b"beside"))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_exception_of_a_source_ends_the_work_without_a_trace(tmp_path, threads):
    calls = threading.Semaphore(10)

    def read_at(offset: int, nbytes: int) -> bytes:
        if not calls.acquire(blocking=False):
            raise BackendError("the disk went away", kind="io-failed")
        return bytes(nbytes)

    sources = [source(noise(3000, number), 1) for number in range(50)]
    sources.insert(25, Source(1 << 23, 4, read_at))
    with ObjectStore(tmp_path / "store", StoreConfig(threads=threads), create=True) as store:
        with pytest.raises(BackendError, match="went away"):
            add_objects(store, sources)
        assert list(store.packs.iterdir()) == []
        assert no_worker_stays()
        with store.lock(exclusive=True, blocking=False):
            pass


@pytest.mark.parametrize("threads", [1, 3])
def test_a_full_disk_in_the_middle_leaves_nothing_and_no_task_running(tmp_path, threads):
    written = []

    def fill(operation: str, path: str) -> None:
        if operation == "write":
            written.append(path)
            if len(written) == 3:
                raise OSError(errno.ENOSPC, "no space left on device", path)

    sources = [source(noise(1_500_000, number), 2) for number in range(6)]
    with ObjectStore(tmp_path / "store", StoreConfig(threads=threads), create=True) as store:
        with fsio.observe(fill), pytest.raises(BackendError) as caught:
            add_objects(store, sources)
        assert caught.value.kind == "no-space"
        assert list(store.packs.iterdir()) == []
        assert no_worker_stays()
        add_objects(store, sources)
        assert check_store(store).damage == ()


def test_unknown_and_damaged_candidates_are_passed_over(store):
    base = weights(3000, 2, 1)
    tuned = changed(base, 500)
    add_objects(store, [source(base)])
    path = next(store.packs.iterdir())
    data = bytearray(path.read_bytes())
    data[-300] ^= 1
    path.write_bytes(data)
    with ObjectStore(store.directory, store.config) as fresh:
        add_objects(fresh, [source(tuned, 2, b"unknown", base)])
        assert fresh.open(digest(tuned)).head.depth == 0
        assert fresh.read(digest(tuned)) == tuned


def test_a_base_damaged_where_nobody_looked_does_not_keep_a_new_version_out(store):
    base = noise(5 * CHUNK_ITEMS, 1)
    tuned = changed(base, 500)
    add_objects(store, [source(base, 1)])
    ((name, entry),) = store.index.find(digest(base))
    data = bytearray((store.packs / name).read_bytes())
    data[entry.offset + entry.head_nbytes] ^= 1
    (store.packs / name).write_bytes(data)
    for threads in (1, 3):
        with ObjectStore(store.directory, StoreConfig(threads=threads)) as fresh:
            add_objects(fresh, [source(tuned, 1, base), source(changed(tuned, 9), 1, base)], anew=True)
            assert fresh.open(digest(tuned)).head.depth == 0
            assert fresh.read(digest(tuned)) == tuned


def test_a_copy_stored_anew_never_leans_on_what_leans_on_it(store):
    base = weights(3000, 2, 1)
    tuned = changed(base, 500)
    add_objects(store, [source(base)])
    add_objects(store, [source(tuned, 2, base)])
    assert store.open(digest(tuned)).head.depth == 1
    _, added = add_objects(store, [source(base, 2, tuned), source(b"beside", 1)], anew=True)
    assert added.objects == 2
    assert [entry.depth for _, entry in store.index.find(digest(base))] == [0, 0]


def test_a_chain_is_never_written_deeper_than_it_may_be(store):
    versions = [weights(3000, 2, 1)]
    for step in range(6):
        versions.append(changed(versions[-1], 700 + step))
        add_objects(
            store, [source(data, 2, *versions[max(0, number - 1) : number]) for number, data in enumerate(versions)]
        )
    depths = [store.open(digest(data)).head.depth for data in versions]
    assert max(depths) == MAX_WRITTEN_DEPTH
    assert [store.read(digest(data)) == data for data in versions] == [True] * 7


def test_identifying_stores_nothing(store):
    sources = [source(noise(1000, number), 1) for number in range(5)]
    expected: list[ObjectId] = [digest(noise(1000, number)) for number in range(5)]
    for threads in (1, 3):
        assert identify(sources, threads) == expected
    assert [hash_source(one) for one in sources] == expected
    assert list(store.packs.iterdir()) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_hashing_that_is_interrupted_ends_before_the_tensor_does(threads):
    class Interrupting:
        def start(self, label: str, total_nbytes: int) -> None: ...

        def advance(self, nbytes: int) -> None:
            raise KeyboardInterrupt

        def finish(self) -> None: ...

    reads = []

    def read(offset: int, nbytes: int) -> bytes:
        reads.append(offset)
        time.sleep(0.001)
        return bytes(nbytes)

    with pytest.raises(KeyboardInterrupt):
        identify([source(b"short", 1), Source(5000 * MIB, 1, read)], threads, Interrupting())
    assert len(reads) < 1000
