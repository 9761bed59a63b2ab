"""A pack: what is put in comes out, its name and directory cannot lie, and its records are found without them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lamella.core.errors import BackendError, FormatError, IntegrityError, NotFoundError, UsageError
from lamella.core.ids import check, digest
from lamella.store import pack as packs
from lamella.store.pack import END_MAGIC, ENTRY, FOOTER, HEADER, Entry, PackReader, PackWriter, pack_header, pack_name
from lamella.store.reader import verify_record
from lamella.store.record import Head
from lamella.testing.faults import changes_of
from lamella.testing.packs import Content, Sample, one_of_everything, write_pack


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return write_pack(tmp_path, [*one_of_everything(), Content(b"")])


def refused(path: Path) -> IntegrityError:
    with pytest.raises(IntegrityError) as caught:
        PackReader(path).entries()
    assert caught.value.kind == "pack-damaged"
    assert path.name in caught.value.message
    return caught.value


def framed(tmp_path: Path, records: bytes, entries: list[Entry], **footer: int | bytes) -> Path:
    """Write a pack by hand, under the name that its directory asks for."""
    directory = b"".join(ENTRY.pack(e.id, e.offset, e.payload_nbytes, e.head_nbytes, e.depth, e.check) for e in entries)
    values = {
        "offset": HEADER.size + len(records),
        "count": len(entries),
        "digest": digest(directory),
        "magic": END_MAGIC,
    }
    path = tmp_path / pack_name(directory)
    path.write_bytes(pack_header() + records + directory + FOOTER.pack(*(values | footer).values()))
    return path


def test_a_pack_lists_its_records_in_file_order(sample, tmp_path):
    pack = PackReader(tmp_path / sample.name)
    entries = pack.entries()
    assert tuple(entries) == sample.entries
    assert [entry.id for entry in entries] == list(sample.contents)
    assert [pack.head(entry).id for entry in entries] == list(sample.contents)
    for entry in entries:
        verify_record(pack, entry)


def test_the_records_fill_a_pack_from_header_to_directory(sample):
    position = HEADER.size
    for entry in sample.entries:
        assert entry.offset == position
        position += entry.nbytes
    assert position + ENTRY.size * len(sample.entries) + FOOTER.size == len(sample.data)


def test_the_name_of_a_pack_follows_from_its_directory(sample):
    directory = sample.data[-FOOTER.size - ENTRY.size * len(sample.entries) : -FOOTER.size]
    assert sample.name == pack_name(directory) == check(directory, 20).hex() + ".pack"


def test_a_pack_under_another_name_is_refused(sample, tmp_path):
    other = tmp_path / f"{'0' * 40}.pack"
    (tmp_path / sample.name).rename(other)
    refused(other)


def test_a_pack_without_objects_is_a_pack(tmp_path):
    with PackWriter(tmp_path) as writer:
        name = writer.publish()
    assert PackReader(tmp_path / name).entries() == []


def test_a_pack_cut_anywhere_is_refused(sample, tmp_path):
    path = tmp_path / sample.name
    for nbytes in range(len(sample.data)):
        path.write_bytes(sample.data[:nbytes])
        refused(path)


@pytest.mark.parametrize("garbage", [b"\0", b"LamEnd\n\0", bytes(FOOTER.size), bytes(4096)], ids=len)
def test_bytes_behind_the_footer_are_refused(sample, tmp_path, garbage):
    path = tmp_path / sample.name
    path.write_bytes(sample.data + garbage)
    refused(path)


def test_a_second_footer_is_refused(sample, tmp_path):
    path = tmp_path / sample.name
    path.write_bytes(sample.data + sample.data[-FOOTER.size :])
    refused(path)


@pytest.mark.parametrize(
    "footer",
    [
        {"count": 1 << 40},
        {"count": (1 << 64) - 1},
        {"count": 0},
        {"offset": 0},
        {"offset": (1 << 64) - 1},
        {"offset": (1 << 64) - 2 * ENTRY.size},
        {"digest": bytes(32)},
        {"magic": b"LamEnd\n\1"},
    ],
    ids=str,
)
def test_a_footer_that_lies_is_refused(sample, tmp_path, footer):
    records = sample.data[HEADER.size : sample.entries[-1].offset + sample.entries[-1].nbytes]
    refused(framed(tmp_path, records, list(sample.entries), **footer))


@pytest.mark.parametrize("change", ["gap", "overlap", "order", "twice", "huge", "missing", "headless", "nothing"])
def test_a_directory_that_lies_under_a_right_digest_is_refused(sample, tmp_path, change):
    entries = list(sample.entries)
    first, second = entries[0], entries[1]
    lies = {
        "gap": [Entry(first.id, first.offset + 1, *_rest(first))],
        "overlap": [first, Entry(second.id, second.offset - 1, *_rest(second))],
        "order": [second, first],
        "twice": [first, first],
        "huge": [Entry(first.id, first.offset, (1 << 64) - 1, first.head_nbytes, 0, first.check)],
        "missing": [first],
        "headless": [Entry(first.id, first.offset, first.nbytes, 0, 0, first.check), *entries[1:]],
        "nothing": [Entry(first.id, first.offset, 0, 0, 0, first.check), *entries],
    }
    records = sample.data[HEADER.size : entries[-1].offset + entries[-1].nbytes]
    refused(framed(tmp_path, records, lies[change]))


def _rest(entry: Entry) -> tuple[int, int, int, bytes]:
    return entry.payload_nbytes, entry.head_nbytes, entry.depth, entry.check


def test_an_entry_that_names_another_object_than_its_record_is_refused(sample, tmp_path):
    first = sample.entries[0]
    records = sample.data[first.offset : first.offset + first.nbytes]
    for lie in (
        Entry(digest(b"another"), first.offset, *_rest(first)),
        Entry(first.id, first.offset, first.payload_nbytes, first.head_nbytes, 1, first.check),
        Entry(first.id, first.offset, first.payload_nbytes, first.head_nbytes, 0, bytes(8)),
        Entry(first.id, first.offset, first.payload_nbytes - 1, first.head_nbytes + 1, 0, first.check),
    ):
        pack = PackReader(framed(tmp_path, records, [lie]))
        (entry,) = pack.entries()
        with pytest.raises(IntegrityError) as caught:
            pack.head(entry)
        assert caught.value.kind == "object-damaged"


@pytest.mark.parametrize("change", ["long", "short", "behind", "payload"])
def test_an_entry_that_reaches_out_of_its_pack_or_names_no_head_is_refused_unread(
    sample, tmp_path, monkeypatch, change
):
    pack, first = PackReader(tmp_path / sample.name), sample.entries[0]
    monkeypatch.setattr(os, "pread", None)
    lies = {
        "long": first._replace(head_nbytes=packs.MAX_HEAD_NBYTES + 1),
        "short": first._replace(head_nbytes=0),
        "behind": first._replace(offset=pack.nbytes - 10),
        "payload": first._replace(payload_nbytes=pack.nbytes),
    }
    with pytest.raises(IntegrityError) as caught:
        pack.head(lies[change])
    assert caught.value.kind == "object-damaged"


@pytest.mark.parametrize(("version", "flags"), [(2, 0), (0, 0), (65535, 0), (1, 1)])
def test_a_pack_of_another_version_is_refused_by_that_name(sample, tmp_path, version, flags):
    body = HEADER.pack(packs.MAGIC, version, flags, bytes(4))[:-4]
    path = tmp_path / sample.name
    path.write_bytes(body + check(body, 4) + sample.data[HEADER.size :])
    with pytest.raises(FormatError) as caught:
        PackReader(path).entries()
    assert caught.value.kind == "pack-version"
    assert caught.value.hint == "upgrade lamella"


def test_a_flipped_bit_of_the_version_is_damage_and_not_another_version(sample, tmp_path):
    path = tmp_path / sample.name
    for bit in range(8 * HEADER.size):
        data = bytearray(sample.data)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        refused(path)


def test_a_missing_pack_is_not_found(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        PackReader(tmp_path / "none.pack")
    assert caught.value.kind == "pack-missing"


def test_a_sector_that_the_disk_cannot_read_is_damage(sample, tmp_path, monkeypatch):
    pack = PackReader(tmp_path / sample.name)

    def pread(fd: int, nbytes: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(IntegrityError) as caught:
        pack.entries()
    assert caught.value.kind == "pack-damaged"


def test_another_fault_of_reading_is_the_systems(sample, tmp_path, monkeypatch):
    pack = PackReader(tmp_path / sample.name)

    def pread(fd: int, nbytes: int, offset: int) -> bytes:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(BackendError):
        pack.entries()


def test_short_reads_are_continued(sample, tmp_path, monkeypatch):
    pack, whole = PackReader(tmp_path / sample.name), os.pread
    monkeypatch.setattr(os, "pread", lambda fd, nbytes, offset: whole(fd, min(nbytes, 7), offset))
    assert tuple(pack.entries()) == sample.entries


def test_reads_outside_the_pack_are_refused(sample, tmp_path):
    pack = PackReader(tmp_path / sample.name)
    for offset, nbytes in ((0, pack.nbytes + 1), (pack.nbytes, 1), (-1, 1), (0, -1), (1 << 70, 1)):
        with pytest.raises(IntegrityError):
            pack.read_at(offset, nbytes)


def test_a_pack_closes_its_file_when_it_is_dropped(sample, tmp_path):
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    for _ in range(20):
        assert PackReader(tmp_path / sample.name).entries()
    after = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    assert len(after) <= len(before)


def test_a_pack_that_was_removed_is_still_read_by_who_has_it_open(sample, tmp_path):
    pack = PackReader(tmp_path / sample.name)
    (tmp_path / sample.name).unlink()
    assert tuple(pack.entries()) == sample.entries


def test_a_copied_record_is_the_same_bytes(sample, tmp_path):
    source = PackReader(tmp_path / sample.name)
    with PackWriter(tmp_path) as writer:
        for entry in reversed(sample.entries):
            writer.copy(source, entry)
        name = writer.publish()
    copy = PackReader(tmp_path / name)
    for old, new in zip(reversed(sample.entries), copy.entries(), strict=True):
        assert copy.read_at(new.offset, new.nbytes) == source.read_at(old.offset, old.nbytes)


def test_a_pack_that_is_not_published_leaves_nothing(tmp_path):
    with PackWriter(tmp_path) as writer:
        writer.add(Head(digest(b"x"), None, 0, 1, 16, 1, 0, ()), [(0, b"x")])
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_are_flushed_before_the_name_and_the_name_before_the_end(tmp_path):
    def write() -> None:
        with PackWriter(tmp_path) as writer:
            writer.add(Head(digest(b"x"), None, 0, 1, 16, 1, 0, ()), [(0, b"x")])
            writer.publish()

    operations = [operation for operation, _ in changes_of(write)]
    assert operations == ["create", "write", "write", "fsync", "rename", "fsync-directory"]


def test_a_wrong_number_of_chunks_is_refused_while_writing(tmp_path):
    with PackWriter(tmp_path) as writer, pytest.raises(ValueError, match="2 chunks given for an object of 1"):
        writer.add(Head(digest(b"x"), None, 0, 1, 16, 1, 0, ()), [(0, b"x"), (0, b"y")])


def test_what_no_reader_would_accept_is_not_written(tmp_path, monkeypatch):
    with PackWriter(tmp_path) as writer, pytest.raises(UsageError, match="too large"):
        writer.add(Head(digest(b"x"), None, 0, 1, 16, 1 << 62, 0, ()), [])
    monkeypatch.setattr(packs, "MAX_PACK_OBJECTS", 1)
    with PackWriter(tmp_path) as writer:
        writer.add(Head(digest(b"x"), None, 0, 1, 16, 1, 0, ()), [(0, b"x")])
        with pytest.raises(UsageError, match="at most 1 objects"):
            writer.add(Head(digest(b"y"), None, 0, 1, 16, 1, 0, ()), [(0, b"y")])
    assert list(tmp_path.iterdir()) == []


def test_a_head_in_front_of_a_long_payload_is_written_when_it_is_known(tmp_path):
    chunks = [bytes([number]) * 65536 for number in range(40)]
    data = b"".join(chunks)
    with PackWriter(tmp_path) as writer:
        for repeat in range(2):
            content = data + bytes([repeat])
            head = Head(digest(content), None, 0, 1, 16, len(content), 0, ())
            writer.add(head, [*((0, chunk) for chunk in chunks), (0, bytes([repeat]))])
        name = writer.publish()
    pack = PackReader(tmp_path / name)
    for entry in pack.entries():
        verify_record(pack, entry)
