"""`Repo.commit` refuses what would lose something, and then nothing is committed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import pytest

from lamella import Repo
from lamella.core.errors import ConflictError, LamellaError, UsageError
from lamella.ops import commit as commit_op
from lamella.testing.models import network
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
ARRAYS = {"w": numpy.arange(6, dtype="f4")}


@pytest.fixture
def repo(bench: Workbench) -> Iterator[Repo]:
    with Repo.open(bench.root) as repo:
        yield repo


@contextmanager
def nothing_changes(bench: Workbench, error: type[LamellaError], kind: str) -> Iterator[None]:
    """Expect an error, and branches and index as they were."""

    def state() -> list[str]:
        return [bench.git("for-each-ref"), bench.git("ls-files", "--stage"), bench.git("rev-parse", "HEAD")]

    before = state()
    with pytest.raises(error) as caught:
        yield
    assert state() == before
    assert (caught.value.kind, type(caught.value)) == (kind, error)


@pytest.mark.parametrize("branch", [None, "side"])
def test_a_file_never_takes_the_place_of_a_folder_or_lies_below_a_file(bench, repo, branch):
    bench.commit(f"folder.safetensors/{MODEL}", network())
    bench.git("branch", "side")
    with nothing_changes(bench, UsageError, "bad-argument"):
        repo.commit(ARRAYS, "folder.safetensors", "over a folder", branch=branch)
    with nothing_changes(bench, UsageError, "bad-argument"):
        repo.commit(ARRAYS, f"folder.safetensors/{MODEL}/deep/{MODEL}", "below a file", branch=branch)
    for path in (f"folder.safetensors/{MODEL}", f"folder.safetensors/new/{MODEL}", f"new/{MODEL}"):
        repo.commit(ARRAYS, path, "beside", branch=branch)


def test_a_file_never_takes_the_place_of_a_folder_that_is_staged(bench, repo):
    bench.write(f"folder.safetensors/{MODEL}", network())
    repo.add(bench.root / "folder.safetensors")
    with nothing_changes(bench, ConflictError, "version-staged"):
        repo.commit(ARRAYS, "folder.safetensors", "over a folder")
    with nothing_changes(bench, ConflictError, "version-staged"):
        repo.commit(ARRAYS, f"folder.safetensors/{MODEL}/{MODEL}", "below a file")


def test_a_branch_that_another_worktree_has_checked_out_is_left_to_it(bench, repo, tmp_path):
    bench.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    with nothing_changes(bench, UsageError, "git-refused"):
        repo.commit(ARRAYS, MODEL, "aside", branch="side")
    with Repo.open(tmp_path / "linked") as linked:
        with nothing_changes(bench, UsageError, "git-refused"):
            linked.commit(ARRAYS, MODEL, "aside", branch="main")
        assert linked.commit(ARRAYS, MODEL, "here", branch="side").branch == "side"
    repo.commit(ARRAYS, MODEL, "here", branch="main")


@pytest.mark.parametrize("staged", ["changed", "removed", "new"])
def test_a_version_that_is_staged_is_not_lost(bench, repo, staged):
    if staged != "new":
        bench.commit(MODEL, network())
    if staged == "removed":
        bench.git("rm", "--quiet", "--cached", MODEL)
    else:
        bench.write(MODEL, network(layer_1_bias=1))
        repo.add(bench.root / MODEL)
    with nothing_changes(bench, ConflictError, "version-staged"):
        repo.commit(ARRAYS, MODEL, "over it")
    repo.commit(ARRAYS, MODEL, "on another branch, whose index this is not", branch="side")


def test_the_very_version_that_is_staged_may_be_committed(bench, repo):
    bench.write(MODEL, network())
    repo.add(bench.root / MODEL)
    repo.commit(bench.root / MODEL, MODEL, "it")
    assert bench.git("status", "--porcelain") == ""


def test_where_the_index_is_locked_nothing_is_committed(bench, repo):
    bench.commit(MODEL, network())
    (bench.root / ".git/index.lock").touch()
    with nothing_changes(bench, ConflictError, "lock-held"):
        repo.commit(ARRAYS, MODEL, "locked")


@pytest.mark.parametrize("path", [MODEL, f"new/{MODEL}"])
def test_where_the_commit_fails_the_index_is_as_it_was(bench, repo, monkeypatch, path):
    bench.commit(MODEL, network())

    def refuse(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(commit_op, "_write_commit", refuse)
    before = bench.git("ls-files", "--stage")
    with pytest.raises(KeyboardInterrupt):
        repo.commit(ARRAYS, path, "interrupted")
    assert bench.git("ls-files", "--stage") == before


def test_a_branch_below_a_branch_is_refused_as_git_does(bench, repo):
    with nothing_changes(bench, UsageError, "git-refused"):
        repo.commit(ARRAYS, MODEL, "below", branch="main/sub")


@pytest.mark.parametrize("name", ["a\nb", "__metadata__", 1, "half \ud800", "x" * 10_000])
def test_a_name_that_no_reader_loads_is_refused(bench, repo, name):
    with nothing_changes(bench, UsageError, "bad-argument"):
        repo.commit({name: ARRAYS["w"]}, MODEL, "no")
    assert not list((bench.root / ".git/lamella").glob("packs/*"))


@pytest.mark.parametrize("metadata", [{"epoch": 7}, {7: "epoch"}, {"epoch": None}, {"half": "\ud800"}])
def test_metadata_that_no_reader_loads_is_refused(bench, repo, metadata):
    with nothing_changes(bench, UsageError, "bad-argument"):
        repo.commit(ARRAYS, MODEL, "no", metadata=metadata)


def test_a_file_that_is_not_what_it_claims_is_kept_and_told(bench, repo, tmp_path):
    (tmp_path / "cut").write_bytes(network()[:-1])
    assert "tensors end at byte" in repo.commit(tmp_path / "cut", MODEL, "cut").warning
    (tmp_path / "whole").write_bytes(network())
    assert repo.commit(tmp_path / "whole", MODEL, "whole").warning is None


def test_many_arrays_take_time_in_proportion(repo):
    began = time.process_time()
    repo.commit({f"layer.{number}": ARRAYS["w"] for number in range(10_000)}, MODEL, "many")
    assert time.process_time() - began < 4
