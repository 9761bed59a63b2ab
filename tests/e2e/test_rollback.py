"""Going back to a version is a new commit, bit for bit, and leaves everything else alone."""

from __future__ import annotations

import json
import os

import pytest

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.ops.repository import Repo
from lamella.testing.models import network
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
FIRST, SECOND = network(), network(layer_1_weight=1)


@pytest.fixture
def history(bench: Workbench) -> Workbench:
    """Return a repository with two tagged versions of a model, and of another file from between them."""
    bench.commit(MODEL, FIRST, "the good one")
    bench.git("tag", "first")
    bench.write("notes.txt", b"later\n")
    bench.git("add", "notes.txt")
    bench.commit(MODEL, SECOND, "the bad one")
    bench.git("tag", "second")
    return bench


def test_a_model_is_what_it_was_and_all_else_stays(history):
    said = history.lamella("rollback", MODEL, "first")
    assert f"restored  {MODEL}" in said
    assert history.read(MODEL) == FIRST
    assert history.git("rev-parse", f"HEAD:{MODEL}") == history.git("rev-parse", f"first:{MODEL}")
    assert history.git("rev-parse", "HEAD:notes.txt") == history.git("rev-parse", "second:notes.txt")
    assert history.git("rev-parse", "HEAD~1") == history.git("rev-parse", "second")
    assert history.git("status", "--porcelain") == ""
    first = history.git("rev-parse", "first")
    message = history.git("log", "-1", "--format=%B")
    assert message == f"rollback {MODEL} to {first[:10]} (the good one)\n\nLamella-Rollback: {first}"
    assert history.git("log", "-1", "--format=%(trailers:key=Lamella-Rollback,valueonly)").strip() == first


def test_the_file_is_written_without_a_filter_and_git_knows(history):
    history.lamella("rollback", MODEL, "first")
    assert history.filters_run("status", "--porcelain") == 0


def test_going_back_can_itself_be_undone(history):
    history.lamella("rollback", MODEL, "first")
    history.lamella("rollback", MODEL, "HEAD~1", "-m", "no, it was better")
    assert history.read(MODEL) == SECOND
    assert history.git("diff", "second", "HEAD") == ""
    assert history.git("log", "-1", "--format=%s") == "no, it was better"
    assert history.git("log", "-1", "--format=%(trailers:key=Lamella-Rollback,valueonly)").strip() == history.git(
        "rev-parse", "second"
    )


def test_nothing_is_done_where_it_is_the_same_already(history):
    head = history.git("rev-parse", "HEAD")
    assert history.lamella("rollback", MODEL, "HEAD").startswith(f"nothing to do: {MODEL} is as in")
    assert json.loads(history.lamella("rollback", "--json", MODEL, "HEAD"))["commit"] is None
    assert history.git("rev-parse", "HEAD") == head


def test_json_tells_what_was_done(history):
    told = json.loads(history.lamella("rollback", "--json", MODEL, "first"))
    assert (told["type"], told["version"]) == ("rollback", 1)
    assert told["commit"] == history.git("rev-parse", "HEAD")
    assert told["revision"] == history.git("rev-parse", "first")
    assert told["changed"] == [{"path": MODEL, "state": "restored"}]
    assert told["filled"] == {"files": [MODEL], "nbytes": len(FIRST)}


def test_of_a_folder_goes_what_the_revision_does_not_have_and_modes_come_back(bench):
    bench.write("net/run.sh", b"#!/bin/sh\n").chmod(0o755)
    bench.commit("net/a.safetensors", FIRST)
    bench.git("add", ".")
    bench.git("commit", "--quiet", "--amend", "--no-edit")
    bench.git("tag", "first")
    bench.commit("net/deep/b.safetensors", SECOND)
    (bench.root / "net/run.sh").chmod(0o644)
    bench.git("rm", "--quiet", "net/a.safetensors")
    bench.write("other.txt", b"stays\n")
    bench.git("add", ".")
    bench.git("commit", "--quiet", "--message", "later")
    told = json.loads(bench.lamella("rollback", "--json", "net/", "first"))
    assert told["changed"] == [
        {"path": "net/a.safetensors", "state": "added"},
        {"path": "net/deep/b.safetensors", "state": "removed"},
        {"path": "net/run.sh", "state": "restored"},
    ]
    assert bench.git("rev-parse", "HEAD:net") == bench.git("rev-parse", "first:net")
    assert os.access(bench.root / "net/run.sh", os.X_OK)
    assert not (bench.root / "net/deep").exists()
    assert bench.read("net/a.safetensors") == FIRST
    assert bench.read("other.txt") == b"stays\n"
    assert bench.git("status", "--porcelain") == ""


