"""Model files go through everything that Git can do with files."""

from __future__ import annotations

import shutil

import pytest

from lamella.testing.models import network
from tests.e2e.workbench import PROGRAM, Workbench

MODEL = "model.safetensors"
FIRST, SECOND = network(), network(layer_1_weight=1)


def two_versions(bench: Workbench) -> None:
    bench.commit(MODEL, FIRST, "first")
    bench.commit(MODEL, SECOND, "second")


@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_a_linked_worktree_has_its_own_files_and_the_same_store(bench, elsewhere, verb):
    two_versions(bench)
    bench.git("worktree", "add", "--quiet", str(elsewhere / "linked"), "HEAD~1")
    linked = Workbench(elsewhere / "linked")
    assert linked.read(MODEL) == FIRST
    linked.git("switch", "--quiet", "--create", "branch")
    linked.write(MODEL, network(layer_2_weight=1))
    getattr(linked, verb)("add", MODEL)
    getattr(linked, verb)("commit", "--quiet", "-m", "third")
    assert linked.filters_run("status", "--porcelain") == 0
    getattr(bench, verb)("checkout", "--quiet", "branch~0")
    assert bench.read(MODEL) == network(layer_2_weight=1)
    assert not (elsewhere / "linked" / ".git").is_dir()


@pytest.mark.parametrize("then", ["pop", "apply"])
def test_a_stash_puts_changes_aside_and_brings_them_back(bench, then):
    bench.commit(MODEL, FIRST)
    bench.write(MODEL, SECOND)
    bench.git("stash", "--quiet")
    assert bench.read(MODEL) == FIRST
    bench.git("stash", then, "--quiet")
    assert bench.read(MODEL) == SECOND


def test_a_stash_keeps_what_is_staged_and_what_is_untracked(bench):
    bench.commit(MODEL, FIRST)
    bench.write(MODEL, SECOND)
    bench.lamella("add", MODEL)
    bench.write("new.safetensors", network(layer_3_bias=3))
    bench.git("stash", "--quiet", "--include-untracked")
    assert not (bench.root / "new.safetensors").exists()
    bench.git("stash", "pop", "--quiet", "--index")
    assert bench.git("status", "--porcelain") == f"M  {MODEL}\n?? new.safetensors"
    assert bench.read("new.safetensors") == network(layer_3_bias=3)


def test_an_amended_commit_has_the_new_weights(bench):
    two_versions(bench)
    bench.write(MODEL, network(layer_2_weight=1))
    bench.lamella("commit", "--quiet", "-a", "--amend", "--no-edit")
    assert bench.git("rev-list", "--count", "HEAD") == "3"
    bench.git("checkout", "--quiet", "HEAD~1")
    bench.git("checkout", "--quiet", "main")
    assert bench.read(MODEL) == network(layer_2_weight=1)


def test_cleaning_everything_leaves_the_store_alone(bench):
    bench.commit(MODEL, FIRST)
    bench.write("junk.safetensors", SECOND)
    bench.git("clean", "--quiet", "-fdx")
    assert not (bench.root / "junk.safetensors").exists()
    (bench.root / MODEL).unlink()
    bench.git("checkout", "--quiet", "--", MODEL)
    assert bench.read(MODEL) == FIRST


@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_a_sparse_checkout_has_no_files_outside_it(bench, verb):
    for path in ("in/a.safetensors", "out/b.safetensors"):
        bench.commit(path, FIRST)
    bench.git("sparse-checkout", "set", "in")
    getattr(bench, verb)("checkout", "--quiet", "HEAD~1")
    getattr(bench, verb)("checkout", "--quiet", "main")
    bench.lamella("checkout")
    assert bench.read("in/a.safetensors") == FIRST
    assert not (bench.root / "out").exists()
    assert bench.git("status", "--porcelain") == ""
    assert bench.git("ls-files", "-t", "out").startswith("S ")
    bench.git("sparse-checkout", "disable")
    assert bench.read("out/b.safetensors") == FIRST


