"""`fsck` names exactly the tensors and versions that are hit, and `--repair` takes what the worktree still has."""

from __future__ import annotations

import resource
import shutil

import pytest

from lamella.core.errors import BackendError
from lamella.ops import fsck as fsck_op
from lamella.ops.fsck import fsck
from lamella.repo.manifest import Manifest
from lamella.repo.worktree import OpenedFile
from lamella.store.pack import Entry
from lamella.testing.models import LAYERS, model, network, spec
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
FIRST, SECOND = network(), network(layer_1_weight=1)


@pytest.fixture
def versions(bench: Workbench) -> tuple[str, str]:
    """Commit two versions of a model that differ in one tensor, and return the commits."""
    return bench.commit(MODEL, FIRST), bench.commit(MODEL, SECOND)


def place(bench: Workbench, revision: str, tensor: str | None) -> tuple[str, Entry]:
    """Return where a tensor, or the skeleton, lies: the name of its pack, and the entry."""
    with bench.repository() as repository:
        manifest: Manifest = repository.manifest(revision, MODEL)
        identity = next((row.object for row in manifest.rows if row.spec.name == tensor), manifest.skeleton)
        assert identity is not None
        return repository.store.index.find(identity)[0]


def flip(bench: Workbench, revision: str, tensor: str | None, *, into_payload: int = 0) -> None:
    """Change one bit of a stored tensor."""
    name, entry = place(bench, revision, tensor)
    pack = bench.root / ".git/lamella/packs" / name
    content = bytearray(pack.read_bytes())
    content[entry.offset + entry.head_nbytes + into_payload] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)


def named(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith(("damaged: model", "missing: model"))]


def test_a_sound_store_is_sound(bench, versions):
    ended = bench.try_lamella("fsck")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0].startswith("checked 2 packs, 10 objects, ")
    assert ended.out.splitlines()[1:] == ["everything is sound"]


def test_damage_of_one_version_is_told_for_that_version(bench, versions):
    flip(bench, "HEAD", "layer.1.weight")
    ended = bench.try_lamella("fsck")
    assert ended.code == 5
    assert named(ended.out) == [f"damaged: {MODEL}, tensor layer.1.weight, version of {versions[1][:10]}"]
    assert ended.out.count("damaged: pack ") == 1


def test_damage_of_a_tensor_that_both_versions_have_is_told_for_both(bench, versions):
    flip(bench, "HEAD", "layer.0.bias", into_payload=5)
    assert named(bench.try_lamella("fsck").out) == [
        f"damaged: {MODEL}, tensor layer.0.bias, version of {versions[1][:10]}",
        f"damaged: {MODEL}, tensor layer.0.bias, version of {versions[0][:10]}",
    ]


def test_damage_of_a_base_hits_what_leans_on_it(bench):
    big = bytearray(model([spec("wide", 50_000), spec("small", 4)]))
    commits = [bench.commit(MODEL, bytes(big))]
    big[5_000:5_004] = b"next"
    commits.append(bench.commit(MODEL, bytes(big)))
    assert "delta, depth 1" in bench.lamella("show", f"HEAD:{MODEL}")
    flip(bench, commits[0], "wide")
    assert named(bench.try_lamella("fsck").out) == [
        f"damaged: {MODEL}, tensor wide, version of {commit[:10]}" for commit in reversed(commits)
    ]


def test_damage_of_the_rest_of_the_file_is_told(bench, versions):
    flip(bench, "HEAD", None)
    assert named(bench.try_lamella("fsck").out) == [
        f"damaged: {MODEL}, everything but the tensors, version of {commit[:10]}" for commit in reversed(versions)
    ]


def test_damage_of_what_no_version_needs_is_told_without_a_tensor(bench, versions):
    bench.git("reset", "--quiet", "--hard", "HEAD~1")
    name, entry = place(bench, versions[1], "layer.1.weight")
    bench.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    (bench.root / ".git/ORIG_HEAD").unlink()
    pack = bench.root / ".git/lamella/packs" / name
    content = bytearray(pack.read_bytes())
    content[entry.offset + entry.head_nbytes] ^= 1
    pack.write_bytes(content)
    ended = bench.try_lamella("fsck")
    assert ended.code == 5
    assert named(ended.out) == []
    assert f"damaged: pack {name}, object {entry.id.hex()}: " in ended.out


def test_a_missing_pack_is_told_tensor_by_tensor(bench, versions):
    name, _ = place(bench, "HEAD", "layer.1.weight")
    (bench.root / ".git/lamella/packs" / name).unlink()
    ended = bench.try_lamella("fsck")
    assert ended.code == 5
    assert named(ended.out) == [f"missing: {MODEL}, tensor layer.1.weight, version of {versions[1][:10]}"]


def test_a_version_that_is_only_staged_is_told(bench):
    bench.write(MODEL, FIRST)
    bench.lamella("add", MODEL)
    flip(bench, "", "layer.0.bias")
    assert named(bench.try_lamella("fsck").out) == [
        f"damaged: {MODEL}, tensor layer.0.bias, version that is in no commit"
    ]


def test_a_quick_check_finds_the_flipped_bit_too(bench, versions):
    flip(bench, "HEAD", "layer.1.weight")
    ended = bench.try_lamella("fsck", "--quick")
    assert ended.code == 5
    assert named(ended.out) == [f"damaged: {MODEL}, tensor layer.1.weight, version of {versions[1][:10]}"]


