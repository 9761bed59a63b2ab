"""Models in plain files, in memory and in the store: one face."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy
import pytest

from lamella.core.errors import FormatError, IntegrityError, NotFoundError, UsageError
from lamella.formats.file import BytesFile
from lamella.repo.arraymodel import ArrayModel
from lamella.repo.checkin import check_in
from lamella.repo.joined_model import joined
from lamella.repo.loaded import LoadedModel
from lamella.repo.model_files import model_on_disk
from lamella.repo.snapshot import Snapshot
from lamella.repo.stored_model_file import StoredModelFile
from lamella.store.objects import ObjectStore
from lamella.testing.models import model, spec, values

SPECS = [spec("wide", 300, 7000), spec("half", 5, dtype="bf16"), spec("none", 0, 3), spec("one", dtype="i64")]
DATA = model(SPECS, note="kept")


def on_disk(path: Path) -> LoadedModel:
    model, closing = model_on_disk(path, str(path), no_store, 1), ExitStack()
    closing.callback(model.close)
    return LoadedModel(model, closing)


def no_store() -> ObjectStore:
    raise NotFoundError("no store is needed", kind="object-missing")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(DATA)
    return path


@pytest.fixture(params=["file", "stored", "arrays"])
def source(request, path, tmp_path):
    if request.param == "file":
        with on_disk(path) as opened:
            yield opened
    else:
        with ObjectStore(tmp_path / "store", create=True) as store:
            manifest = check_in(store, BytesFile(DATA), ()).manifest
            stored = LoadedModel(joined("HEAD:model.safetensors", [StoredModelFile("m", manifest, lambda: store)], ()))
            yield stored if request.param == "stored" else ArrayModel(stored)


def test_every_source_lists_reads_and_streams_the_same(source, path):
    assert source.specs() == SPECS
    for one in SPECS:
        assert source.read(one.name) == values(one)
        assert source.read(one.name, 3, 5) == values(one)[3:5]
        assert source.read(one.name, 1, 1 << 40) == values(one)[1:]
    order = [SPECS[number] for number in (2, 3, 0, 1, 2)]
    streamed = [b"".join(map(bytes, pieces)) for pieces in source.stream([one.name for one in order])]
    assert streamed == [values(one) for one in order]
    assert all(len(piece) <= 1 << 23 for pieces in source.stream(["wide"]) for piece in pieces)
    with on_disk(path) as opened:
        assert source.model_id == opened.model_id


def test_a_tensor_that_is_not_there_is_no_tensor(source):
    with pytest.raises(NotFoundError) as caught:
        source.read("nothing")
    assert caught.value.kind == "tensor-unknown"
    with pytest.raises(NotFoundError):
        list(source.stream(["nothing"]))


def test_a_file_and_what_is_stored_of_it_say_the_same(source, path):
    if isinstance(source, ArrayModel):
        assert (source.files, source.metadata()) == (0, {})
        with pytest.raises(UsageError, match="in no file"):
            source.file_pieces()
        return
    assert b"".join(map(bytes, source.file_pieces())) == DATA
    assert source.metadata() == {"note": "kept"}
    assert source.format == "safetensors"


def test_a_file_is_a_mapping_of_arrays(path):
    with on_disk(path) as opened:
        assert list(opened) == [one.name for one in SPECS]
        assert len(opened) == len(SPECS)
        assert "wide" in opened
        assert "nothing" not in opened
        assert opened["one"].tobytes() == values(SPECS[3])
        assert opened["wide"].flags.writeable
        assert repr(opened) == f"<LoadedModel {path}: 4 tensors in 1 files>"
        with pytest.raises(UsageError):
            opened.read("wide", -1)
        with pytest.raises(KeyError):
            opened["nothing"]


def test_a_file_of_no_format_has_no_tensors(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"text")
    with on_disk(tmp_path / "notes.txt") as opened:
        assert (dict(opened), opened.format, opened.metadata()) == ({}, "opaque", {})
        assert b"".join(opened.file_pieces()) == b"text"


def test_a_file_that_lies_is_refused(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(DATA[:-1])
    with pytest.raises(FormatError):
        on_disk(tmp_path / "cut.safetensors")


def test_a_file_that_is_not_there_is_a_fault(tmp_path):
    with pytest.raises(NotFoundError, match="there is no file"):
        on_disk(tmp_path / "gone")


def test_a_damaged_tensor_ends_a_stream_with_a_fault(tmp_path):
    with ObjectStore(tmp_path / "store", create=True) as store:
        manifest = check_in(store, BytesFile(DATA), ()).manifest
    (pack,) = (tmp_path / "store" / "packs").glob("*.pack")
    content = bytearray(pack.read_bytes())
    content[4_000_000] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    with ObjectStore(tmp_path / "store") as store, pytest.raises(IntegrityError):
        for pieces in Snapshot(store, manifest, "HEAD:m").stream(["one", "wide"]):
            for _ in pieces:
                pass


def test_arrays_are_lent_and_not_copied():
    array = numpy.arange(3)
    read = ArrayModel({"a": array}).read("a")
    array[0] = 9
    assert bytes(read) == array.tobytes()
    with pytest.raises(UsageError):
        ArrayModel({"a": numpy.array(["text"])})