def test_paths_that_lie_in_each_other_and_such_as_were_renamed_are_rolled_back_at_once(bench):
    bench.commit("net/a.safetensors", FIRST)
    bench.git("tag", "first")
    bench.git("mv", "net/a.safetensors", "net/b.safetensors")
    bench.git("commit", "--quiet", "--message", "renamed")
    bench.commit("top.safetensors", SECOND)
    for paths in (("net", "net/a.safetensors"), ("net/a.safetensors", "net", "net/"), ("net/a.safetensors", ".")):
        bench.git("tag", "--force", "before")
        told = json.loads(bench.lamella("rollback", "--json", *paths, "first"))
        assert [(one["path"], one["state"]) for one in told["changed"]][:2] == [
            ("net/a.safetensors", "added"), ("net/b.safetensors", "removed")
        ]  # fmt: skip
        assert bench.git("rev-parse", "HEAD:net") == bench.git("rev-parse", "first:net")
        assert bench.read("net/a.safetensors") == FIRST
        assert bench.git("status", "--porcelain") == ""
        bench.git("reset", "--quiet", "--hard", "before")
        bench.lamella("checkout")
    bench.lamella("rollback", "net/a.safetensors", "first")
    assert (bench.read("net/a.safetensors"), bench.read("net/b.safetensors")) == (FIRST, FIRST)


def test_a_file_that_is_gone_is_brought_back_and_what_never_was_is_refused(history):
    history.git("rm", "--quiet", MODEL)
    history.git("commit", "--quiet", "--message", "gone")
    history.lamella("rollback", MODEL, "first")
    assert history.read(MODEL) == FIRST
    refused = history.try_lamella("rollback", "never.safetensors", "HEAD")
    assert (refused.code, "HEAD has no 'never.safetensors'" in refused.err) == (NotFoundError.exit_code, True)


def test_a_file_that_was_removed_from_the_worktree_alone_is_no_loss(history):
    (history.root / MODEL).unlink()
    history.lamella("rollback", MODEL, "first")
    assert history.read(MODEL) == FIRST
    assert history.git("status", "--porcelain") == ""


def test_paths_are_seen_from_where_the_user_stands_and_a_dot_is_all(bench):
    bench.commit("net/a.safetensors", FIRST)
    bench.commit("net/a.safetensors", SECOND)
    bench.lamella("-C", "net", "rollback", "a.safetensors", "HEAD~1")
    assert bench.read("net/a.safetensors") == FIRST
    bench.lamella("rollback", ".", "HEAD~1")
    assert bench.git("rev-parse", "HEAD^{tree}") == bench.git("rev-parse", "HEAD~2^{tree}")
    assert bench.read("net/a.safetensors") == SECOND


def test_a_whole_file_takes_the_place_of_a_folder_and_not_the_other_way_round(bench):
    bench.write("thing", b"a file\n")
    bench.git("add", ".")
    bench.git("commit", "--quiet", "--message", "a file")
    bench.git("tag", "file")
    bench.git("rm", "--quiet", "thing")
    bench.commit("thing/a.safetensors", FIRST)
    bench.git("tag", "folder")
    bench.lamella("rollback", "thing", "file")
    assert bench.read("thing") == b"a file\n"
    refused = bench.try_lamella("rollback", "thing/a.safetensors", "folder")
    assert (refused.code, "'thing' is a file on that branch" in refused.err) == (UsageError.exit_code, True)
    bench.lamella("rollback", "thing", "folder")
    assert bench.read("thing/a.safetensors") == FIRST


def test_local_changes_of_the_path_are_refused_and_kept(history):
    history.write(MODEL, network(layer_2_bias=3))
    refused = history.try_lamella("rollback", MODEL, "first")
    assert refused.code == ConflictError.exit_code
    assert f"{MODEL} has changes that are not committed" in refused.err
    assert f"hint: commit it, or drop it with `lamella restore -- {MODEL}`" in refused.err
    history.lamella("add", MODEL)
    refused = history.try_lamella("rollback", MODEL, "first")
    assert refused.code == ConflictError.exit_code
    assert f"another version of {MODEL} is staged" in refused.err
    assert history.read(MODEL) == network(layer_2_bias=3)
    assert history.git("rev-parse", "HEAD") == history.git("rev-parse", "second")