@pytest.mark.parametrize("tensor", ["layer.1.weight", "layer.3.bias", None], ids=str)
def test_what_the_worktree_still_has_is_repaired(bench, versions, tensor):
    flip(bench, "HEAD", tensor)
    ended = bench.try_lamella("fsck", "--repair")
    assert ended.code == 0, ended
    assert "stored 1 object again\n" in ended.out
    assert ended.out.endswith("everything is sound\n")
    bench.git("checkout", "--quiet", versions[0])
    assert bench.read(MODEL) == FIRST
    bench.git("checkout", "--quiet", versions[1])
    assert bench.read(MODEL) == SECOND
    assert len(list((bench.root / ".git/lamella/quarantine").iterdir())) == 1
    assert "warning  quarantine: 1 damaged pack set aside" in bench.lamella("doctor")


def test_what_the_worktree_does_not_have_stays_damaged_and_the_rest_is_kept(bench, versions):
    flip(bench, versions[0], "layer.1.weight")
    ended = bench.try_lamella("fsck", "--repair")
    assert ended.code == 5
    assert named(ended.out) == [f"missing: {MODEL}, tensor layer.1.weight, version of {versions[0][:10]}"]
    (bench.root / MODEL).unlink()
    bench.git("checkout", "--quiet", "--", MODEL)
    assert bench.read(MODEL) == SECOND


def test_another_copy_of_the_store_repairs_what_is_missing(bench, versions, elsewhere):
    shutil.copytree(bench.root / ".git/lamella/packs", elsewhere / "packs")
    flip(bench, versions[0], "layer.1.weight")
    assert bench.try_lamella("fsck", "--repair").code == 5
    shutil.copytree(elsewhere / "packs", bench.root / ".git/lamella/packs", dirs_exist_ok=True)
    assert bench.lamella("fsck").endswith("everything is sound")
    bench.git("checkout", "--quiet", versions[0])
    assert bench.read(MODEL) == FIRST


def test_a_whole_store_that_is_gone_is_rebuilt_as_far_as_the_worktree_goes(bench, versions):
    shutil.rmtree(bench.root / ".git/lamella")
    ended = bench.try_lamella("fsck")
    assert ended.code == 5
    assert len(named(ended.out)) == 2 * (1 + len(LAYERS))
    ended = bench.try_lamella("fsck", "--repair")
    assert named(ended.out) == [f"missing: {MODEL}, tensor layer.1.weight, version of {versions[0][:10]}"]
    (bench.root / MODEL).unlink()
    bench.git("checkout", "--quiet", "--", MODEL)
    assert bench.read(MODEL) == SECOND


def test_damaged_weights_never_reach_the_worktree(bench, versions):
    flip(bench, "HEAD", "layer.1.weight")
    (bench.root / MODEL).unlink()
    refused = bench.try_git("checkout", "--", MODEL)
    assert refused.code != 0
    assert f"lamella: {MODEL}: " in refused.err
    assert "lamella: hint: run `lamella fsck --repair`\n" in refused.err
    assert not (bench.root / MODEL).exists()
    ended = bench.try_lamella("checkout", "--", MODEL)
    assert ended.code == 5
    assert ended.err.splitlines()[-1] == "hint: run `lamella fsck --repair`"
    assert bench.read(MODEL).startswith(b"lamella manifest 1\n")


def test_an_index_of_the_store_that_is_garbage_is_rebuilt(bench, versions):
    (bench.root / ".git/lamella/index.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 50)
    (bench.root / MODEL).unlink()
    bench.lamella("checkout", "--", MODEL)
    assert bench.read(MODEL) == SECOND
    assert bench.lamella("fsck").endswith("everything is sound")


def test_a_malformed_manifest_is_told_with_its_versions(bench, versions):
    text = bench.blob(f"HEAD:{MODEL}")
    (bench.root / MODEL).write_bytes(text + b"".join(text.splitlines(keepends=True)[-2:]))
    bench.git("-c", "filter.lamella.process=", "-c", "filter.lamella.required=false", "commit", "-qam", "harm")
    commit = bench.git("rev-parse", "--short=10", "HEAD")
    ended = bench.try_lamella("fsck")
    assert ended.code == 5
    (told,) = (line for line in ended.out.splitlines() if line.startswith("broken: "))
    assert told.startswith(f"broken: {MODEL}, version of {commit}: ")
    assert "a tensor of that name stands above" in told


def test_a_merge_that_is_going_on_breaks_nothing(bench, versions):
    bench.git("switch", "--quiet", "--create", "other", versions[0])
    bench.commit(MODEL, network(layer_1_weight=2))
    assert bench.try_git("merge", "main").code == 1
    assert bench.lamella("fsck").endswith("everything is sound")


def test_a_repair_holds_few_files_open(bench):
    for number in range(80):
        bench.write(f"{number}.safetensors", network(layer_1_bias=number + 1))
    bench.lamella("add", ".")
    bench.git("commit", "--quiet", "--message", "many")
    shutil.rmtree(bench.root / ".git/lamella")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, limits[1]))
    try:
        with bench.repository() as repository:
            report = fsck(repository, repair=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (report.sound, report.unread) == (True, ())


def test_a_repair_says_which_files_it_could_not_read(bench, versions, monkeypatch):
    flip(bench, "HEAD", "layer.1.weight")

    def refuse(*_: object) -> OpenedFile:
        raise BackendError("cannot open it", kind="unreadable")

    monkeypatch.setattr(fsck_op, "open_file", refuse)
    with bench.repository() as repository:
        report = fsck(repository, repair=True)
    assert report.unread == ((MODEL, "cannot open it"),)
    assert not report.sound
