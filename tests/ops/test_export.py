"""Models written as files of other containers: whole or not at all, and what the report says."""

from __future__ import annotations

import errno
import json
import tracemalloc
from pathlib import Path

import numpy
import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.errors import BackendError, IntegrityError, NotFoundError, UsageError
from lamella.core.progress import SILENT
from lamella.formats.safetensors.header import build_header
from lamella.ops.add import add
from lamella.ops.export import export
from lamella.ops.export_values import ExportOptions
from lamella.ops.load import load
from lamella.repo.arraymodel import ArrayModel
from lamella.repo.outgoing import Casting, Renaming
from lamella.testing.faults import power_cut, recorded, refused
from lamella.testing.models import LAYERS, model, network, spec, values

MODEL = "model.safetensors"
ODD = network("a note")


@pytest.fixture
def source(tmp_path):
    (tmp_path / MODEL).write_bytes(ODD)
    with load(tmp_path / MODEL) as opened:
        yield opened


def names(path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_a_model_in_a_container_of_its_own_is_restored_bit_for_bit(bench, tmp_path):
    bench.commit(MODEL, ODD)
    for name, options in (("out.safetensors", None), ("out.x", ExportOptions(format="safetensors"))):
        with load(f"HEAD:{MODEL}", repo=bench.root) as tensors:
            report = export(tensors, tmp_path / name, options)
        assert (tmp_path / name).read_bytes() == ODD
        assert (report.restored, report.tensors, report.model_id) == (True, len(LAYERS), tensors.model_id)


def test_a_file_of_no_format_is_restored_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"text")
    with load(tmp_path / "a.txt") as opened:
        assert export(opened, tmp_path / "b.txt").restored
        assert (tmp_path / "b.txt").read_bytes() == b"text"
        with pytest.raises(UsageError, match="no tensors"):
            export(opened, tmp_path / "b.pt")


@pytest.mark.parametrize("suffix", ["pt", "npz", "safetensors"])
def test_the_weights_are_the_same_in_another_container(source, tmp_path, suffix):
    report = export(source, tmp_path / f"out.{suffix}", ExportOptions(rename=[Renaming.parse("zzz=y")]))
    assert (report.model_id, report.tensors, report.loss, report.uncast) == (source.model_id, len(LAYERS), None, 0)
    assert report.nbytes == (tmp_path / f"out.{suffix}").stat().st_size


def test_metadata_go_along_and_are_added_to(source, tmp_path):
    export(source, tmp_path / "out.safetensors", ExportOptions(metadata={"more": "text"}))
    with load(tmp_path / "out.safetensors") as opened:
        assert opened.metadata() == {"note": "a note", "more": "text"}


def test_a_value_that_was_cut_for_reading_stays_behind(tmp_path):
    (tmp_path / MODEL).write_bytes(network("x" * 9000))
    with load(tmp_path / MODEL) as opened:
        export(opened, tmp_path / "out.safetensors", ExportOptions(select=["*"]))
    with load(tmp_path / "out.safetensors") as opened:
        assert opened.metadata() == {}


def test_a_cast_is_reported_with_its_loss(tmp_path):
    arrays = {"a": numpy.array([1, 1e9, -1e-9, numpy.nan], "f4"), "n": numpy.array([7])}
    options = ExportOptions(dtype=[Casting.parse("f16")])
    report = export(ArrayModel(arrays), tmp_path / "out.safetensors", options)
    loss = report.loss
    assert (loss.tensors, loss.elements, loss.changed, loss.overflows, loss.flushed, loss.nans) == (1, 4, 2, 1, 1, 1)
    assert (loss.max_relative, report.uncast) == (1, 1)
    with load(tmp_path / "out.safetensors") as opened:
        assert report.model_id == opened.model_id
        assert {one.name: one.dtype for one in opened.specs()} == {"a": DTYPES["f16"], "n": DTYPES["i64"]}


