"""Records are found without a directory: all that are sound, none that is not, in bounded time."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from lamella.core.ids import ObjectId, digest
from lamella.store import scan as scanning
from lamella.store.pack import FOOTER, HEADER, PackReader, PackWriter
from lamella.store.record import MAGIC, MAX_HEAD_NBYTES, Head
from lamella.store.scan import scan, survey
from lamella.testing.codecs import noise
from lamella.testing.packs import Content, Sample, one_of_everything, write_pack


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return write_pack(tmp_path, [*one_of_everything(), Content(b"")])


def found(tmp_path: Path, name: str, data: bytes) -> list[ObjectId]:
    (tmp_path / name).write_bytes(data)
    return [entry.id for entry in scan(PackReader(tmp_path / name))]


def test_a_scan_of_a_sound_pack_finds_what_its_directory_lists(sample, tmp_path):
    pack = PackReader(tmp_path / sample.name)
    assert tuple(scan(pack)) == sample.entries
    assert survey(pack) == (list(sample.entries), None)


def test_without_footer_and_directory_every_record_is_found(sample, tmp_path):
    records = sample.data[: sample.entries[-1].offset + sample.entries[-1].nbytes]
    (tmp_path / sample.name).write_bytes(records)
    entries, damage = survey(PackReader(tmp_path / sample.name))
    assert tuple(entries) == sample.entries
    assert damage is not None
    assert damage.kind == "pack-damaged"


def test_a_pack_cut_anywhere_still_gives_every_record_whose_head_is_there(sample, tmp_path):
    for nbytes in range(0, len(sample.data), 3):
        expected = [entry.id for entry in sample.entries if entry.offset + entry.head_nbytes <= nbytes]
        assert found(tmp_path, sample.name, sample.data[:nbytes]) == expected


@pytest.mark.parametrize("victim", range(8))
def test_a_damaged_head_costs_that_record_alone(sample, tmp_path, victim):
    entry = sample.entries[victim]
    others = [other.id for other in sample.entries if other is not entry]
    for at in (0, 7, 8, 9, 10, 11, 12, 20, 60, entry.head_nbytes - 1):
        data = bytearray(sample.data)
        data[entry.offset + at] ^= 0x41
        assert found(tmp_path, sample.name, bytes(data)) == others


@pytest.mark.parametrize("gone", [1, 2, 5, 100])
def test_bytes_lost_or_added_inside_a_payload_cost_no_other_record(sample, tmp_path, gone):
    entry = sample.entries[0]
    at = entry.offset + entry.head_nbytes + 50
    everything = [other.id for other in sample.entries]
    assert found(tmp_path, sample.name, sample.data[:at] + sample.data[at + gone :]) == everything
    assert found(tmp_path, sample.name, sample.data[:at] + bytes(gone) + sample.data[at:]) == everything


def test_a_payload_that_is_itself_a_pack_hides_nothing(tmp_path):
    inner = write_pack(tmp_path, one_of_everything())
    outer = write_pack(tmp_path, [Content(inner.data + noise(50, 9)), Content(b"behind")])
    assert [entry.id for entry in scan(PackReader(tmp_path / outer.name))] == list(outer.contents)
    data = bytearray(outer.data)
    data[outer.entries[0].offset] ^= 1
    assert set(found(tmp_path, outer.name, bytes(data))) <= {*inner.contents, *outer.contents}
    assert digest(b"behind") in found(tmp_path, outer.name, bytes(data))


def test_records_far_apart_are_found(tmp_path):
    big = noise(3_000_000, 3)
    sample = write_big(tmp_path, [big, b"small"])
    data = bytearray((tmp_path / sample).read_bytes())
    data[HEADER.size] ^= 1
    assert found(tmp_path, sample, bytes(data)) == [digest(b"small")]


def write_big(tmp_path: Path, contents: list[bytes]) -> str:
    with PackWriter(tmp_path) as writer:
        for data in contents:
            chunks = [data[at : at + 65536] for at in range(0, len(data), 65536)]
            writer.add(Head(digest(data), None, 0, 1, 16, len(data), 0, ()), ((0, chunk) for chunk in chunks))
        return writer.publish()


def test_a_magic_across_the_edge_of_a_window_is_found(tmp_path, sample):
    record = sample.data[sample.entries[0].offset :]
    for shift in range(-9, 2):
        filler = bytes(scanning.PAGE_NBYTES + shift - HEADER.size + 1)
        assert found(tmp_path, sample.name, sample.data[: HEADER.size] + filler + record)[0] == sample.entries[0].id


@pytest.mark.parametrize("length", [0, 120, 4096, 60_000, MAX_HEAD_NBYTES])
def test_false_heads_made_to_overlap_cost_bounded_time(tmp_path, length):
    data = (MAGIC + length.to_bytes(4, "little")) * 87_000
    began = time.perf_counter()
    assert found(tmp_path, "false.pack", data) == []
    assert time.perf_counter() - began < 5


def test_a_page_that_the_disk_cannot_read_costs_what_lies_in_it(tmp_path, monkeypatch):
    contents = [noise(3000, seed) for seed in range(12)]
    name = write_big(tmp_path, contents)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: -FOOTER.size])
    whole = os.pread

    def pread(fd: int, nbytes: int, offset: int) -> bytes:
        if offset < 16384 and offset + nbytes > 12288:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole(fd, nbytes, offset)

    pack = PackReader(tmp_path / name)
    everything = list(scan(pack))
    monkeypatch.setattr(os, "pread", pread)
    readable = [entry for entry in everything if not 12288 - entry.head_nbytes < entry.offset < 16384]
    assert list(scan(pack)) == readable
    assert 8 <= len(readable) < len(everything)


def test_scanning_anything_ends_and_raises_nothing(tmp_path):
    for seed in range(200):
        data = bytearray(noise(600, seed))
        for at in range(seed % 7 + 8, 590, 37 + seed % 11):
            data[at : at + 8] = MAGIC
        assert found(tmp_path, "noise.pack", bytes(data)) == []


def test_searches_in_vain_are_charged_and_cost_no_small_pack_a_record(tmp_path, monkeypatch):
    filler = (MAGIC + bytes(4)) * 1000
    sample = write_pack(tmp_path, [Content(b"x")])
    behind = sample.data[: HEADER.size] + filler + sample.data[HEADER.size :]
    assert found(tmp_path, sample.name, behind) == [digest(b"x")]
    monkeypatch.setattr(scanning, "ALLOWANCE_NBYTES", 0)
    assert found(tmp_path, sample.name, behind) == []