def test_a_file_that_is_skipped_is_neither_filled_nor_taken_into_the_index(bench):
    bench.commit(MODEL, FIRST)
    bench.git("update-index", "--skip-worktree", MODEL)
    text = bench.blob(f"HEAD:{MODEL}")
    bench.write(MODEL, text)
    before = (bench.root / ".git/index").read_bytes()
    bench.lamella("checkout")
    assert bench.read(MODEL) == text
    assert (bench.root / ".git/index").read_bytes() == before


@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_a_sparse_index_is_left_to_git(bench, verb):
    for path in ("in/a.safetensors", "out/b.safetensors"):
        bench.commit(path, FIRST)
        bench.commit(path, SECOND)
    bench.git("sparse-checkout", "set", "--cone", "--sparse-index", "in")
    getattr(bench, verb)("checkout", "--quiet", "HEAD~3")
    assert bench.read("in/a.safetensors") == FIRST
    getattr(bench, verb)("checkout", "--quiet", "main")
    assert bench.read("in/a.safetensors") == SECOND
    assert bench.git("status", "--porcelain") == ""


def test_submodules_are_left_alone(bench, make_bench):
    inner = make_bench("inner")
    inner.commit(MODEL, FIRST)
    bench.git("submodule", "--quiet", "add", str(inner.root), "sub")
    bench.git("commit", "--quiet", "-m", "with a submodule")
    text = inner.blob(f"HEAD:{MODEL}")
    assert bench.read(f"sub/{MODEL}") == text
    bench.lamella("checkout")
    bench.lamella("add", ".")
    assert bench.lamella("ls-files") == ""
    assert bench.read(f"sub/{MODEL}") == text
    assert bench.lamella("status").startswith("on branch main\nnothing changed")
    bench.commit(MODEL, SECOND)
    assert bench.lamella("gc", "--grace-days", "0").startswith("dropped 0 objects")


@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_submodules_that_move_along_get_their_files(bench, make_bench, verb):
    inner = make_bench("inner")
    versions = [inner.commit(MODEL, content) for content in (FIRST, SECOND)]
    bench.git("submodule", "--quiet", "add", str(inner.root), "sub")
    sub = Workbench(bench.root / "sub")
    sub.lamella("init")
    shutil.copytree(
        inner.root / ".git/lamella/packs", bench.root / ".git/modules/sub/lamella/packs", dirs_exist_ok=True
    )
    for version in versions:
        sub.git("checkout", "--quiet", "--force", version)
        bench.git("add", "sub")
        bench.git("commit", "--quiet", "-m", "moved")
    bench.git("config", "submodule.recurse", "true")
    getattr(bench, verb)("checkout", "--quiet", "HEAD~1")
    assert sub.read(MODEL) == FIRST
    assert sub.git("status", "--porcelain") == bench.git("status", "--porcelain") == ""
    getattr(bench, verb)("checkout", "--quiet", "main")
    assert sub.read(MODEL) == SECOND


def test_a_hook_of_the_users_that_needs_the_files_can_write_them(bench, elsewhere):
    two_versions(bench)
    hook = bench.root / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\n'{PROGRAM}' checkout\ncp {MODEL} '{elsewhere}'\n")
    hook.chmod(0o755)
    bench.lamella("checkout", "--quiet", "HEAD~1")
    assert (elsewhere / MODEL).read_bytes() == bench.read(MODEL) == FIRST


