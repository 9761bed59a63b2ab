"""Plain Git and the program do the same: the same blobs in Git, the same bytes in the worktree."""

from __future__ import annotations

import hashlib
import os

import pytest

from lamella.testing.models import network

MODEL = "model.safetensors"
FIRST, SECOND = network(), network(layer_1_weight=1)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_both_ways_of_adding_give_the_same_blob(bench):
    bench.write("by_git.safetensors", FIRST)
    bench.write("by_lamella.safetensors", FIRST)
    bench.git("add", "by_git.safetensors")
    bench.lamella("add", "by_lamella.safetensors")
    assert bench.git("rev-parse", ":by_git.safetensors") == bench.git("rev-parse", ":by_lamella.safetensors")
    assert bench.blob(":by_git.safetensors").startswith(b"lamella manifest 1\n")


@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_a_whole_day_of_work_restores_every_version_bit_for_bit(bench, verb):
    act = getattr(bench, verb)
    for content, message in ((FIRST, "one"), (SECOND, "two")):
        bench.write(MODEL, content)
        act("add", MODEL)
        act("commit", "--quiet", "-m", message)
    act("checkout", "--quiet", "HEAD~1")
    assert sha256(bench.read(MODEL)) == sha256(FIRST)
    act("switch", "--quiet", "main")
    assert sha256(bench.read(MODEL)) == sha256(SECOND)
    act("restore", "--source", "HEAD~1", MODEL)
    assert sha256(bench.read(MODEL)) == sha256(FIRST)
    assert bench.git("status", "--porcelain") == f" M {MODEL}"
    act("checkout", "--quiet", "--", MODEL)
    assert sha256(bench.read(MODEL)) == sha256(SECOND)
    assert bench.git("status", "--porcelain") == ""


def test_what_one_way_stored_the_other_way_restores(bench):
    bench.write(MODEL, FIRST)
    bench.git("add", MODEL)
    bench.git("commit", "--quiet", "-m", "by git")
    bench.commit(MODEL, SECOND)
    bench.lamella("checkout", "--quiet", "HEAD~1")
    assert bench.read(MODEL) == FIRST
    bench.git("checkout", "--quiet", "main")
    assert bench.read(MODEL) == SECOND


@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_the_executable_bit_is_kept(bench, verb):
    act = getattr(bench, verb)
    file = bench.write(MODEL, FIRST)
    file.chmod(0o755)
    act("add", MODEL)
    act("commit", "--quiet", "-m", "executable")
    assert bench.git("ls-files", "--stage", MODEL).startswith("100755 ")
    file.unlink()
    act("restore", MODEL)
    assert file.stat().st_mode & 0o777 == 0o755
    file.chmod(0o644)
    act("add", MODEL)
    assert bench.git("ls-files", "--stage", MODEL).startswith("100644 ")


def test_where_the_file_system_keeps_no_modes_the_index_keeps_them(bench):
    bench.git("config", "core.fileMode", "false")
    bench.write(MODEL, FIRST).chmod(0o755)
    bench.lamella("add", MODEL)
    assert bench.git("ls-files", "--stage", MODEL).startswith("100644 ")
    bench.git("update-index", "--chmod=+x", MODEL)
    bench.write(MODEL, SECOND).chmod(0o644)
    bench.lamella("add", MODEL)
    assert bench.git("ls-files", "--stage", MODEL).startswith("100755 ")


def test_restored_files_have_the_permissions_that_the_umask_leaves(bench):
    bench.commit(MODEL, FIRST)
    (bench.root / MODEL).unlink()
    before = os.umask(0o027)
    try:
        bench.lamella("restore", MODEL)
    finally:
        os.umask(before)
    assert (bench.root / MODEL).stat().st_mode & 0o777 == 0o640


def test_the_log_with_patches_names_the_tensor_that_changed(bench):
    bench.commit(MODEL, FIRST)
    bench.commit(MODEL, SECOND)
    patch = bench.git("log", "-p", "-1", "--format=")
    assert "\n-layer.1.weight f32 [4,6]  " in patch
    assert "\n+layer.1.weight f32 [4,6]  " in patch
    assert sum(line.startswith(("+layer", "-layer")) for line in patch.splitlines()) == 2
    plain = bench.git("log", "-p", "--no-textconv", "-U0", "-1", "--format=")
    assert "@@ layer.1.weight f32 [4,6]" in plain


def test_a_commit_of_everything_stores_what_changed(bench):
    bench.commit(MODEL, FIRST)
    bench.write(MODEL, SECOND)
    bench.lamella("commit", "--quiet", "-a", "-m", "all")
    bench.lamella("checkout", "--quiet", "HEAD~1")
    bench.lamella("checkout", "--quiet", "main")
    assert bench.read(MODEL) == SECOND


def test_a_file_of_another_kind_goes_through_git_as_ever(bench):
    bench.write("notes.txt", b"text\n")
    bench.write("weights.bin", os.urandom(1000))
    bench.lamella("add", ".")
    assert bench.blob(":notes.txt") == b"text\n"
    assert bench.blob(":weights.bin") == bench.read("weights.bin")


def test_a_tracked_file_that_is_no_model_is_kept_in_parts(bench):
    content = os.urandom(3_000_000)
    bench.commit("noise.safetensors", content)
    assert b"\nformat opaque\n" in bench.blob("HEAD:noise.safetensors")
    (bench.root / "noise.safetensors").unlink()
    bench.git("checkout", "--quiet", "--", ".")
    assert bench.read("noise.safetensors") == content


@pytest.mark.parametrize("content", [b"", b"\0", b"lamella", b"lamella manifest", b"{}"], ids=repr)
def test_very_short_files_come_back(bench, content):
    bench.write("a.safetensors", content)
    bench.write("b.safetensors", content)
    bench.git("add", "a.safetensors")
    bench.lamella("add", "b.safetensors")
    bench.git("commit", "--quiet", "-m", "short")
    bench.git("rm", "--quiet", "*.safetensors")
    bench.git("checkout", "--quiet", "HEAD", "--", "a.safetensors")
    bench.lamella("checkout", "--quiet", "HEAD", "--", "b.safetensors")
    assert bench.read("a.safetensors") == bench.read("b.safetensors") == content
    assert bench.git("status", "--porcelain") == ""
