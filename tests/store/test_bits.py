"""Every changed bit of a pack is found, and hits exactly the objects that it lies in or below."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.core.errors import IntegrityError
from lamella.core.ids import digest
from lamella.store.check import check_store
from lamella.store.objects import ObjectStore
from lamella.testing.packs import ONE_THREAD, Content, Sample, check_flip, one_of_everything, write_pack


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    (tmp_path / "packs").mkdir()
    # With its place taken the index lies in memory, which saves thousands of flushes.
    (tmp_path / "index.db").mkdir()
    return write_pack(tmp_path / "packs", [*one_of_everything(), Content(b"")])


@pytest.mark.parametrize("share", range(4))
def test_a_flipped_bit_is_found_and_hits_what_the_report_names(sample, tmp_path, share):
    """A bit of every byte of payload and two of any other; `scripts/prove_bits.py` flips each bit of a larger pack."""
    payload = {at for one in sample.entries for at in range(one.offset + one.head_nbytes, one.offset + one.nbytes)}
    wrong = []
    for offset in range(share, len(sample.data), 4):
        bits = (offset // 4 % 8, (offset // 4 + 3) % 8)
        for bit in bits[: 1 if offset in payload else 2]:
            wrong += check_flip(tmp_path, sample, 8 * offset + bit)
    assert wrong == []


def test_the_sample_has_one_of_everything(sample):
    assert len(sample.contents) == 10
    assert len(sample.leans_on) == 5
    assert {entry.depth for entry in sample.entries} == {0, 1, 2, 3}
    assert len(sample.hit_by(sample.entries[0].offset)) == 5
    assert sample.hit_by(0) == sample.hit_by(len(sample.data) - 1) == set()


def test_a_pack_cut_at_any_byte_gives_what_is_whole_and_wrong_bytes_never(sample, tmp_path):
    path = tmp_path / "packs" / sample.name
    for nbytes in range(0, len(sample.data), 5):
        path.write_bytes(sample.data[:nbytes])
        whole = {entry.id for entry in sample.entries if entry.offset + entry.nbytes <= nbytes}
        while broken := {one for one in whole if not whole.issuperset(sample.leans_on.get(one, ()))}:
            whole -= broken
        with ObjectStore(tmp_path, ONE_THREAD) as store:
            checked = check_store(store)
            assert checked.damage
            for identity, content in sample.contents.items():
                if identity in whole:
                    assert store.read(identity) == content
                else:
                    with pytest.raises((IntegrityError, LookupError)):
                        store.read(identity)


def test_a_zeroed_sector_hits_only_what_lies_in_it(sample, tmp_path):
    path = tmp_path / "packs" / sample.name
    for start in range(0, len(sample.data), 512):
        hit = set().union(*(sample.hit_by(at) for at in range(start, min(start + 512, len(sample.data)))))
        path.write_bytes(sample.data[:start] + bytes(512) + sample.data[start + 512 :])
        with ObjectStore(tmp_path, ONE_THREAD) as store:
            assert check_store(store).damage
            for identity, content in sample.contents.items():
                if identity not in hit:
                    assert store.read(identity) == content
                else:
                    with pytest.raises((IntegrityError, LookupError)):
                        store.read(identity)


def test_two_payloads_that_changed_places_are_found(tmp_path):
    (tmp_path / "packs").mkdir()
    sample = write_pack(
        tmp_path / "packs", [Content(b"a" * 40 + bytes(range(60))), Content(b"b" * 40 + bytes(range(60)))]
    )
    one, other = sample.entries
    data = bytearray(sample.data)
    data[one.offset : one.offset + one.nbytes], data[other.offset : other.offset + other.nbytes] = (
        data[other.offset : other.offset + other.nbytes],
        data[one.offset : one.offset + one.nbytes],
    )
    assert one.nbytes == other.nbytes
    (tmp_path / "packs" / sample.name).write_bytes(data)
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        checked = check_store(store)
        assert {fault.object for fault in checked.damage} == set(sample.contents)


def test_an_object_that_decodes_to_other_bytes_is_found_although_every_checksum_is_right(tmp_path):
    (tmp_path / "packs").mkdir()
    write_pack(tmp_path / "packs", [Content(b"right", identity=digest(b"wrong"))])
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        assert check_store(store).unreadable == {digest(b"wrong")}
        assert check_store(store, decode=False).unreadable == frozenset()
        with pytest.raises(IntegrityError) as caught:
            store.read(digest(b"wrong"))
        assert caught.value.kind == "object-wrong-id"
