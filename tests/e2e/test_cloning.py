"""A clone has the manifests and no weights, with and without the program, until somebody brings the store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lamella.testing.models import network
from tests.e2e.workbench import Workbench

MODEL, OTHER = "model.safetensors", "other.safetensors"
FIRST, SECOND = network(), network(layer_1_weight=1)
NO_WEIGHTS = "its weights are not in this repository's store; the manifest stands in its place"


@pytest.fixture
def origin(bench: Workbench) -> Workbench:
    """Return a repository with two models, of which one has two versions."""
    bench.commit(OTHER, SECOND)
    bench.commit(MODEL, FIRST)
    bench.commit(MODEL, SECOND)
    bench.write("notes.txt", b"text\n")
    bench.git("add", "notes.txt")
    bench.git("commit", "--quiet", "-m", "notes")
    return bench


@pytest.fixture
def clone(origin: Workbench, elsewhere: Path) -> Workbench:
    """Return a clone in which Lamella is not set up."""
    origin.git("clone", "--quiet", str(origin.root), str(elsewhere / "clone"))
    return Workbench(elsewhere / "clone")


def bring_store(origin: Workbench, clone: Workbench) -> None:
    shutil.copytree(origin.root / ".git/lamella/packs", clone.root / ".git/lamella/packs", dirs_exist_ok=True)


def test_without_the_program_there_is_a_readable_text_that_says_what_to_do(clone):
    lines = clone.read(MODEL).decode().splitlines()
    assert lines[0] == "lamella manifest 1"
    assert lines[2] == "# To get the file: install lamella, run `lamella init` here, then `lamella checkout`."
    assert lines[3] == "format safetensors"
    assert lines[6] == "layer.0.bias f32 [4,6]"
    assert clone.git("status", "--porcelain") == ""
    clone.git("checkout", "--quiet", "HEAD~2")
    assert clone.git("log", "-p", "-1", "--format=", "main~1", "--", MODEL).count("\n-    ") == 1


def test_the_text_means_what_it_says(origin, clone):
    clone.lamella("init")
    bring_store(origin, clone)
    assert clone.try_lamella("checkout").err.startswith("2 model files written, ")
    assert (clone.read(MODEL), clone.read(OTHER)) == (SECOND, SECOND)
    assert clone.filters_run("status", "--porcelain") == 0
    clone.git("checkout", "--quiet", "HEAD~2")
    assert clone.read(MODEL) == FIRST


def test_files_without_weights_stay_manifests_and_the_exit_code_says_so(origin, clone):
    clone.lamella("init")
    ended = clone.try_lamella("checkout")
    assert ended.code == 3
    assert ended.err == "".join(
        f"error: {path}: 9 of the 9 objects that it needs are not in this repository's store\n"
        "hint: copy the packs of a clone that has them from its .git/lamella/packs, then run `lamella checkout`\n"
        for path in (MODEL, OTHER)
    )
    assert clone.read(MODEL) == origin.blob(f"HEAD:{MODEL}")
    assert clone.git("status", "--porcelain") == ""


def test_only_files_that_a_verb_moved_or_was_asked_for_count_as_its_failures(clone):
    clone.lamella("init")
    for quiet in (("switch", "--quiet", "-c", "new"), ("restore", "notes.txt"), ("checkout", "--quiet", "HEAD~1")):
        ended = clone.try_lamella(*quiet)
        assert (ended.code, ended.err) == (0, "")
    ended = clone.try_lamella("checkout", "--quiet", "HEAD~1")
    assert (ended.code, ended.err.count("error: "), MODEL in ended.err) == (3, 1, True)
    for named in (("restore", OTHER), ("checkout", "--", ".")):
        ended = clone.try_lamella(*named)
        assert (ended.code, f"error: {OTHER}: " in ended.err) == (3, True)


def test_the_files_whose_weights_are_here_are_written(clone):
    clone.lamella("init")
    clone.commit("new.safetensors", network(layer_3_bias=9))
    for path in ("new.safetensors", MODEL, "notes.txt"):
        (clone.root / path).unlink()
    ended = clone.try_lamella("checkout", "--", ".")
    assert ended.code == 3
    assert "1 model file written, " in ended.err
    assert f"error: {MODEL}: " in ended.err
    assert clone.read("new.safetensors") == network(layer_3_bias=9)
    assert clone.read("notes.txt") == b"text\n"
    assert clone.git("status", "--porcelain") == ""


def test_plain_git_works_with_warnings(clone):
    clone.lamella("init")
    ended = clone.try_git("checkout", "HEAD~2")
    assert ended.code == 0
    assert f"lamella: warning: {MODEL}: {NO_WEIGHTS}\n" in ended.err
    assert "lamella: 2 model files are only a manifest here: model.safetensors, other.safetensors\n" in ended.err
    assert clone.git("status", "--porcelain") == ""
    clone.git("branch", "side")
    clone.git("commit", "--quiet", "--allow-empty", "-m", "empty")
    for quiet in (("tag", "v1"), ("branch", "other"), ("commit", "--quiet", "--allow-empty", "-m", "two")):
        ended = clone.try_lamella(*quiet)
        assert (ended.code, ended.err) == (0, "")


def test_what_is_not_here_is_listed_as_such(clone):
    clone.lamella("init")
    listed = [line.split()[:2] for line in clone.lamella("ls-files").splitlines()]
    assert listed == [["-", MODEL], ["-", OTHER]]
    assert clone.lamella("status").endswith(
        f"only the manifest is here (`lamella checkout` gets the file):\n  {MODEL}\n  {OTHER}\nnothing changed"
    )
    shown = clone.lamella("show", f"HEAD:{MODEL}")
    assert "8 objects not in the store" in shown
    assert "warning  files: 2 manifests in place of models: model.safetensors, other.safetensors" in clone.lamella(
        "doctor"
    )


def test_history_is_read_without_weights(clone):
    assert clone.lamella("diff", "HEAD~2", "HEAD").splitlines() == [
        f"{MODEL}: 1 changed of 8 tensors",
        "  ~ layer.1.weight  f32 [4, 6]  96 B",
    ]
    assert f"{MODEL}: 1 changed of 8 tensors" in clone.lamella("log")


def test_work_goes_on_beside_files_without_weights(origin, clone):
    clone.lamella("init")
    clone.git("switch", "--quiet", "--create", "work")
    clone.commit("mine.safetensors", network(layer_0_bias=5))
    clone.git("commit", "--quiet", "--amend", "-a", "-m", "mine, and nothing else")
    assert clone.git("show", "--format=", "--name-only", "HEAD") == "mine.safetensors"
    clone.git("merge", "--quiet", "main")
    assert clone.blob(f"HEAD:{MODEL}") == origin.blob(f"HEAD:{MODEL}")


def test_fsck_names_what_is_missing(clone):
    clone.lamella("init")
    ended = clone.try_lamella("fsck")
    assert ended.code == 5
    head = clone.git("rev-parse", "HEAD~1")[:10]
    assert f"missing: {MODEL}, tensor layer.1.weight, version of {head}" in ended.out


def test_a_store_that_lacks_one_pack_gives_all_that_the_others_have(origin, clone):
    clone.lamella("init")
    bring_store(origin, clone)
    with origin.repository() as repository:
        manifest = repository.manifest("HEAD~2", MODEL)
        changed = next(row.object for row in manifest.rows if row.spec.name == "layer.1.weight")
        (name,) = {name for name, _ in repository.store.index.find(changed)}
    (clone.root / ".git/lamella/packs" / name).unlink()
    clone.lamella("checkout")
    assert (clone.read(MODEL), clone.read(OTHER)) == (SECOND, SECOND)
    ended = clone.try_lamella("checkout", "--quiet", "HEAD~2")
    assert ended.code == 3
    assert f"error: {MODEL}: 1 of the 9 objects that it needs are not in" in ended.err
    assert clone.read(MODEL) == origin.blob(f"HEAD~2:{MODEL}")
    assert clone.read(OTHER) == SECOND


NOT_SET_UP = "warning: git does not know lamella in this clone and would keep model files whole; run `lamella init`\n"


def test_work_in_a_clone_that_is_not_set_up_is_warned_of(origin, clone):
    bring_store(origin, clone)
    ended = clone.try_lamella("checkout")
    assert (ended.code, ended.err.startswith(NOT_SET_UP)) == (0, True)
    assert clone.read(MODEL) == SECOND
    assert clone.git("status", "--porcelain") == ""
    clone.write(MODEL, FIRST)
    ended = clone.try_lamella("add", "--quiet", MODEL)
    assert (ended.code, ended.out, ended.err) == (0, "", NOT_SET_UP)
    clone.lamella("init")
    clone.write(MODEL, SECOND)
    assert clone.try_lamella("add", "--quiet", MODEL).err == ""
    assert clone.try_lamella("checkout", "--quiet", "HEAD", "--", MODEL).err == ""


@pytest.mark.parametrize("staged", [True, False])
def test_a_clone_that_is_not_set_up_commits_no_whole_models(origin, clone, staged):
    before = clone.git("rev-parse", "HEAD")
    clone.write(MODEL, network(layer_1_weight=7))
    assert clone.try_lamella("status").err == NOT_SET_UP
    if staged:
        clone.git("add", MODEL)
    refused = clone.try_lamella("commit", "--all", "-m", "whole")
    assert (refused.code, refused.err) == (
        2,
        "error: git does not know lamella in this clone and would commit model files whole\n"
        "hint: run `lamella init`, then `lamella add` what was staged without it\n",
    )
    assert clone.git("rev-parse", "HEAD") == before
    note = f"warning: {MODEL}: in git whole, and kept the new way once you `lamella add` it\n"
    assert clone.try_lamella("init").err == note * staged
    clone.lamella("add", MODEL)
    clone.lamella("commit", "--quiet", "-m", "in tensors")
    assert clone.blob(f"HEAD:{MODEL}").startswith(b"lamella manifest 1\n")
    assert clone.try_lamella("init").err == clone.try_lamella("status").err == ""


def test_a_repository_without_models_needs_no_setting_up(git_repository):
    plain = Workbench(git_repository.root)
    plain.write("notes.txt", b"text")
    plain.git("add", ".")
    assert plain.try_lamella("status").err == ""
    plain.lamella("commit", "--quiet", "-m", "text")


@pytest.mark.parametrize("gone", ["lamella", "lamella/tmp"])
def test_the_filter_makes_what_is_missing_of_the_store(clone, gone):
    clone.lamella("init")
    shutil.rmtree(clone.root / ".git" / gone)
    clone.write(MODEL, FIRST)
    clone.git("add", MODEL)
    clone.git("commit", "--quiet", "-m", "own")
    (clone.root / MODEL).unlink()
    clone.git("checkout", "--quiet", "--", MODEL)
    assert clone.read(MODEL) == FIRST


def test_a_shallow_clone_works(origin, elsewhere):
    origin.git("clone", "--quiet", "--depth=1", f"file://{origin.root}", str(elsewhere / "shallow"))
    shallow = Workbench(elsewhere / "shallow")
    shallow.lamella("init")
    bring_store(origin, shallow)
    shallow.lamella("checkout")
    assert shallow.read(MODEL) == SECOND
    assert shallow.lamella("fsck").endswith("everything is sound")
    assert shallow.lamella("gc", "--grace-days", "0", "--dry-run").startswith("would drop 1 object, ")
