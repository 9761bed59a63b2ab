"""Folders of Orbax as one model: whole arrays from compressed chunks, and folders that lie."""

from __future__ import annotations

import json
import random

import numpy
import pytest
import zstandard
from blake3 import blake3

from lamella.core.errors import FormatError, LamellaError, NotFoundError
from lamella.formats.file import BytesFile
from lamella.repo import orbax
from lamella.repo.checkin import identify_file
from lamella.repo.loaded import LoadedModel
from lamella.repo.targets import opened_model
from tests.e2e.workbench import Workbench
from tests.formats.beside import GOLDEN
from tests.formats.ocdbt_writer import leaf, manifest
from tests.formats.test_zarr_array import described
from tests.repo.everywhere import EVERYWHERE, commit_all, found

HERE = GOLDEN / "orbax"
EXPECTED = json.loads((HERE / "expected.json").read_text())
PATTERNS = ("run/**",)
KERNEL = numpy.arange(96, dtype=numpy.float32).reshape(8, 12) / 8


def golden(name: str) -> dict[str, bytes]:
    return {str(one.relative_to(HERE / name)): one.read_bytes() for one in (HERE / name).rglob("*") if one.is_file()}


def commit_run(bench: Workbench, files: dict[str, bytes]) -> None:
    commit_all(bench, {f"run/{path}": content for path, content in files.items()})


def safetensors(model: LoadedModel) -> bytes:
    """The same tensors in one file, written by hand."""
    codes = {"f32": "F32", "bf16": "BF16", "i8": "I8", "i32": "I32"}
    header, data = {}, b""
    for spec in model.specs():
        held = bytes(model.read(spec.name))
        offsets = [len(data), len(data) + len(held)]
        header[spec.name] = {"dtype": codes[spec.dtype.name], "shape": spec.shape, "data_offsets": offsets}
        data += held
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@EVERYWHERE
@pytest.mark.parametrize("name", ["ocdbt", "files"])
def test_a_checkpoint_is_one_model_of_whole_tensors_with_the_id_of_one_file(bench, where, name):
    commit_run(bench, golden(name))
    with found(bench, "run", where) as one:
        loaded = LoadedModel(one)
        assert {
            spec.name: [spec.dtype.name, list(spec.shape), blake3(loaded.read(spec.name)).hexdigest()]
            for spec in loaded.specs()
        } == EXPECTED[name]
        assert (loaded["params.dense.kernel"] == KERNEL).all()
        assert loaded.read("params.dense.kernel", 5, 300) == KERNEL.tobytes()[5:300]
        streamed = [b"".join(pieces) for pieces in loaded.stream(["step", "params.dense.kernel"])]
        assert streamed == [bytes([7, 0, 0, 0]), KERNEL.tobytes()]
        assert one.model_id() == identify_file(BytesFile(safetensors(loaded)), 1).model_id()
        assert loaded.format == "orbax"
        assert not {file.path for file in one.files} & set(one.others)


@EVERYWHERE
def test_checkpoints_below_a_folder_are_told_apart(bench, where):
    steps = {f"{step}/default/{path}": held for step in (1, 2) for path, held in golden("ocdbt").items()}
    changed = leaf(
        {b"step/.zarray": described(shape=[], chunks=[], dtype="<i4"), b"step/0": zstandard.compress(b"abcd")}
    )
    steps |= {"3/d/nodes": changed, "3/manifest.ocdbt": manifest((0, len(changed)))}
    commit_run(bench, steps)
    with found(bench, "run", where) as one:
        assert {name for name in one.names if "step" in name} == {f"{n}/step" for n in ("1/default", "2/default", "3")}
        assert "params.dense.kernel" in one.names


@EVERYWHERE
def test_files_whose_manifests_are_on_disk_are_read_from_the_store(bench, where):
    commit_run(bench, golden("ocdbt"))
    for path in golden("ocdbt"):
        bench.write(f"run/{path}", bench.blob(f"HEAD:run/{path}"))
    with found(bench, "run", where) as one:
        assert (LoadedModel(one)["params.dense.kernel"] == KERNEL).all()


@pytest.mark.parametrize("name", ["ocdbt", "files"])
def test_what_git_has_and_lamella_does_not_keep_is_told(bench, name):
    bench.write(".gitattributes", b"")
    for path, held in golden(name).items():
        bench.write(f"run/{path}", held)
    bench.git("add", "--all")
    bench.git("commit", "--quiet", "--message", "plain")
    with pytest.raises(NotFoundError, match="not kept by lamella") as caught, found(bench, "run", "HEAD"):
        pass
    assert "lamella track" in caught.value.hint


@EVERYWHERE
@pytest.mark.parametrize("name", ["ocdbt", "files"])
def test_a_file_that_is_missing_is_an_error_and_no_zeros(bench, where, name):
    files = golden(name)
    gone = "d/" if name == "ocdbt" else "params.layers.0/0.0"
    commit_run(bench, {path: held for path, held in files.items() if not path.startswith(gone)})
    with pytest.raises(NotFoundError, match=r"not here|no file"), found(bench, "run", where):
        pass


