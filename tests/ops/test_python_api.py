"""`lamella.Repo`: models in and out of Git as arrays."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy
import pytest
import safetensors.numpy

import lamella
from lamella import Repo
from lamella.core.errors import BackendError, ConflictError, NotFoundError, UsageError
from lamella.ops import commit as commit_op
from lamella.repo.filling import fill
from lamella.repo.manifest import write_manifest
from lamella.store.pack import PackReader
from lamella.testing.models import model, network, spec
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
RANDOM = numpy.random.default_rng(0)


@pytest.fixture
def repo(bench: Workbench) -> Repo:
    with Repo.open(bench.root) as repo:
        yield repo


ARRAYS = {
    "matrix": RANDOM.standard_normal((30, 7)).astype("f4"),
    "bf16": RANDOM.standard_normal((5, 3)).astype(ml_dtypes.bfloat16),
    "f8": RANDOM.standard_normal(9).astype(ml_dtypes.float8_e4m3fn),
    "half": RANDOM.standard_normal(3).astype("f2"),
    "double": RANDOM.standard_normal(2),
    "complex": numpy.array([1 + 2j], dtype="c8"),
    "scalar": numpy.float32(3.5),
    "counter": numpy.int64(-1),
    "flags": numpy.array([True, False, True]),
    "empty": numpy.empty((0, 4), dtype="f4"),
    "ints": numpy.arange(12, dtype="u2").reshape(3, 4),
}


def test_arrays_of_every_kind_come_back_bit_for_bit(repo):
    repo.commit(ARRAYS, MODEL, "arrays")
    found = repo.snapshot("HEAD", MODEL)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_the_file_is_one_that_the_reference_library_reads(bench, repo):
    arrays = {name: array for name, array in ARRAYS.items() if name not in ("f8", "complex")}
    repo.commit(arrays, MODEL, "arrays", metadata={"step": "7"})
    bench.git("checkout", "--quiet", "--", MODEL)
    with bench.repository() as repository:
        fill(repository)
    loaded = safetensors.numpy.load_file(bench.root / MODEL)
    assert {name: array.tobytes() for name, array in loaded.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }
    with safetensors.safe_open(bench.root / MODEL, "numpy") as file:
        assert file.metadata() == {"step": "7"}


def test_layout_in_memory_does_not_matter(repo):
    plain = numpy.arange(24, dtype="<f4").reshape(4, 6)
    for number, array in enumerate(
        (
            plain.astype(">f4"),
            numpy.asfortranarray(plain),
            numpy.repeat(plain, 2, axis=0)[::2],
            plain[::-1][::-1],
            numpy.array(plain.tolist(), dtype="f4"),
        )
    ):
        report = repo.commit({"w": array}, MODEL, f"{number}")
        assert report.new_objects == (2 if number == 0 else 0)
        assert (repo.snapshot("HEAD", MODEL)["w"] == plain).all()


@pytest.mark.parametrize("array", [numpy.array(["a"]), numpy.array([object()]), numpy.array(1, dtype="M8[s]")])
def test_arrays_that_are_no_numbers_are_refused(repo, array):
    with pytest.raises(UsageError) as caught:
        repo.commit({"w": array}, MODEL, "no")
    assert caught.value.kind == "dtype-unsupported"
    assert caught.value.hint


def test_a_file_is_committed_from_anywhere(bench, repo, tmp_path):
    (tmp_path / "trained.bin").write_bytes(network())
    report = repo.commit(tmp_path / "trained.bin", f"deep/er/{MODEL}", "from a file\n\nwith a body")
    assert report.branch == "main"
    assert report.commit == bench.git("rev-parse", "HEAD")
    assert bench.git("log", "-1", "--format=%B").strip() == "from a file\n\nwith a body"
    assert bench.git("log", "-1", "--format=%an <%ae>, %cn") == "Ada Lovelace <ada@example.org>, Ada Lovelace"
    assert repo.snapshot("HEAD", f"deep/er/{MODEL}").model_id == report.model_id
    (bench.root / "same.safetensors").write_bytes(network())
    repo.add(bench.root / "same.safetensors")
    assert bench.git("rev-parse", ":same.safetensors") == bench.git("rev-parse", f"HEAD:deep/er/{MODEL}")


def test_the_worktree_is_not_touched_and_the_index_follows(bench, repo):
    bench.write("notes.txt", b"staged\n")
    bench.git("add", "notes.txt")
    bench.write(MODEL, network())
    repo.commit({"w": ARRAYS["matrix"]}, MODEL, "arrays")
    assert bench.read(MODEL) == network()
    assert bench.git("diff", "--cached", "--name-only") == "notes.txt"
    assert bench.git("show", "--format=", "--name-only", "HEAD") == MODEL


def test_a_commit_on_another_branch_leaves_this_one_alone(bench, repo):
    head = bench.git("rev-parse", "HEAD")
    bench.git("branch", "side")
    before = bench.git("ls-files", "--stage")
    report = repo.commit({"w": ARRAYS["matrix"]}, MODEL, "aside", branch="side")
    assert report.branch == "side"
    assert bench.git("rev-parse", "HEAD") == head == bench.git("rev-parse", "side~1")
    assert bench.git("ls-files", "--stage") == before
    assert (repo.snapshot("side", MODEL)["w"] == ARRAYS["matrix"]).all()


def test_a_branch_that_is_not_there_starts_at_head(bench, repo):
    report = repo.commit({"w": ARRAYS["matrix"]}, MODEL, "new", branch="runs/1")
    assert bench.git("rev-parse", "runs/1~1") == bench.git("rev-parse", "HEAD")
    assert report.branch == "runs/1"


def test_a_conversion_beside_the_model_of_a_branch_takes_next_to_nothing(repo):
    wide = {"w": RANDOM.standard_normal((300, 300)).astype("f4")}
    half = {"w": wide["w"].astype(ml_dtypes.bfloat16)}
    repo.commit(wide, MODEL, "wide", branch="side")
    report = repo.commit(half, "half.safetensors", "half", branch="side")
    assert report.stored_nbytes < 1000
    assert repo.snapshot("side", "half.safetensors")["w"].tobytes() == half["w"].tobytes()


def test_the_first_commit_of_a_repository_may_come_from_here(make_repository):
    bench = Workbench(make_repository("fresh").root)
    bench.write(".gitattributes", b"*.safetensors filter=lamella\n")
    with Repo.open(bench.root) as repo:
        report = repo.commit({"w": ARRAYS["matrix"]}, MODEL, "root")
        assert bench.git("rev-list", "--count", "main") == "1"
        assert bench.git("rev-parse", "HEAD") == report.commit
        assert [entry.message for entry in repo.log()] == ["root"]
        assert list(repo.log(limit=0)) == []


def test_a_detached_head_moves(bench, repo):
    main = bench.git("rev-parse", "main")
    bench.git("checkout", "--quiet", "--detach")
    report = repo.commit({"w": ARRAYS["matrix"]}, MODEL, "aside")
    assert report.branch == "HEAD"
    assert bench.git("rev-parse", "HEAD") == report.commit
    assert bench.git("rev-parse", "HEAD~1") == bench.git("rev-parse", "main") == main


def test_a_path_that_no_pattern_names_is_refused(bench, repo):
    with pytest.raises(UsageError) as caught:
        repo.commit({"w": ARRAYS["matrix"]}, "model.bin", "nobody would fill it")
    assert caught.value.kind == "bad-argument"
    assert "lamella track '*.bin'" in caught.value.hint
    assert bench.git("ls-tree", "-r", "--name-only", "HEAD") == ".gitattributes"


def test_a_file_that_is_no_model_is_refused(repo, tmp_path):
    for content in (b"", write_manifest(repo.snapshot(repo.commit(ARRAYS, MODEL, "one").commit, MODEL).manifest)):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(UsageError) as caught:
            repo.commit(tmp_path / "file", MODEL, "no")
        assert caught.value.hint


def test_an_executable_model_stays_so(bench, repo):
    bench.write(MODEL, network())
    (bench.root / MODEL).chmod(0o755)
    repo.add(bench.root / MODEL)
    bench.git("commit", "--quiet", "--message", "executable")
    repo.commit(ARRAYS, MODEL, "arrays")
    assert bench.git("ls-tree", "HEAD", MODEL).startswith("100755")
    assert bench.git("diff", "--cached", "--name-only") == ""


def test_a_commit_in_a_bare_repository_works(make_repository):
    bench = Workbench(make_repository("bare.git", "--bare").root)
    with Repo.open(bench.root) as repo:
        repo.commit({"w": ARRAYS["matrix"]}, MODEL, "one")
        repo.commit({"w": ARRAYS["matrix"] + 1}, MODEL, "two")
        assert [entry.message for entry in repo.log()] == ["two", "one"]
        assert (repo.snapshot("HEAD", MODEL)["w"] == ARRAYS["matrix"] + 1).all()


@pytest.mark.parametrize(
    "path", ["../a.safetensors", "/a.safetensors", ".git/a.safetensors", "", "a/../../b", "x/.GIT/y"]
)
def test_a_path_outside_the_worktree_is_refused(repo, path):
    with pytest.raises(UsageError) as caught:
        repo.commit({"w": ARRAYS["matrix"]}, path, "no")
    assert caught.value.kind == "path-unsafe"


@pytest.mark.parametrize("name", ["with space", 'quo"te', "back\\slash", "line\nbreak", "größe", "-dash", "a.b c/d e"])
def test_any_other_path_is_kept_letter_by_letter(bench, repo, name):
    repo.commit({"w": ARRAYS["matrix"]}, f"{name}.safetensors", "named")
    assert f"{name}.safetensors" in bench.git("ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")
    assert f"{name}.safetensors" in repo.snapshot("HEAD", f"{name}.safetensors").label


@pytest.mark.parametrize("path", ["./a.safetensors", "a/./b//c.safetensors"])
def test_a_path_is_kept_in_its_shortest_form(bench, repo, path):
    report = repo.commit({"w": ARRAYS["matrix"]}, path, "named")
    assert report.path == path.replace("./", "").replace("//", "/")
    assert bench.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()[-1] == report.path
    bench.git("fsck", "--strict")


@pytest.mark.parametrize("message", ["a zero \0", "half a pair \ud800"])
def test_a_message_that_is_no_text_is_refused(repo, message):
    with pytest.raises(UsageError):
        repo.commit({"w": ARRAYS["matrix"]}, MODEL, message)


@pytest.mark.parametrize("message", ["", "no end", "an end\n", "größe\n\nbody", "bytes \udcff"])
def test_any_other_message_is_kept(bench, repo, message):
    repo.commit({"w": ARRAYS["matrix"]}, MODEL, message)
    assert bench.git("cat-file", "commit", "HEAD").split("\n\n", 1)[1:] == [message.rstrip("\n")] or message == ""
    bench.git("fsck", "--strict")


@pytest.mark.parametrize("branch", ["-x", "a b", "", "a..b", "/x", "x.lock"])
def test_a_name_that_no_branch_can_have_is_refused(repo, branch):
    with pytest.raises(UsageError) as caught:
        repo.commit({"w": ARRAYS["matrix"]}, MODEL, "no", branch=branch)
    assert caught.value.kind == "bad-argument"


def test_a_file_that_is_not_there_is_an_error_of_ours(repo, tmp_path):
    with pytest.raises(NotFoundError):
        repo.commit(tmp_path / "gone", MODEL, "no")
    with pytest.raises(BackendError):
        repo.commit(tmp_path, MODEL, "a folder")


def test_a_branch_that_moves_meanwhile_is_a_conflict(bench, repo, monkeypatch):
    original = commit_op.check_in

    def check_in_slowly(*args: object) -> object:
        bench.git("commit", "--quiet", "--allow-empty", "-m", "somebody else")
        return original(*args)

    monkeypatch.setattr(commit_op, "check_in", check_in_slowly)
    with pytest.raises(ConflictError):
        repo.commit({"w": ARRAYS["matrix"]}, MODEL, "late")
    assert bench.git("log", "-1", "--format=%s") == "somebody else"


def test_only_what_is_asked_for_is_read(bench, repo):
    bench.commit(MODEL, model([spec("a", 300_000), spec("b", 300_000)]))
    found = repo.snapshot("HEAD", MODEL)
    read: list[int] = []
    original = PackReader.read_at

    def counting(self: PackReader, offset: int, nbytes: int) -> bytes:
        read.append(nbytes)
        return original(self, offset, nbytes)

    PackReader.read_at = counting
    try:
        assert len(found) == 2
        assert [spec.name for spec in found.specs()] == ["a", "b"]
        assert "a" in found
        assert sum(read) == 0
        part = found.read("a", 400_000, 400_100)
        assert sum(read) < 700_000
        read.clear()
        whole = found["a"]
        assert sum(read) < 1_400_000
    finally:
        PackReader.read_at = original
    assert whole.tobytes()[400_000:400_100] == part


def test_a_tensor_that_is_not_there_is_told(repo):
    repo.commit({"w": ARRAYS["matrix"]}, MODEL, "one")
    found = repo.snapshot("HEAD", MODEL)
    with pytest.raises(NotFoundError) as caught:
        found.read("x")
    assert caught.value.kind == "tensor-unknown"
    with pytest.raises(KeyError):
        found["x"]
    assert found.get("x") is None
    assert repr(found) == f"<Snapshot HEAD:{MODEL}: 1 tensors, 840 bytes>"
    for revision, path in (("gone", MODEL), ("HEAD", "gone"), ("HEAD", ".gitattributes")):
        with pytest.raises(NotFoundError):
            repo.snapshot(revision, path)


def test_an_opaque_file_has_no_tensors(bench, repo):
    bench.commit(MODEL, bytes(3_000_000))
    found = repo.snapshot("HEAD", MODEL)
    assert (len(found), list(found.specs())) == (0, [])
    assert found.manifest.nbytes == 3_000_000


def test_history_state_and_differences_are_values(bench, repo):
    bench.commit(MODEL, network(), "first")
    bench.commit(MODEL, network(layer_1_weight=1), "second")
    entries = list(repo.log(paths=[MODEL]))
    assert [(entry.subject, entry.files[0].count("changed")) for entry in entries] == [("second", 1), ("first", 0)]
    (changed,) = repo.diff("HEAD~1", "HEAD").files
    assert [tensor.name for tensor in changed.tensors] == ["layer.1.weight"]
    bench.write(MODEL, network(layer_1_weight=1, layer_2_weight=2))
    state = repo.status()
    assert not state.clean
    assert [tensor.name for tensor in state.unstaged[0].tensors] == ["layer.2.weight"]
    assert [tensor.name for tensor in repo.diff().files[0].tensors] == ["layer.2.weight"]
    assert repo.add(bench.root / MODEL).files[0].new_objects == 1
    assert not repo.status().unstaged


@pytest.mark.parametrize("revision", ["--output={}", "--output={}..HEAD", "--all", "-1", "--no-such"])
def test_a_revision_is_never_an_option_of_gits(bench, repo, tmp_path, revision):
    bench.commit(MODEL, network())
    revision = revision.format(tmp_path / "written")
    for ask in (lambda: list(repo.log(revision)), lambda: repo.diff(revision), lambda: repo.snapshot(revision, MODEL)):
        with pytest.raises(NotFoundError) as caught:
            ask()
        assert caught.value.kind == "revision-unknown"
    assert bench.try_lamella("show", "--", revision).code != 0
    assert list(tmp_path.rglob("written*")) == []


def test_paths_to_add_are_relative_to_where_the_repository_was_opened(bench):
    bench.write(f"deep/{MODEL}", network())
    with Repo.open(bench.root / "deep") as repo:
        assert repo.root == bench.root
        assert repo.add(MODEL).files[0].path == f"deep/{MODEL}"


def test_paths_are_relative_to_the_root_wherever_the_repository_was_opened(bench):
    bench.commit(MODEL, network(), "above")
    bench.commit(f"deep/{MODEL}", network(), "below")
    bench.write(MODEL, network(layer_1_bias=1))
    bench.write(f"deep/{MODEL}", network(layer_1_bias=1))
    for folder in (bench.root, bench.root / "deep"):
        with Repo.open(folder) as repo:
            for path, subject in ((MODEL, "above"), (f"deep/{MODEL}", "below"), ("deep", "below"), ("d*", "below")):
                assert [entry.subject for entry in repo.log(paths=[path])] == [subject]
                assert len(repo.diff(paths=[path]).files) == 1
            assert len(repo.diff(paths=[":(top)", f":(exclude,top){MODEL}"]).files) == 1
            repo.snapshot("HEAD", f"deep/{MODEL}")


def test_outside_a_repository_that_is_said(tmp_path, git_environment):
    with pytest.raises(UsageError) as caught:
        Repo.open(tmp_path)
    assert caught.value.kind == "not-a-repository"


def test_importing_it_loads_nothing_heavy():
    script = (
        "import sys, lamella; lamella.Repo; "
        "print(sorted({'numpy', 'ml_dtypes', 'click', 'rich', 'scipy'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
    with pytest.raises(AttributeError, match="Nothing"):
        _ = lamella.Nothing


def test_a_history_written_from_python_is_packed_now_and_then_as_gits_own(bench, repo):
    for setting in ("gc.auto=6700", "gc.autoPackLimit=2", "gc.autoDetach=false"):
        bench.git("config", *setting.split("="))
    packs = bench.root / ".git/objects/pack"
    for number in range(3):
        repo.commit({"a": numpy.full(10, number)}, MODEL, "arrays")
        assert len(list(packs.glob("*.pack"))) == number
        bench.git("repack", "--quiet", "-d")
    repo.commit({"a": numpy.full(10, 3)}, MODEL, "arrays")
    assert len(list(packs.glob("*.pack"))) == 1
    assert repo.snapshot("HEAD~2", MODEL)["a"][0] == 1


def test_branches_are_merged_all_at_once_or_not_at_all(bench, repo):
    start = {"a": numpy.zeros(4, "f4"), "steps": numpy.arange(4)}
    repo.commit(start, MODEL, "start")
    repo.commit({**start, "a": start["a"] + 2}, MODEL, "one", branch="one")
    repo.commit({**start, "a": start["a"] + 6, "steps": start["steps"] + 1}, MODEL, "two", branch="two")
    repo.commit({**start, "steps": start["steps"] + 2}, MODEL, "three", branch="three")
    bench.git("reset", "--quiet", "--hard")
    head = bench.git("rev-parse", "HEAD")
    with pytest.raises(ConflictError, match="1 tensor is in conflict: steps of"):
        repo.merge("one", "two", "three", strategy="linear")
    assert bench.git("rev-parse", "HEAD") == head
    merged = repo.merge(
        "one", "two", "three", strategy="linear", strategies={"steps": "ours"}, weights=[0.25, 0.75, 0], message="soup"
    )
    assert repo.snapshot("HEAD", MODEL)["a"][0] == 5
    assert list(repo.snapshot("HEAD", MODEL)["steps"]) == [0, 1, 2, 3]
    assert bench.git("rev-parse", "HEAD") == merged.commit
    repo.commit(start, MODEL, "back", branch="four")
    assert len(repo.merge("four", strategy="linear").sides.commits) == 1


def test_rules_that_cannot_be_followed_are_refused_whatever_there_is_to_merge(bench, repo):
    for branch in (None, "one"):
        repo.commit({"a": numpy.full(4, branch is None, "f4")}, MODEL, "a model", branch=branch)
    bench.git("reset", "--quiet", "--hard")
    head = bench.git("rev-parse", "HEAD")
    for wrong in ({"parameters": {"density": 0.5}}, {"strategy": "tise"}, {"strategies": {"h.*": "tise"}}):
        with pytest.raises(UsageError):
            repo.merge("one", **wrong)
    assert bench.git("rev-parse", "HEAD") == head
    assert repo.merge("one", strategy="ties", parameters={"density": 0.5}).commit == bench.git("rev-parse", "one")