def test_a_bare_repository_can_be_looked_at(bench, elsewhere):
    two_versions(bench)
    bench.git("clone", "--quiet", "--bare", str(bench.root), str(elsewhere / "bare.git"))
    bare = Workbench(elsewhere / "bare.git")
    (elsewhere / "bare.git" / "lamella").symlink_to(bench.root / ".git" / "lamella")
    assert f"{MODEL}: 1 changed of 8 tensors" in bare.lamella("log")
    assert bare.lamella("show", f"HEAD:{MODEL}").startswith(f"HEAD:{MODEL}  safetensors, 8 tensors")
    assert bare.lamella("diff", "HEAD~1", "HEAD").startswith(f"{MODEL}: 1 changed of 8 tensors")
    assert bare.lamella("fsck").endswith("everything is sound")
    assert bare.lamella("gc").startswith("dropped 0 objects")
    assert bare.lamella("ls-files") == ""
    refused = bare.try_lamella("add", ".")
    assert refused.code == 2
    assert refused.err.startswith("error: ")


def test_a_detached_head_is_worked_on_as_a_branch(bench):
    two_versions(bench)
    bench.lamella("checkout", "--quiet", "--detach", "HEAD~1")
    assert bench.lamella("status").startswith("HEAD is detached at ")
    bench.write(MODEL, network(layer_3_bias=1))
    bench.lamella("add", MODEL)
    bench.lamella("commit", "--quiet", "-m", "aside")
    assert bench.git("rev-parse", "HEAD~1") == bench.git("rev-parse", "main~1")


@pytest.mark.parametrize("name", ["with spaces", "größe-層", "-leading", "quo'te\"d", "tab\there", "$(x)`y`"])
def test_the_repository_may_lie_in_a_folder_of_any_name(make_bench, name):
    bench = make_bench(name)
    bench.write(MODEL, FIRST)
    bench.git("add", MODEL)
    bench.git("commit", "--quiet", "-m", "first")
    bench.write(MODEL, SECOND)
    bench.lamella("add", MODEL)
    bench.lamella("commit", "--quiet", "-m", "second")
    bench.git("checkout", "--quiet", "HEAD~1")
    assert bench.read(MODEL) == FIRST
    bench.lamella("checkout", "--quiet", "main")
    assert bench.read(MODEL) == SECOND
    assert bench.filters_run("status", "--porcelain") == 0


HOSTILE = ("with spaces", "größe-層", "-leading", "quo\"te'd", "line\nbreak", "#hash", "\\back\\slash", ":(top)", "*")


@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_files_may_have_any_name(bench, verb):
    act = getattr(bench, verb)
    paths = [f"{name}.safetensors" for name in HOSTILE] + [f"{name}/model.safetensors" for name in HOSTILE]
    paths.append("not\udcff-unicode.safetensors")
    for path in paths:
        bench.write(path, FIRST)
    act("add", ".")
    act("commit", "--quiet", "-m", "all")
    for path in paths:
        assert bench.blob(f":{path}" if "\n" not in path else bench.git("rev-parse", f":{path}")).startswith(
            b"lamella "
        )
        (bench.root / path).unlink()
    act("checkout", "--quiet", "--", ".")
    assert all(bench.read(path) == FIRST for path in paths)
    assert bench.git("status", "--porcelain") == ""
    for path in paths:
        bench.write(path, SECOND)
    shown = bench.lamella("status")
    assert shown.count("1 changed of 8 tensors") == len(paths)
    assert shown.isprintable() or set(shown) - set("\n") == {char for char in shown if char.isprintable()}


def test_windows_line_endings_do_not_touch_models(bench):
    bench.git("config", "core.autocrlf", "true")
    content = b"\r\n".join([FIRST, b"\n\r\n\n", SECOND])
    bench.write(MODEL, content)
    bench.git("add", MODEL)
    bench.git("commit", "--quiet", "-m", "line endings")
    assert b"\r" not in bench.blob(f"HEAD:{MODEL}")
    for verb in (bench.git, bench.lamella):
        (bench.root / MODEL).unlink()
        verb("checkout", "--quiet", "--", MODEL)
        assert bench.read(MODEL) == content


