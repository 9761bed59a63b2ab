"""Folders of torch.distributed as one model: whole tensors from the pieces of its files, and folders that lie."""

from __future__ import annotations

import pickle
import random

import numpy
import pytest

from lamella.core.errors import FormatError, LamellaError, NotFoundError
from lamella.formats.file import BytesFile
from lamella.repo.checkin import identify_file
from lamella.repo.loaded import LoadedModel
from lamella.repo.targets import opened_model
from lamella.testing.models import model, spec
from tests.formats.beside import GOLDEN
from tests.formats.test_torch_distributed import Held, saved
from tests.repo.everywhere import EVERYWHERE, commit_all, found

SHARED = {one.name: one.read_bytes() for one in (GOLDEN / "torch_distributed" / "shared").iterdir()}
VALUES = numpy.arange(40, dtype=numpy.float32).reshape(8, 5)
FIRST, SECOND = "__0_0.distcp", "__1_0.distcp"
PATTERNS = ("*.distcp", "*.safetensors")


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def described(pieces: list[tuple], shapes: dict[str, tuple[int, ...]]) -> bytes:
    """The metadata of pieces: the file, the offset and the length there, the tensor, the origin, the extents."""
    chunks = {
        name: [Held(offsets=at, sizes=extents) for *_, one, at, extents in pieces if one == name] for name in shapes
    }
    stored = {
        Held(fqn=name, offset=at): Held(relative_path=file, offset=offset, length=nbytes)
        for file, offset, nbytes, name, at, _ in pieces
    }
    listed = {name: Held(size=shape, chunks=chunks[name]) for name, shape in shapes.items()}
    return pickle.dumps(Held(state_dict_metadata=listed, storage_data=stored), 4)


def checkpoint(pieces: list[tuple[str, str, tuple[int, ...], tuple[int, ...]]], **shapes: tuple[int, ...]):
    """A folder of pieces, each a file, a tensor, an origin and extents, all of them of four numbers."""
    files: dict[str, bytes] = {}
    listed = []
    for number, (file, name, origin, extents) in enumerate(pieces):
        item = saved(extents, bytes([number]) * 16)
        listed.append((file, len(files.get(file, b"")), len(item), name, origin, extents))
        files[file] = files.get(file, b"") + item
    return {**files, ".metadata": described(listed, shapes)}


@EVERYWHERE
@pytest.mark.parametrize("path", ["run", "runs"])
def test_a_folder_is_one_model_of_whole_tensors_with_the_id_of_one_file(bench, where, path):
    commit_all(bench, below("run" if path == "run" else "runs/1", SHARED))
    with found(bench, path, where) as one:
        assert [one.spec(name).shape for name in ("rows", "columns", "both")] == [(8, 5), (8, 5), (3,)]
        assert len(one.names) == 3
        assert [file.path.rpartition("/")[2] for file in one.files] == [FIRST, SECOND]
        assert [other.rpartition("/")[2] for other in one.others] == [".metadata"]
        loaded = LoadedModel(one)
        assert (loaded["rows"] == VALUES).all()
        assert (loaded["columns"] == VALUES).all()
        assert loaded.read("columns", 5, 50) == VALUES.tobytes()[5:50]
        assert [b"".join(pieces) for pieces in loaded.stream(["both", "rows"])][1] == VALUES.tobytes()
        arrays = {name: bytes(loaded.read(name)) for name in loaded}
    listed = (("rows", "F32", [8, 5], 0), ("columns", "F32", [8, 5], 160), ("both", "I64", [3], 320))
    header = ", ".join(
        f'"{name}": {{"dtype": "{kind}", "shape": {shape}, "data_offsets": [{at}, {at + len(arrays[name])}]}}'
        for name, kind, shape, at in listed
    )
    text = f"{{{header}}}".encode()
    file = len(text).to_bytes(8, "little") + text + arrays["rows"] + arrays["columns"] + arrays["both"]
    with found(bench, path, where) as one:
        assert one.model_id() == identify_file(BytesFile(file), 1).model_id()


@EVERYWHERE
def test_metadata_that_lamella_keeps_is_read_from_the_store(bench, where):
    bench.write(".gitattributes", b"run/** filter=lamella\n")
    commit_all(bench, below("run", SHARED))
    if where == "disk":
        for name in SHARED:
            bench.write(f"run/{name}", bench.blob(f"HEAD:run/{name}"))
    with found(bench, "run", where) as one:
        assert (LoadedModel(one)["columns"] == VALUES).all()


@EVERYWHERE
@pytest.mark.parametrize("gone", [FIRST, SECOND])
def test_a_file_that_is_missing_is_named(bench, where, gone):
    commit_all(bench, below("run", {name: data for name, data in SHARED.items() if name != gone}))
    with pytest.raises(NotFoundError, match=gone), found(bench, "run", where):
        pass


@EVERYWHERE
def test_metadata_that_is_missing_is_named(bench, where):
    commit_all(bench, below("run", SHARED))
    bench.git("rm", "--quiet", "run/.metadata")
    bench.git("commit", "--quiet", "--message", "without")
    with pytest.raises(NotFoundError, match=r"there is no \.metadata"), found(bench, "run", where):
        pass


