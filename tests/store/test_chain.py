"""An opened object gives any range of its bytes, decoded from itself and its bases, and never wrong ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import IntegrityError, UsageError
from lamella.core.ids import ObjectId, digest
from lamella.store.objects import ObjectStore
from lamella.store.pack import PackWriter
from lamella.store.record import Head
from lamella.testing.codecs import noise, weights
from lamella.testing.packs import ONE_THREAD, Content, changed, write_pack

ROOT = weights(900, 2, 1)
MIDDLE = changed(ROOT, 300) + weights(100, 2, 2)
TIP = changed(MIDDLE[:1500], 200)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp("chain")
    (directory / "packs").mkdir()
    contents = [Content(ROOT, 2), Content(MIDDLE, 2, ROOT, 1), Content(TIP, 2, MIDDLE, 2), Content(b"", 2)]
    write_pack(directory / "packs", contents)
    with ObjectStore(directory, ONE_THREAD) as opened:
        yield opened


@pytest.mark.parametrize("content", [ROOT, MIDDLE, TIP, b""], ids=len)
def test_a_whole_object_is_what_was_stored(store, content):
    chain = store.open(digest(content))
    assert chain.read() == content
    assert chain.head.nbytes == len(content)


@given(st.sampled_from([ROOT, MIDDLE, TIP, b""]), st.integers(0, 2100), st.one_of(st.none(), st.integers(-5, 2100)))
def test_any_range_is_what_slicing_gives(store, content, start, stop):
    expected = content[start:stop] if stop is None or stop >= 0 else b""
    assert store.open(digest(content)).read(start, stop) == expected


def test_a_range_that_begins_before_the_object_is_refused(store):
    with pytest.raises(UsageError):
        store.open(digest(TIP)).read(-1, 5)


def test_a_chain_knows_its_bases_nearest_first(store):
    chain = store.open(digest(TIP))
    assert [head.id for head in chain.bases] == [digest(MIDDLE), digest(ROOT)]
    heads = [chain.head, *chain.bases]
    assert chain.delta_nbytes == sum(head.payload_nbytes for head in heads[:-1])
    assert store.open(digest(ROOT)).delta_nbytes == 0


def test_stripes_cover_the_chunks_once_in_order(store):
    for content in (ROOT, MIDDLE, TIP, b""):
        chain = store.open(digest(content))
        stripes = list(chain.stripes())
        assert stripes[0][0] == 0
        assert stripes[-1][1] == len(chain.head.rows)
        assert all(left[1] == right[0] for left, right in itertools.pairwise(stripes))
        assert b"".join(chain.decode(first, last) for first, last in stripes) == content


def hand_made(tmp_path: Path, *records: tuple[bytes, Head, list[tuple[int, bytes]]]) -> ObjectStore:
    (tmp_path / "packs").mkdir()
    with PackWriter(tmp_path / "packs") as writer:
        for _, head, chunks in records:
            writer.add(head, chunks)
        writer.publish()
    return ObjectStore(tmp_path, ONE_THREAD)


def head_of(identity: ObjectId, nbytes: int, base: ObjectId | None = None, depth: int = 0) -> Head:
    return Head(identity, base, depth, 1, 6, nbytes, 0, ())


def kind_of(store: ObjectStore, identity: ObjectId, start: int = 0, stop: int | None = None) -> str:
    with store, pytest.raises(IntegrityError) as caught:
        store.open(identity).read(start, stop)
    return caught.value.kind


def test_a_chunk_that_leans_on_nothing_is_refused(tmp_path):
    data = bytes(100)
    store = hand_made(tmp_path, (data, head_of(digest(data), 100), [(0, bytes(64)), (3, b"")]))
    assert kind_of(store, digest(data)) == "base-mismatch"


def test_a_chunk_that_leans_on_a_chunk_the_base_lacks_is_refused(tmp_path):
    data, base = bytes(100), b"x" * 64
    store = hand_made(
        tmp_path,
        (base, head_of(digest(base), 64), [(0, base)]),
        (data, head_of(digest(data), 100, digest(base), 1), [(0, bytes(64)), (2, bytes(36))]),
    )
    assert kind_of(store, digest(data)) == "base-mismatch"


def test_a_chunk_that_leans_on_a_shorter_or_longer_chunk_is_refused(tmp_path):
    for number, length in enumerate((63, 40, 1)):
        (tmp_path / str(number)).mkdir()
        data, base = bytes(length), b"x" * 64
        store = hand_made(
            tmp_path / str(number),
            (base, head_of(digest(base), 64), [(0, base)]),
            (data, head_of(digest(data), length, digest(base), 1), [(3, b"")]),
        )
        assert kind_of(store, digest(data)) == "base-mismatch"


@pytest.mark.parametrize("code", [4, 77, 255])
def test_an_unknown_codec_is_refused(tmp_path, code):
    data = bytes(64)
    store = hand_made(tmp_path, (data, head_of(digest(data), 64), [(code, b"whatever")]))
    assert kind_of(store, digest(data)) == "payload-malformed"


@pytest.mark.parametrize("payload", [b"", b"\1", b"\2\1\0\0\0", noise(50, 1)], ids=len)
@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_a_payload_that_is_none_is_refused_or_decodes_to_what_the_id_refuses(tmp_path, code, payload):
    data, base = bytes(range(64)), noise(64, 2)
    store = hand_made(
        tmp_path,
        (base, head_of(digest(base), 64), [(0, base)]),
        (data, head_of(digest(data), 64, digest(base), 1), [(code, payload)]),
    )
    assert kind_of(store, digest(data)) in ("payload-malformed", "object-wrong-id")


def test_a_wrong_base_under_the_right_name_is_found_by_the_id(tmp_path):
    data, base = changed(noise(64, 2), 50), noise(64, 2)
    other = write_pack(tmp_path, [Content(data, 1, base, 1)])
    (tmp_path / "packs").mkdir()
    (tmp_path / other.name).rename(tmp_path / "packs" / other.name)
    with PackWriter(tmp_path / "packs") as writer:
        writer.add(head_of(digest(base), 64), [(0, noise(64, 3))])
        writer.publish()
    assert kind_of(ObjectStore(tmp_path, ONE_THREAD), digest(data)) == "object-wrong-id"