def test_a_repository_with_sha256_works_alike(make_bench):
    bench = make_bench("sha256", "--object-format=sha256")
    two_versions(bench)
    bench.lamella("checkout", "--quiet", "HEAD~1")
    assert bench.read(MODEL) == FIRST
    assert bench.filters_run("status", "--porcelain") == 0
    assert bench.lamella("fsck").endswith("everything is sound")
    assert bench.lamella("gc", "--grace-days", "0").startswith("dropped 0 objects")
    assert bench.lamella("log", "-n", "1").splitlines()[0].startswith("commit ")


def test_attributes_of_a_folder_decide_for_that_folder(bench):
    bench.write(
        "models/.gitattributes", b"*.bin filter=lamella diff=lamella merge=lamella -text\n*.safetensors !filter\n"
    )
    for path in ("models/a.bin", "models/b.safetensors", "c.bin", "d.safetensors"):
        bench.write(path, FIRST)
    bench.lamella("add", ".")
    kept = {path for path in bench.git("ls-files").split() if bench.blob(f":{path}").startswith(b"lamella manifest")}
    assert kept == {"models/a.bin", "d.safetensors"}
    assert [line.split()[1] for line in bench.lamella("ls-files").splitlines()] == ["d.safetensors", "models/a.bin"]
    bench.git("commit", "--quiet", "-m", "all")
    bench.git("rm", "--quiet", "-r", ".", "--ignore-unmatch")
    bench.lamella("checkout", "--quiet", "HEAD", "--", ".")
    assert all(bench.read(path) == FIRST for path in ("models/a.bin", "models/b.safetensors", "c.bin", "d.safetensors"))


def test_a_file_that_was_committed_before_it_was_tracked_stays_what_it_is(bench):
    bench.write("old.bin", FIRST)
    bench.git("add", "old.bin")
    bench.git("commit", "--quiet", "-m", "plain")
    bench.lamella("track", "*.bin")
    bench.git("commit", "--quiet", "-m", "tracked from now on", "--", ".gitattributes")
    (bench.root / "old.bin").unlink()
    bench.git("checkout", "--quiet", "HEAD~1", "--", "old.bin")
    assert bench.read("old.bin") == FIRST
    (bench.root / "old.bin").unlink()
    bench.lamella("checkout", "--quiet", "HEAD~1", "--", "old.bin")
    assert bench.read("old.bin") == FIRST
    assert bench.lamella("ls-files") == ""
    assert bench.lamella("fsck").endswith("everything is sound")
    bench.write("old.bin", SECOND)
    bench.lamella("add", ".")
    assert bench.blob(":old.bin").startswith(b"lamella manifest")


def test_a_rename_keeps_the_manifest(bench):
    bench.commit(MODEL, FIRST)
    bench.git("mv", MODEL, "renamed.safetensors")
    assert bench.git("status", "--porcelain") == f"R  {MODEL} -> renamed.safetensors"
    bench.git("commit", "--quiet", "-m", "renamed")
    assert bench.git("rev-parse", "HEAD~1:model.safetensors") == bench.git("rev-parse", "HEAD:renamed.safetensors")


def test_an_archive_has_the_models_themselves(bench, elsewhere):
    bench.commit(MODEL, FIRST)
    bench.git("archive", "--output", str(elsewhere / "a.tar"), "HEAD")
    bench.git("-C", str(elsewhere), "init", "--quiet", "unpacked")
    unpacked = Workbench(elsewhere)
    assert FIRST in unpacked.read("a.tar")


def test_a_model_is_the_same_blob_for_everybody_who_asks_git(bench):
    bench.write(MODEL, FIRST)
    oid = bench.git("hash-object", f"--path={MODEL}", MODEL)
    bench.lamella("add", MODEL)
    assert bench.git("rev-parse", f":{MODEL}") == oid
    assert bench.git("cat-file", "--filters", f":{MODEL}", env={"LAMELLA_SMUDGE": "manifest"}).startswith(
        "lamella manifest 1"
    )