def database(arrays: dict[str, bytes], chunks: dict[str, bytes], **metadata) -> dict[str, bytes]:
    """A checkpoint of arrays, by name, and chunks, by name and number."""
    values = {f"{name}/.zarray".encode(): text for name, text in arrays.items()}
    values |= {key.encode(): held for key, held in chunks.items()}
    node = leaf(dict(sorted(values.items())))
    return {
        "d/nodes": node, "manifest.ocdbt": manifest((0, len(node))), "_METADATA": json.dumps(metadata).encode(),
    }  # fmt: skip


def chunk(*values: float, dtype: str = "<f4") -> bytes:
    return zstandard.compress(numpy.array(values, dtype).tobytes())


@EVERYWHERE
def test_chunks_at_the_edge_and_chunks_that_nobody_wrote_are_read(bench, where):
    chunks = {"w/0.0": chunk(*range(6)), "w/2.0": chunk(7, 8, 9, -1, -1, -1)}
    commit_run(bench, database({"w": described()}, chunks))
    with found(bench, "run", where) as one:
        assert LoadedModel(one)["w"].tolist() == [[0, 1, 2], [3, 4, 5], [0, 0, 0], [0, 0, 0], [7, 8, 9]]


def test_other_layouts_of_elements_are_read(bench):
    arrays = {
        "big": described(shape=[2], chunks=[2], dtype=">i2"),
        "plain": described(shape=[2], chunks=[2], dtype="<i2", compressor=None),
        "empty": described(shape=[0, 3]),
    }
    chunks = {"big/0": chunk(1, 2, dtype=">i2"), "plain/0": numpy.array([3, 4], "<i2").tobytes()}
    commit_run(bench, database(arrays, chunks))
    with found(bench, "run", "disk") as one:
        loaded = LoadedModel(one)
        assert [loaded[name].tolist() for name in ("big", "plain", "empty")] == [[1, 2], [3, 4], []]


W = {"w": described(shape=[2], chunks=[2])}


def elsewhere(path: str, offset: int, nbytes: int) -> dict[str, bytes]:
    """A checkpoint of one array whose chunk is said to be in a file."""
    node = leaf({b"w/.zarray": W["w"], b"w/0": (0, offset, nbytes)}, [("", path)])
    return {"d/nodes": node, "manifest.ocdbt": manifest((0, len(node)))}


BAD = {
    "a chunk left out though all are": (database(W, {}, store_array_data_equal_to_fill_value=True), NotFoundError),
    "a chunk left out of ones": (database({"w": described(shape=[2], chunks=[2], fill_value=1)}, {}), NotFoundError),
    "version 3": ({**database({}, {"w/zarr.json": b"{}"})}, FormatError),
    "no arrays": (database({}, {"w/0": b""}), NotFoundError),
    "an array without a name": (database({}, {".zarray": described(), "/.zarray": described()}), FormatError),
    "zeros without end": (database({"w": described(shape=[1 << 40], chunks=[1 << 39])}, {}), FormatError),
    "metadata that is none": ({**database(W, {"w/0": chunk(1, 2)}), "_METADATA": b"{"}, FormatError),
    "a run behind the end": (elsewhere("d/nodes", 90, 9999), FormatError),
    "a path that climbs": (elsewhere("../x", 0, 9), NotFoundError),
}  # fmt: skip


@EVERYWHERE
@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_read_is_refused(bench, where, fault):
    files, error = BAD[fault]
    commit_run(bench, {**files, "_CHECKPOINT_METADATA": b"{}"})
    with pytest.raises(error) as caught, found(bench, "run", where):
        pass
    assert caught.value.hint


@pytest.mark.parametrize("held", [chunk(1), chunk(1, 2, 3), chunk(1, 2)[:-1], b"", b"x" * 8])
@pytest.mark.parametrize("compressor", [None, {"id": "zstd"}])
def test_a_chunk_of_another_length_is_refused_when_it_is_read(bench, held, compressor):
    array = described(shape=[2], chunks=[2], compressor=compressor)
    commit_run(bench, database({"w": array}, {"w/0": held}))
    with found(bench, "run", "disk") as one:
        if compressor is None and len(held) == 8:
            assert LoadedModel(one).read("w") == held
            return
        with pytest.raises(FormatError):
            LoadedModel(one).read("w")


def test_a_folder_of_too_many_files_is_refused_as_some_were_not_seen(bench, monkeypatch):
    commit_run(bench, golden("files"))
    monkeypatch.setattr(orbax, "MAX_FOLDER_ENTRIES", 5)
    with pytest.raises(FormatError, match="5 files or more"), found(bench, "run", "disk"):
        pass


def test_altered_files_give_what_was_written_or_an_error(tmp_path, git_environment):
    files = golden("ocdbt")
    choices = random.Random(3)
    outcomes = set()
    for _ in range(150):
        path = choices.choice([path for path in files if path.startswith(("manifest", "d/", "ocdbt.process_0/d/"))])
        altered = bytearray(files[path])
        altered[choices.randrange(len(altered))] = choices.randrange(256)
        for name, held in {**files, path: bytes(altered)}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(held)
        try:
            with opened_model(".", tmp_path) as one:
                loaded = LoadedModel(one)
                assert all(len(loaded.read(name)) == one.spec(name).nbytes for name in loaded)
                outcomes.add("read")
        except LamellaError as error:
            outcomes.add(error.kind)
    assert {"read", "header-malformed"} <= outcomes