def test_an_untracked_file_in_the_way_is_refused_and_kept(history):
    history.git("rm", "--quiet", "--cached", MODEL)
    history.git("commit", "--quiet", "--message", "not tracked any more")
    history.write(MODEL, network(layer_2_bias=3))
    refused = history.try_lamella("rollback", MODEL, "first")
    assert refused.code == ConflictError.exit_code
    assert "hint: move it away, or remove it" in refused.err
    assert history.read(MODEL) == network(layer_2_bias=3)
    history.write(MODEL, FIRST)
    history.lamella("rollback", MODEL, "first")
    assert history.git("status", "--porcelain") == ""


def test_staged_changes_of_other_paths_are_not_committed(history):
    history.write("notes.txt", b"staged\n")
    history.git("add", "notes.txt")
    history.write("notes.txt", b"and changed again\n")
    history.lamella("rollback", MODEL, "first")
    assert history.git("status", "--porcelain") == "MM notes.txt"
    assert history.git("diff", "--name-only", "HEAD~1", "HEAD") == MODEL
    assert history.read("notes.txt") == b"and changed again\n"


def test_missing_weights_are_found_out_before_anything_changes(history):
    kept = {pack: pack.read_bytes() for pack in (history.root / ".git/lamella/packs").iterdir()}
    history.git("checkout", "--quiet", "--detach", "second")
    for pack in kept:
        pack.unlink()
    (history.root / ".git/lamella/index.db").unlink()
    refused = history.try_lamella("rollback", MODEL, "first")
    assert refused.code == NotFoundError.exit_code
    assert f"objects that {MODEL} needs are not in this repository's store" in refused.err
    assert history.git("rev-parse", "HEAD") == history.git("rev-parse", "second")
    assert history.read(MODEL) == SECOND
    assert history.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((MODEL, "nothing"), 3, "no revision is called 'nothing'"),
        (("no.safetensors", "first"), 3, "first has no 'no.safetensors'"),
        ((MODEL, f"first:{MODEL}"), 3, "no revision is called"),
        (("../out", "first"), 2, "leaves the worktree"),
        ((MODEL, "first", "-m", " "), 2, "the message is empty"),
        ((MODEL, "first", "--branch", "a..b"), 2, "cannot be a branch"),
        ((MODEL, "first", "--branch", "none"), 3, "'none' has no commits"),
        (("first",), 2, "missing argument"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(history, arguments, code, said):
    head = history.git("rev-parse", "HEAD")
    refused = history.try_lamella("rollback", *arguments)
    assert (refused.code, said in refused.err) == (code, True), refused
    assert history.git("rev-parse", "HEAD") == head


def test_in_the_middle_of_a_merge_nothing_is_rolled_back(history):
    history.git("switch", "--quiet", "--create", "other", "first")
    history.commit(MODEL, network(layer_1_weight=2))
    assert history.try_git("merge", "second").code == 1
    refused = history.try_lamella("rollback", MODEL, "first")
    assert (refused.code, "a merge is under way" in refused.err) == (UsageError.exit_code, True)
    assert "`lamella merge --abort` takes it back" in refused.err


def test_another_branch_is_rolled_back_without_the_worktree(history):
    history.git("branch", "prod")
    with Repo.open(history.root) as repo:
        report = repo.rollback(MODEL, "first", branch="prod")
        assert repo.rollback(MODEL, "first", branch="prod").commit is None
    assert report.commit == history.git("rev-parse", "prod")
    assert history.git("rev-parse", f"prod:{MODEL}") == history.git("rev-parse", f"first:{MODEL}")
    assert history.git("rev-parse", "HEAD") == history.git("rev-parse", "second")
    assert history.read(MODEL) == SECOND
    assert history.git("status", "--porcelain") == ""


def test_a_bare_repository_and_a_detached_head_are_rolled_back_too(history, elsewhere):
    history.git("checkout", "--quiet", "--detach", "second")
    history.lamella("rollback", MODEL, "first")
    assert history.read(MODEL) == FIRST
    history.git("clone", "--quiet", "--bare", ".", str(elsewhere / "bare"))
    os.symlink(history.root / ".git/lamella", elsewhere / "bare/lamella")
    with Repo.open(elsewhere / "bare") as repo:
        assert repo.rollback(MODEL, "second").changed[0].path == MODEL
