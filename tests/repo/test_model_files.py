"""Several files as one model, at a revision and on disk: shards, folders, and indices that are not to be trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamella.core.errors import FormatError, LamellaError, NotFoundError
from lamella.core.ids import digest
from lamella.formats.file import BytesFile
from lamella.repo import weight_map
from lamella.repo.checkin import identify_file
from lamella.repo.loaded import LoadedModel
from lamella.repo.targets import opened_model
from lamella.repo.weight_map import chosen_index, parse_weight_map
from lamella.testing.models import LAYERS, model, network, spec, values
from tests.formats.test_saved_model import graph, node, saved_model, tensor
from tests.formats.wire import graph as onnx_graph
from tests.formats.wire import model as onnx
from tests.formats.wire import outside
from tests.repo.everywhere import EVERYWHERE, commit_all, found

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
CHECKPOINT = sorted((GOLDEN / "tf_checkpoint" / "object").iterdir())
INDEX = "model.safetensors.index.json"
WHOLE = identify_file(BytesFile(network()), 1).model_id()


def shards(count: int = 2, prefix: str = "model") -> dict[str, bytes]:
    """Return the network as shards."""
    names = [f"{prefix}-{number + 1:05}-of-{count:05}.safetensors" for number in range(count)]
    return {name: model(LAYERS[number::count]) for number, name in enumerate(names)}


def index(files: dict[str, bytes], **changes: str) -> bytes:
    """Return the index of these files, with `changes` of what holds which tensor."""
    weight_map = {}
    for name, content in files.items():
        weight_map |= {row.spec.name: name for row in identify_file(BytesFile(content), 1).rows}
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map | changes}).encode()


PATTERNS = ("*.safetensors", "*.onnx", "*.data*", "*.pb")


@EVERYWHERE
@pytest.mark.parametrize("path", ["llm", f"llm/{INDEX}"])
def test_shards_are_one_model_with_the_id_of_the_whole(bench, where, path):
    files = shards(3)
    rest = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": network(layer_1_bias=3)}
    everything = {**files, INDEX: index(files), **rest}
    commit_all(bench, {f"llm/{name}": content for name, content in everything.items()})
    with found(bench, path, where) as one:
        assert [file.path for file in one.files] == sorted(files)
        assert set(one.others) == {INDEX, *rest}
        assert one.model_id() == WHOLE
        assert one.rows.keys() == {layer.name for layer in LAYERS}
        row = one.rows["layer.1.bias"]
        assert row in one.manifest().rows
        assert row.object == digest(values(row.spec))


@EVERYWHERE
def test_an_index_that_lamella_keeps_is_read_from_the_store(bench, where):
    files = shards(2)
    bench.write(".gitattributes", b"llm/* filter=lamella\n")
    everything = {f"llm/{name}": content for name, content in {**files, INDEX: index(files)}.items()}
    commit_all(bench, everything)
    if where == "disk":
        for path in everything:
            bench.write(path, bench.blob(f"HEAD:{path}"))
    with found(bench, "llm", where) as one:
        assert one.model_id() == WHOLE


@EVERYWHERE
def test_model_files_of_a_folder_are_one_model(bench, where):
    one, two = shards(2, "part").values()
    commit_all(bench, {"m/a.safetensors": one, "m/b.safetensors": two, "m/again.safetensors": two, "m/notes.txt": b"x"})
    with found(bench, "m", where) as model:
        assert model.model_id() == WHOLE
        assert model.others == ("notes.txt",)
        assert len(model.files) == 3


@EVERYWHERE
def test_only_names_that_stand_for_different_tensors_get_the_path_before_them(bench, where):
    one = model([spec("same", 3), spec("other", 3), spec("shape", 3)])
    two = model([spec("same", 3), spec("other", 3), spec("shape", 4)], {"other": 1})
    commit_all(bench, {"pipe/unet/m.safetensors": one, "pipe/vae/m.safetensors": two, "pipe/index.json": b"{}"})
    with found(bench, "pipe", where) as found_:
        assert sorted(found_.names) == [
            "same",
            *("unet/m.safetensors/other", "unet/m.safetensors/shape"),
            *("vae/m.safetensors/other", "vae/m.safetensors/shape"),
        ]
        assert found_.spec("vae/m.safetensors/shape").shape == (4,)
        assert found_.manifest().rows[0].spec.name == "same"
        assert found_.others == ("index.json",)


def graph_with(*names: str) -> bytes:
    """Return a SavedModel whose graph has constants."""
    return saved_model(graph(*(node(name, "Const", value=tensor(1, (4,), bytes(16))) for name in names)))


@EVERYWHERE
@pytest.mark.parametrize("path", ["sm", "versions"])
def test_a_saved_model_is_its_variables(bench, where, path):
    folder = path if path == "sm" else f"{path}/1"
    commit_all(bench, {f"{folder}/saved_model.pb": graph_with("constant"), f"{folder}/assets/words.txt": b"x"} | {
        f"{folder}/variables/{file.name}": file.read_bytes() for file in CHECKPOINT
    })  # fmt: skip
    with found(bench, path, where) as one:
        assert [file.format for file in one.files] == ["tf-checkpoint"]
        assert any(name.endswith("saved_model.pb") for name in one.others)
        assert "constant" not in one.names
        assert one.unread == ()


@EVERYWHERE
def test_a_saved_model_without_variables_is_its_graph(bench, where):
    commit_all(bench, {"sm/saved_model.pb": graph_with("constant")})
    with found(bench, "sm", where) as one:
        assert list(one.names) == ["constant"]


@EVERYWHERE
def test_folders_that_are_not_read_are_named(bench, where):
    files = shards()
    rest = {"onnx/m.safetensors": network(), "old/v1/m.safetensors": network(), "docs/x.txt": b"x"}
    commit_all(bench, {f"a/{name}": content for name, content in {**rest, "m.safetensors": network()}.items()})
    commit_all(bench, {f"b/{name}": content for name, content in {**rest, **files, INDEX: index(files)}.items()})
    for path, unread in (("a", ("old/", "onnx/")), ("b", ("old/", "onnx/")), (f"b/{INDEX}", ()), ("a/old", ())):
        with found(bench, path, where) as one:
            assert (one.model_id(), one.unread) == (WHOLE, unread)


def external(*locations: str) -> bytes:
    return onnx(onnx_graph(*(outside(f"w{n}", "f32", (4,), {"location": at}) for n, at in enumerate(locations))))


@EVERYWHERE
def test_an_onnx_model_takes_along_the_files_that_it_names(bench, where):
    commit_all(bench, {"m/a.onnx": external("a.data", "b.data"), "m/a.data": bytes(16), "m/b.data": b"1234" * 4})
    commit_all(bench, {"m/other.onnx": external("other.data"), "m/other.data": bytes(16)})
    with found(bench, "m/a.onnx", where) as one:
        assert [file.path for file in one.files] == ["a.onnx", "a.data", "b.data"]
        assert (sorted(one.names), one.missing) == (["w0", "w1"], ())
        assert bytes(LoadedModel(one).read("w1")) == b"1234" * 4


def test_an_onnx_model_of_which_the_header_is_not_here_may_have_more_tensors(bench, tmp_path):
    commit_all(bench, {"m/a.onnx": external("a.data"), "m/a.data": bytes(16)})
    (tmp_path / "a.onnx").write_bytes(bench.blob("HEAD:m/a.onnx"))
    with opened_model("a.onnx", tmp_path) as one:
        assert one.missing == ("the header of a.onnx",)


@EVERYWHERE
@pytest.mark.parametrize("location", ["gone.data", "x" * 256, "../m.safetensors", "sub/m.data", "notes.txt", "a.onnx"])
def test_files_that_an_onnx_model_names_and_has_not_are_told(bench, where, location):
    commit_all(bench, {"m/a.onnx": external("a.data", location), "m/a.data": bytes(16), "m/notes.txt": b"x"})
    commit_all(bench, {"m.safetensors": network(), "m/sub/m.data": bytes(16)})
    with found(bench, "m/a.onnx", where) as one:
        assert (list(one.names), one.missing) == (["w0"], (location,))
        assert one.find("w0")
        for asked in (lambda: one.find("w1"), lambda: LoadedModel(one)):
            with pytest.raises(NotFoundError, match="which is not there"):
                asked()


@EVERYWHERE
@pytest.mark.parametrize("path", ["step", "step/1"])
def test_a_checkpoint_of_orbax_that_is_not_whole_is_told(bench, where, path):
    commit_all(bench, {"step/1/_CHECKPOINT_METADATA": b'{"a": 1}\n', "step/1/d/0.data": b"x" * 99})
    with pytest.raises(NotFoundError, match="Orbax") as caught, found(bench, path, where):
        pass
    assert "copy all files" in caught.value.hint


@EVERYWHERE
def test_the_root_is_a_folder_too(bench, where):
    commit_all(bench, {"m.safetensors": network()})
    with found(bench, ".", where) as model:
        assert model.model_id() == WHOLE
        assert model.others == (".gitattributes",)


BAD_INDICES = {
    "another file than it says": (index(shards(), **{"layer.0.bias": "model-00002-of-00002.safetensors"}), FormatError),
    "a tensor that nobody has": (index(shards(), gone="model-00001-of-00002.safetensors"), FormatError),
    "a tensor unlisted": (index({name: model(LAYERS[n + 2 :: 2]) for n, name in enumerate(shards())}), FormatError),
    "a file that is not there": (index(shards(), new="x.safetensors"), NotFoundError),
    "a file that is no model": (index(shards(), new="config.json"), NotFoundError),
    "a path that climbs": (index(shards(), new="../other/model.safetensors"), FormatError),
    "an absolute path": (index(shards(), new="/etc/passwd"), FormatError),
    "a folder": (index(shards(), new=".."), FormatError),
    "a path below": (index(shards(), new="a/b"), FormatError),
    "another system's path": (index(shards(), new="..\\b"), FormatError),
    "no name": (index(shards(), new=""), FormatError),
    "a zero": (index(shards(), new="a\0"), FormatError),
    "a number for a name": (b'{"weight_map": {"a": 1}}', FormatError),
    "no map": (b'{"weight_map": []}', FormatError),
    "an empty map": (b'{"weight_map": {}}', FormatError),
    "a list": (b"[]", FormatError),
    "no JSON": (b"\xff", FormatError),
    "deep JSON": (b"[" * 200_000, FormatError),
}


@EVERYWHERE
@pytest.mark.parametrize("fault", BAD_INDICES)
def test_an_index_that_its_shards_contradict_is_refused(bench, where, fault):
    text, error = BAD_INDICES[fault]
    everything = {**shards(), INDEX: text, "config.json": b"{}"}
    for name, content in everything.items():
        bench.write(f"m/{name}", content)
    bench.write("other/model.safetensors", network())
    if where != "disk":
        commit_all(bench, {f"m/{name}": content for name, content in everything.items()})
    with pytest.raises(error) as caught, found(bench, "m", where):
        pass
    assert caught.value.hint
    assert caught.value.kind in ("header-malformed", "path-unknown")


def test_a_huge_index_is_refused(monkeypatch):
    monkeypatch.setattr(weight_map, "MAX_WEIGHT_MAP_NBYTES", 10)
    with pytest.raises(FormatError) as caught:
        parse_weight_map(b'{"weight_map": {}}')
    assert caught.value.kind == "header-too-large"


def test_of_several_indices_the_usual_one_is_taken_or_the_user_says_which():
    assert chosen_index(["a.txt"]) is None
    assert chosen_index(["x.index.json", "pytorch_model.bin.index.json"]) == "pytorch_model.bin.index.json"
    assert chosen_index([INDEX, "pytorch_model.bin.index.json"]) == INDEX
    assert chosen_index(["diffusion_pytorch_model.safetensors.index.json"]) is not None
    with pytest.raises(FormatError, match="several"):
        chosen_index(["a.index.json", "b.index.json"])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("HEAD:gone", "path-unknown"),
        ("gone:m", "revision-unknown"),
        ("HEAD:notes", "path-unknown"),
        ("HEAD:notes/x.txt", "path-unknown"),
        ("notes", "path-unknown"),
        ("gone", "path-unknown"),
        ("gone.index.json", "path-unknown"),
        (f"HEAD:notes/{INDEX}", "path-unknown"),
        ("fifo", "path-unsafe"),
        ("HEAD:", "bad-argument"),
    ],
)
def test_what_is_no_model_is_told(bench, text, kind):
    import os

    commit_all(bench, {"m.safetensors": network(), "notes/x.txt": b"x"})
    os.mkfifo(bench.root / "fifo")
    with pytest.raises(LamellaError) as caught, opened_model(text, bench.root):
        pass
    assert caught.value.kind == kind
    assert caught.value.hint


def test_no_repository_is_needed_for_what_is_on_disk(tmp_path: Path, git_environment):
    (tmp_path / "m.safetensors").write_bytes(network())
    with opened_model("m.safetensors", tmp_path) as model:
        assert model.model_id() == WHOLE
    with pytest.raises(LamellaError) as caught, opened_model("HEAD:m.safetensors", tmp_path):
        pass
    assert caught.value.kind == "not-a-repository"


def test_a_link_to_a_model_is_followed(tmp_path: Path, git_environment):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for name, content in shards().items():
        (tmp_path / "blobs" / name[6:11]).write_bytes(content)
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name[6:11])
    (tmp_path / "snapshot" / INDEX).write_bytes(index(shards()))
    with opened_model("snapshot", tmp_path) as model:
        assert model.model_id() == WHOLE


def test_a_file_that_is_not_what_it_claims_is_told_and_passed_over_in_a_folder(tmp_path: Path, git_environment):
    (tmp_path / "bad.safetensors").write_bytes(network()[:-1])
    with pytest.raises(FormatError), opened_model("bad.safetensors", tmp_path):
        pass
    (tmp_path / "good.safetensors").write_bytes(network())
    with opened_model(".", tmp_path) as model:
        assert model.others == ("bad.safetensors",)


def test_a_manifest_on_disk_stands_for_its_file(bench, tmp_path):
    commit_all(bench, {"m.safetensors": network()})
    text = bench.blob("HEAD:m.safetensors")
    bench.write("m.safetensors", text)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "m.safetensors").write_bytes(text)
    with opened_model("m.safetensors", bench.root) as model:
        assert model.model_id() == WHOLE
        assert model.files[0].locate("layer.0.bias")[0].nbytes == 96
    with opened_model("m.safetensors", tmp_path / "alone") as model:
        assert model.model_id() == WHOLE
        with pytest.raises(NotFoundError) as caught:
            model.files[0].locate("layer.0.bias")
        assert caught.value.kind == "object-missing"


def test_a_file_that_changes_after_it_was_looked_at_is_told(tmp_path: Path, git_environment):
    path = tmp_path / "m.safetensors"
    path.write_bytes(network())
    with opened_model("m.safetensors", tmp_path) as model:
        path.write_bytes(network("longer"))
        with pytest.raises(LamellaError) as caught:
            model.model_id()
    assert caught.value.kind == "file-changed"
