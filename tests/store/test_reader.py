"""Objects are streamed in order, in pieces, and checked at their ends."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.core.config import StoreConfig
from lamella.core.errors import IntegrityError, NotFoundError
from lamella.core.ids import digest
from lamella.store.objects import ObjectStore
from lamella.store.reader import MOST_STREAMS, stream_objects, verify_object
from lamella.testing.codecs import noise, nudged, weights
from lamella.testing.packs import Content, Sample, one_of_everything, write_pack


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sample]:
    directory = tmp_path_factory.mktemp("reader")
    (directory / "packs").mkdir()
    return directory, write_pack(directory / "packs", [*one_of_everything(), Content(b""), Content(noise(5000, 8))])


@given(
    order=st.lists(st.integers(0, 8), max_size=20),
    threads=st.sampled_from((1, 2, 4)),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_streamed_is_what_was_asked_for_in_that_order(sample, order, threads):
    directory, pack = sample
    contents = list(pack.contents.items())
    streamed: dict[int, bytearray] = defaultdict(bytearray)
    with ObjectStore(directory, StoreConfig(threads=threads)) as store:
        numbers = []
        for piece in stream_objects(store, (contents[number][0] for number in order)):
            assert piece.offset == len(streamed[piece.number])
            numbers.append(piece.number)
            streamed[piece.number] += piece.data
    assert numbers == sorted(numbers)
    assert [streamed[number] for number in range(len(order))] == [contents[number][1] for number in order]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_missing_object_ends_the_stream(sample, threads):
    directory, pack = sample
    with ObjectStore(directory, StoreConfig(threads=threads)) as store, pytest.raises(NotFoundError):
        list(stream_objects(store, [*pack.contents, digest(b"missing")]))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("position", range(3))
def test_an_object_that_decodes_to_other_bytes_is_refused_at_its_end(tmp_path, threads, position):
    (tmp_path / "packs").mkdir()
    contents = [Content(noise(700, number)) for number in range(3)]
    contents[position] = Content(noise(700, 99), identity=digest(noise(700, position)))
    sample = write_pack(tmp_path / "packs", contents)
    with ObjectStore(tmp_path, StoreConfig(threads=threads)) as store:
        numbers = []
        with pytest.raises(IntegrityError) as caught:
            for piece in stream_objects(store, sample.contents):
                numbers.append(piece.number)
        assert caught.value.kind == "object-wrong-id"
        assert set(range(position)) <= set(numbers)


@pytest.mark.parametrize("kind", ["alone", "against a base"])
def test_a_stream_tells_which_chunk_is_damaged(tmp_path, kind):
    (tmp_path / "packs").mkdir()
    base = weights(300, 2, 1)
    contents = [Content(base, 2), Content(nudged(base, 2, 1), 2, base, 1)]
    sample = write_pack(tmp_path / "packs", contents)
    path = tmp_path / "packs" / sample.name
    hurt = sample.entries[0]
    data = bytearray(path.read_bytes())
    data[hurt.offset + hurt.head_nbytes + hurt.payload_nbytes // 2] ^= 1
    path.write_bytes(data)
    asked = contents[0 if kind == "alone" else 1].data
    with ObjectStore(tmp_path) as store, pytest.raises(IntegrityError) as caught:
        list(stream_objects(store, [digest(asked)]))
    assert caught.value.kind == "chunk-damaged"
    assert digest(base).hex() in caught.value.message


def test_a_stream_that_is_abandoned_leaves_no_thread(sample):
    directory, pack = sample
    with ObjectStore(directory, StoreConfig(threads=3)) as store:
        stream = stream_objects(store, list(pack.contents) * 30)
        next(stream)
        stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lamella")]


def test_many_streams_side_by_side_have_no_threads_each(sample):
    directory, pack = sample
    with ObjectStore(directory, StoreConfig(threads=2)) as store:
        streams = [stream_objects(store, pack.contents) for _ in range(20)]
        before = threading.active_count()
        first = [bytes(next(stream).data) for stream in streams]
        assert len(set(first)) == 1
        assert threading.active_count() - before <= 2 * MOST_STREAMS
        assert len(store.streaming) == 20
        for stream in streams:
            assert sum(1 for _ in stream) == sum(1 for _ in stream_objects(store, pack.contents)) - 1
        assert not store.streaming


def test_verifying_decodes_everything(sample):
    directory, pack = sample
    with ObjectStore(directory, StoreConfig(threads=1)) as store:
        assert [verify_object(store, identity) for identity in pack.contents] == list(map(len, pack.contents.values()))
