"""Packs made to harm: whatever they say, reading ends soon, in bounded memory, in IntegrityError or the right bytes."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from lamella.core.errors import FormatError, IntegrityError, NotFoundError
from lamella.core.ids import check, digest
from lamella.core.limits import MAX_CHUNK_SHIFT, MIB
from lamella.store.check import check_store, salvage
from lamella.store.gc import collect
from lamella.store.objects import ObjectStore
from lamella.store.pack import END_MAGIC, ENTRY, FOOTER, HEADER, PackWriter, pack_header, pack_name
from lamella.store.reader import stream_objects, verify_object
from lamella.store.record import FIXED, HEAD_CHECK_NBYTES, MAGIC, ROW, Head
from lamella.testing.packs import ONE_THREAD, Content, Sample, one_of_everything, write_pack


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_pack(tmp_path_factory.mktemp("sample"), [*one_of_everything(), Content(b"")])


def sealed_pack(records: list[bytes]) -> tuple[str, bytes]:
    """Return the name and bytes of a pack of `records`, with a directory that believes what their heads say."""
    directory, offset = bytearray(), HEADER.size
    for data in records:
        _, head_nbytes, _, depth, _, _, _, _, identity, _, _, _ = FIXED.unpack_from(data)
        head_nbytes = min(head_nbytes, len(data))
        directory += ENTRY.pack(
            identity, offset, len(data) - head_nbytes, head_nbytes, depth, data[head_nbytes - HEAD_CHECK_NBYTES :][:8]
        )
        offset += len(data)
    footer = FOOTER.pack(offset, len(records), digest(directory), END_MAGIC)
    return pack_name(directory), pack_header() + b"".join(records) + directory + footer


def resealed(data: bytearray, head_nbytes: int) -> bytes:
    """Return a record with right checksums of whatever its head and payload are now."""
    offset = head_nbytes
    for at in range(FIXED.size, head_nbytes - HEAD_CHECK_NBYTES, ROW.size):
        code, nbytes, _ = ROW.unpack_from(data, at)
        ROW.pack_into(data, at, code, nbytes, check(data[offset : offset + nbytes]))
        offset += nbytes
    body = bytes(data[: head_nbytes - HEAD_CHECK_NBYTES])
    return body + check(body, HEAD_CHECK_NBYTES) + bytes(data[head_nbytes:])


def read_everything(directory: Path, sample: Sample) -> int:
    """Read all that the store knows in every way, and return how many objects were what they are called."""
    sound = 0
    with ObjectStore(directory, ONE_THREAD) as store:
        checked = check_store(store)
        for identity in {*sample.contents, *checked.unreadable}:
            try:
                data = store.read(identity)
            except (IntegrityError, NotFoundError):
                continue
            assert digest(data) == identity
            sound += 1
        with contextlib.suppress(IntegrityError, NotFoundError):
            list(stream_objects(store, sample.contents))
        with contextlib.suppress(IntegrityError):
            collect(store, lambda: set(sample.contents), dry_run=True)
        salvage(store, [])
        assert check_store(store).damage == ()
    return sound


@pytest.mark.parametrize("seed", range(4))
def test_records_that_lie_under_right_checksums_give_no_wrong_bytes(sample, tmp_path, seed):
    choices = random.Random(seed)
    for number in range(50):
        directory = tmp_path / str(number)
        (directory / "packs").mkdir(parents=True)
        records = []
        for entry in sample.entries:
            data = bytearray(sample.data[entry.offset : entry.offset + entry.nbytes])
            if choices.random() < 0.5:
                for _ in range(choices.choice((1, 1, 2, 5))):
                    at = choices.choice(
                        (
                            choices.randrange(12, FIXED.size),
                            choices.randrange(12, entry.head_nbytes),
                            choices.randrange(len(data)),
                        )
                    )
                    data[at] = choices.choice((0, 1, 0x7F, 0x80, 0xFF, choices.randrange(256)))
                records.append(resealed(data, entry.head_nbytes))
            else:
                records.append(bytes(data))
        name, data = sealed_pack(records)
        (directory / "packs" / name).write_bytes(data)
        assert read_everything(directory, sample) <= len(sample.contents)


@pytest.mark.parametrize("seed", range(4))
def test_packs_of_scattered_damage_give_no_wrong_bytes(sample, tmp_path, seed):
    choices = random.Random(seed)
    for number in range(60):
        directory = tmp_path / str(number)
        (directory / "packs").mkdir(parents=True)
        data = bytearray(sample.data)
        for _ in range(choices.randint(1, 12)):
            at = choices.randrange(len(data))
            match choices.randrange(5):
                case 0:
                    data[at : at + 1] = choices.randbytes(1)
                case 1:
                    data[at:at] = choices.randbytes(choices.randint(1, 20))
                case 2:
                    del data[at : at + choices.randint(1, 20)]
                case 3:
                    data[at:at] = MAGIC + choices.randrange(120, 4000).to_bytes(4, "little")
                case 4:
                    data[at : at + 64] = data[: len(data[at : at + 64])]
        (directory / "packs" / sample.name).write_bytes(data)
        assert read_everything(directory, sample) <= len(sample.contents)


def test_a_small_pack_that_decodes_to_much_is_read_in_bounded_memory(tmp_path):
    (tmp_path / "packs").mkdir()
    chunks, payload = 48, b"\2\1\0\0\0\0"
    nbytes = chunks << MAX_CHUNK_SHIFT
    with PackWriter(tmp_path / "packs") as writer:
        writer.add(Head(digest(b"?"), None, 0, 1, MAX_CHUNK_SHIFT, nbytes, 0, ()), [(1, payload)] * chunks)
        name = writer.publish()
    assert (tmp_path / "packs" / name).stat().st_size < 2000
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        tracemalloc.start()
        with pytest.raises(IntegrityError) as caught:
            verify_object(store, digest(b"?"))
        peak_nbytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert caught.value.kind == "object-wrong-id"
    assert peak_nbytes < 24 * MIB < nbytes


def test_a_chunk_larger_than_any_that_is_written_is_refused(tmp_path):
    (tmp_path / "packs").mkdir()
    with PackWriter(tmp_path / "packs") as writer:
        writer.add(Head(digest(b"?"), None, 0, 8, MAX_CHUNK_SHIFT + 1, 8 << 21, 0, ()), [(1, b"\2\1\0\0\0\0" * 8)])
        writer.publish()
    with ObjectStore(tmp_path, ONE_THREAD) as store, pytest.raises(IntegrityError):
        store.open(digest(b"?"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100_000,
        pack_header(),
        pack_header() * 1_000,
        pack_header() + FOOTER.pack(HEADER.size, 1 << 40, digest(b""), END_MAGIC),
        pack_header() + FOOTER.pack((1 << 64) - 1, (1 << 64) - 1, digest(b""), END_MAGIC),
        pack_header() + (MAGIC + b"\0\0\0\x20") * 8_000,
        pack_header() + (MAGIC + b"\x78\0\0\0") * 8_000,
        pack_header() + MAGIC * 10_000,
    ],
    ids=["empty", "zeros", "header", "headers", "2^40 entries", "2^64 entries", "huge heads", "tiny heads", "magics"],
)
def test_a_file_that_only_looks_like_a_pack_is_damage_found_fast(tmp_path, data):
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "hostile.pack").write_bytes(data)
    good = write_pack(tmp_path / "packs", [Content(b"good")])
    began = time.perf_counter()
    tracemalloc.start()
    with ObjectStore(tmp_path, ONE_THREAD) as store:
        checked = check_store(store)
        assert [(fault.pack, fault.kind) for fault in checked.damage] == [("hostile.pack", "pack-damaged")]
        assert store.read(digest(b"good")) == b"good"
        with pytest.raises(IntegrityError):
            collect(store, set)
        salvage(store, [])
        assert store.index.pack_names() == {good.name}
    peak_nbytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.perf_counter() - began < 5
    assert peak_nbytes < 8 * MIB


def test_a_newer_version_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "packs").mkdir()
    body = HEADER.pack(b"LamPack\n", 7, 0, bytes(4))[:-4]
    (tmp_path / "packs" / "newer.pack").write_bytes(body + check(body, 4))
    with pytest.raises(FormatError):
        ObjectStore(tmp_path, ONE_THREAD)
    assert [path.name for path in (tmp_path / "packs").iterdir()] == ["newer.pack"]