def test_a_piece_that_two_files_have_counts_once(bench):
    twice = [("a.distcp", "w", (0,), (4,)), ("b.distcp", "w", (0,), (4,)), ("b.distcp", "v", (0,), (4,))]
    commit_all(bench, below("run", checkpoint(twice, w=(4,), v=(4,))))
    with found(bench, "run", "HEAD") as one:
        assert list(one.names) == ["w", "v"]
        assert LoadedModel(one).read("w") == bytes(16)


def test_a_whole_tensor_is_held_against_its_id_where_it_is(bench):
    commit_all(bench, below("run", SHARED))
    with found(bench, "run", "HEAD") as one:
        assert one.find("both") == (one.files[1], "both")
        assert one.find("rows")[0] not in one.files


def test_a_file_beside_the_metadata_that_it_does_not_describe_is_none_of_the_model(bench):
    commit_all(bench, below("run", {**SHARED, "__2_0.distcp": saved((2, 2))}))
    with found(bench, "run", "HEAD") as one:
        assert len(one.names) == 3
        assert one.others == (".metadata", "__2_0.distcp")


def test_names_that_other_files_of_the_folder_have_are_told_apart(bench):
    commit_all(bench, below("run", {**SHARED, "m.safetensors": model([spec("rows", 3)])}))
    with found(bench, "run", "HEAD") as one:
        assert set(one.names) == {".metadata/rows", "m.safetensors/rows", "columns", "both"}


WRONG = {
    "a gap": ([("a.distcp", "w", (0, 0), (2, 2)), ("a.distcp", "w", (4, 0), (2, 2))], {"w": (6, 2)}),
    "an end that nobody has": ([("a.distcp", "w", (0, 0), (2, 2))], {"w": (4, 2)}),
    "pieces that overlap": ([("a.distcp", "w", (0, 0), (2, 2)), ("b.distcp", "w", (1, 0), (2, 2))], {"w": (3, 2)}),
    "a piece outside": ([("a.distcp", "w", (3, 0), (2, 2)), ("b.distcp", "w", (0, 0), (2, 2))], {"w": (4, 2)}),
    "a name that a piece has": (
        [("a.distcp", name, (at, 0), (2, 2)) for name, at in (("w", 0), ("w", 2), ("w[0:2,0:2]", 0))],
        {"w": (4, 2), "w[0:2,0:2]": (2, 2)},
    ),
}


@EVERYWHERE
@pytest.mark.parametrize("fault", WRONG)
def test_pieces_that_make_up_no_tensor_are_refused(bench, where, fault):
    pieces, shapes = WRONG[fault]
    commit_all(bench, below("run", checkpoint(pieces, **shapes)))
    with pytest.raises(FormatError) as caught, found(bench, "run", where):
        pass
    assert caught.value.kind == "header-malformed"
    assert ".metadata" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda listed: listed, None),
        (lambda listed: [*listed[:1], (FIRST, 0, 9, "gone", (0, 0), (2, 2))], FormatError),
        (lambda listed: [(*one[:4], (0, 0), (4, 1)) for one in listed[:1]], FormatError),
        (lambda listed: [*listed, ("../x.distcp", 0, 9, "w", (2, 0), (2, 2))], NotFoundError),
    ],
)
def test_metadata_of_another_version_than_the_files_is_refused(bench, change, error):
    one = saved((2, 2))
    listed = [(FIRST, 0, len(one), "w", (0, 0), (2, 2)), (FIRST, len(one), len(one), "w", (2, 0), (2, 2))]
    shapes = {"w": (4, 2), "gone": (2, 2)}
    commit_all(bench, below("run", {FIRST: one * 2, ".metadata": described(listed, shapes)}))
    bench.write("run/.metadata", described(change(listed), shapes))
    bench.git("add", "run/.metadata")
    if error is None:
        with found(bench, "run", "index") as found_:
            assert list(found_.names) == ["w"]
        return
    with pytest.raises(error), found(bench, "run", "index"):
        pass


@pytest.mark.parametrize("text", [b"", b"\x80\4", b"no pickle", pickle.dumps(Held(), 4)])
def test_metadata_that_is_none_is_refused_at_a_revision(bench, text):
    commit_all(bench, below("run", SHARED))
    bench.write("run/.metadata", text)
    bench.git("add", "run/.metadata")
    try:
        with found(bench, "run", "index") as one:
            assert not one.names
    except LamellaError as error:
        assert error.kind in ("file-truncated", "header-malformed")


def test_altered_metadata_gives_a_sound_model_or_is_refused(tmp_path, git_environment):
    for name, content in SHARED.items():
        (tmp_path / name).write_bytes(content)
    choices = random.Random(1)
    outcomes = set()
    for _ in range(300):
        altered = bytearray(SHARED[".metadata"])
        for _ in range(choices.randint(1, 3)):
            at = choices.randrange(len(altered))
            altered[at : at + choices.randint(0, 2)] = choices.randbytes(choices.randint(0, 2))
        (tmp_path / ".metadata").write_bytes(altered)
        try:
            with opened_model(".", tmp_path) as one:
                loaded = LoadedModel(one)
                assert all(len(loaded.read(name)) == one.spec(name).nbytes for name in loaded)
                assert one.model_id()
                outcomes.add("read")
        except (FormatError, NotFoundError) as error:
            outcomes.add(error.kind)
    assert {"read", "path-unknown"} <= outcomes