def test_shards_are_named_counted_and_indexed(source, tmp_path):
    report = export(source, tmp_path / "out.safetensors", ExportOptions(shard_nbytes=200))
    assert [file.tensors for file in report.files] == [2, 2, 2, 2]
    index = json.loads((tmp_path / "out.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": sum(one.nbytes for one in LAYERS)}
    found = {}
    for name in sorted(set(index["weight_map"].values())):
        with load(tmp_path / name) as opened:
            assert opened.metadata() == {"note": "a note"}
            found |= {one: (name, opened.read(one)) for one in opened}
    assert found == {one.name: (index["weight_map"][one.name], values(one)) for one in LAYERS}
    assert "out-00004-of-00004.safetensors" in names(tmp_path)
    with pytest.raises(UsageError, match="there already"):
        export(source, tmp_path / "out.safetensors", ExportOptions(shard_nbytes=200))


def test_a_model_that_fits_into_one_shard_is_one_file(source, tmp_path):
    export(source, tmp_path / "out.safetensors", ExportOptions(shard_nbytes=1 << 30))
    assert names(tmp_path) == [MODEL, "out.safetensors"]


def test_tensors_go_into_a_copy_of_a_template(source, tmp_path):
    (tmp_path / "template").write_bytes(network("other", layer_0_bias=1, layer_3_weight=1))
    options = ExportOptions(template=tmp_path / "template", select=["layer.0.*"])
    report = export(source, tmp_path / "out", options)
    assert (tmp_path / "out").read_bytes() == network("other", layer_3_weight=1)
    assert (report.format, report.tensors) == ("safetensors", 2)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (MODEL, ExportOptions(), "there already"),
        ("folder.pt", ExportOptions(force=True), "there already"),
        ("out.npz", ExportOptions(shard_nbytes=1), "only safetensors"),
        ("out.safetensors", ExportOptions(shard_nbytes=1, template=MODEL), "says itself"),
        ("out.gguf", ExportOptions(), "general.architecture"),
        ("out.pt", ExportOptions(select=["!*"]), "no tensors"),
        ("out", ExportOptions(), "does not say which container"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(source, tmp_path, name, options, said):
    (tmp_path / "folder.pt").mkdir()
    before = names(tmp_path)
    with pytest.raises(UsageError, match=said):
        export(source, tmp_path / name, options)
    assert names(tmp_path) == before
    assert (tmp_path / MODEL).read_bytes() == ODD


def test_there_are_not_thousands_of_shards(tmp_path):
    arrays = {str(number): numpy.ones(1) for number in range(501)}
    with pytest.raises(UsageError, match="501 files"):
        export(ArrayModel(arrays), tmp_path / "out.safetensors", ExportOptions(shard_nbytes=1))


def test_a_folder_that_is_not_there_is_named(source, tmp_path):
    with pytest.raises(NotFoundError, match="no folder"):
        export(source, tmp_path / "gone" / "out.pt")


def test_force_replaces_a_file_and_a_fault_leaves_it(source, tmp_path, bench):
    out = tmp_path / "out.pt"
    out.write_bytes(b"old")
    with pytest.raises(UsageError, match="do not fit"):
        bad = ArrayModel({"a": numpy.ones(2), "b": numpy.array([1000])})
        export(bad, out, ExportOptions(dtype=[Casting.parse("b=i8")], force=True))
    assert out.read_bytes() == b"old"
    with pytest.raises(BackendError), refused(3, errno.ENOSPC):
        export(source, out, ExportOptions(force=True))
    assert out.read_bytes() == b"old"
    bench.commit(MODEL, model([spec("a", 100_000), spec("b", 100_000)]))
    (pack,) = (bench.root / ".git/lamella/packs").iterdir()
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    with load(f"HEAD:{MODEL}", repo=bench.root) as tensors, pytest.raises(IntegrityError):
        export(tensors, out, ExportOptions(force=True))
    assert out.read_bytes() == b"old"
    assert not list(tmp_path.glob(".lamella-tmp-*"))
    export(source, out, ExportOptions(force=True))
    assert out.read_bytes() != b"old"


def test_an_export_cut_anywhere_leaves_the_old_file_or_the_new(source, tmp_path):
    out, options = tmp_path / "out.pt", ExportOptions(force=True)
    with recorded() as changes:
        export(source, out, options)
    new = out.read_bytes()
    for moment in range(len(changes)):
        out.write_bytes(b"old")
        with power_cut(moment):
            export(source, out, options)
        assert out.read_bytes() in (b"old", new)


def test_memory_does_not_grow_with_the_model(tmp_path):
    specs = [spec(f"t{number}", 1 << 20) for number in range(24)]
    with (tmp_path / MODEL).open("wb") as file:
        file.write(build_header(specs))
        file.truncate(file.tell() + sum(one.nbytes for one in specs))
    with load(tmp_path / MODEL) as opened:
        for name, options in (
            ("out.pt", ExportOptions()),
            ("half.npz", ExportOptions(dtype=[Casting.parse("f16")])),
            ("out.safetensors", ExportOptions(shard_nbytes=1 << 25)),
        ):
            tracemalloc.start()
            try:
                export(opened, tmp_path / name, options, SILENT)
                assert tracemalloc.get_traced_memory()[1] < 40_000_000
            finally:
                tracemalloc.stop()


ONNX = Path(__file__).parents[1] / "golden" / "formats" / "onnx"
EXTERNAL = {name: (ONNX / name).read_bytes() for name in ("external.onnx", "external.onnx.data")}


@pytest.fixture
def onnx(bench, tmp_path):
    """An ONNX model with a data file, on disk and at a revision."""
    folder = tmp_path / "in"
    folder.mkdir()
    bench.write(".gitattributes", b"* filter=lamella\n")
    for name, content in EXTERNAL.items():
        bench.write(name, content)
    with bench.repository() as repository:
        add(repository, list(EXTERNAL))
    bench.git("commit", "--quiet", "--message", "onnx")
    for name, content in EXTERNAL.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(("name", "container"), [("new.onnx", None), ("new.onnx", "onnx"), ("new.x", "onnx")])
@pytest.mark.parametrize("where", ["a file", "a folder", "a revision"])
def test_an_onnx_model_goes_out_with_its_data_files(bench, onnx, tmp_path, where, name, container):
    source = {"a file": onnx / "external.onnx", "a folder": onnx, "a revision": "HEAD:external.onnx"}[where]
    with load(source, repo=bench.root) as opened:
        report = export(opened, tmp_path / name, ExportOptions(format=container))
        assert [Path(file.path).name for file in report.files] == [name, "external.onnx.data"]
        assert sum(file.tensors for file in report.files) == report.tensors == len(opened.specs())
        assert (report.restored, report.model_id) == (True, opened.model_id)
        wanted = {one.name: opened.read(one.name) for one in opened.specs()}
    assert (tmp_path / name).read_bytes() == EXTERNAL["external.onnx"]
    assert (tmp_path / "external.onnx.data").read_bytes() == EXTERNAL["external.onnx.data"]
    if name.endswith(".onnx"):
        with load(tmp_path / name) as again:
            assert {one.name: again.read(one.name) for one in again.specs()} == wanted


def test_a_data_file_that_is_there_stays_where_it_is_the_same_and_is_refused_where_not(onnx, tmp_path):
    data = onnx / "external.onnx.data"
    before = data.stat()
    with load(onnx / "external.onnx") as opened:
        assert [Path(file.path).name for file in export(opened, onnx / "copy.onnx").files] == ["copy.onnx"]
        assert (data.stat().st_ino, data.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        for other in (b"another", EXTERNAL[data.name] + b"x", EXTERNAL[data.name][:-1]):
            (tmp_path / data.name).write_bytes(other)
            with pytest.raises(UsageError, match="is there already"):
                export(opened, tmp_path / "copy.onnx")
            assert not (tmp_path / "copy.onnx").exists()
        export(opened, tmp_path / "copy.onnx", ExportOptions(force=True))
        assert (tmp_path / data.name).read_bytes() == EXTERNAL[data.name]
        with pytest.raises(UsageError, match="cannot have the name"):
            export(opened, tmp_path / data.name, ExportOptions(format="onnx", force=True))


def test_an_onnx_model_of_which_a_data_file_is_missing_is_not_written(onnx, tmp_path):
    (onnx / "external.onnx.data").unlink()
    for source in (onnx / "external.onnx", onnx):
        with pytest.raises(NotFoundError, match=r"external\.onnx\.data"):
            load(source)


def test_a_change_to_an_onnx_model_still_needs_a_template(onnx, tmp_path):
    with load(onnx / "external.onnx") as opened, pytest.raises(UsageError, match="is a program"):
        export(opened, tmp_path / "new.onnx", ExportOptions(select=["*"]))
    (onnx / "other.onnx").write_bytes((ONNX / "subgraphs.onnx").read_bytes())
    with load(onnx) as opened, pytest.raises(UsageError, match="is a program"):
        export(opened, tmp_path / "new.onnx")


def test_nothing_is_there_where_a_data_file_cannot_be_written(onnx, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with load(onnx / "external.onnx") as opened, refused(0, errno.ENOSPC), pytest.raises(BackendError):
        export(opened, out / "new.onnx")
    assert names(out) == []
