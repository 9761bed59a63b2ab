"""A worktree beside the user's: versions are whole in it, whatever happens there, and nothing of it stays."""

from __future__ import annotations

import os
import shutil

import pytest

from lamella.core.errors import NotFoundError
from lamella.ops.add import add
from lamella.repo.manifest import is_manifest
from lamella.repo.repository import Repository
from lamella.repo.scratch_worktree import ScratchWorktree
from lamella.testing.models import network
from tests.e2e.workbench import Workbench

NUMBERS = range(3)


def content(name: str, number: int) -> bytes:
    return network(name, hidden=number)


@pytest.fixture
def bench(git_repository) -> Workbench:
    bench = Workbench(git_repository.root)
    bench.lamella("init", "--quiet")
    bench.lamella("track", "*.safetensors")
    bench.git("add", ".gitattributes")
    return bench


@pytest.fixture
def commits(bench) -> list[str]:
    """Commit three versions of two models and of a text, and return the commits."""
    found = []
    for number in NUMBERS:
        bench.write("text", b"%d" % number)
        bench.write("m/b.safetensors", content("b", number))
        bench.git("add", "text")
        with bench.repository() as repository:
            add(repository, ["m/b.safetensors"])
        found.append(bench.commit("m/a.safetensors", content("a", number)))
    return found


@pytest.fixture
def repository(bench) -> Repository:
    with bench.repository() as repository:
        yield repository


@pytest.fixture
def scratch(repository, commits):
    with ScratchWorktree(repository, repository.store_directory / "scratch") as scratch:
        yield scratch


def test_each_version_is_put_there_whole(scratch, commits):
    for number in (0, 2, 1):
        assert not scratch.put(commits[number], ["m/a.safetensors"])
        assert (scratch.path / "m/a.safetensors").read_bytes() == content("a", number)
        assert (scratch.path / "text").read_bytes() == b"%d" % number


def test_a_model_that_nobody_asked_for_stays_a_manifest(scratch, commits):
    scratch.put(commits[0], ["m/a.safetensors"])
    assert is_manifest((scratch.path / "m/b.safetensors").read_bytes())
    scratch.put(commits[1], ["m"])
    assert (scratch.path / "m/b.safetensors").read_bytes() == content("b", 1)


def test_the_users_worktree_and_git_are_left_as_they_were(bench, repository, commits):
    bench.write("text", b"mine")
    state = bench.git("status", "--porcelain"), bench.git("worktree", "list"), bench.git("rev-parse", "HEAD")
    with ScratchWorktree(repository, repository.store_directory / "scratch") as scratch:
        scratch.put(commits[0], ["m"])
    assert not scratch.path.exists()
    assert (bench.git("status", "--porcelain"), bench.git("worktree", "list"), bench.git("rev-parse", "HEAD")) == state
    assert bench.read("text") == b"mine"
    assert not list((bench.root / ".git" / "worktrees").glob("*"))


@pytest.mark.parametrize("what", ["changed", "removed", "in the way", "a folder", "no git", "all gone"])
def test_what_somebody_does_there_is_undone(scratch, commits, what):
    scratch.put(commits[0], ["m"])
    model = scratch.path / "m/a.safetensors"
    if what == "changed":
        model.write_bytes(b"x" * model.stat().st_size)
    elif what == "removed":
        model.unlink()
    elif what == "in the way":
        (scratch.path / "m/other").write_bytes(b"")
    elif what == "a folder":
        model.unlink()
        model.mkdir()
        (model / "file").write_bytes(b"")
    elif what == "no git":
        (scratch.path / ".git").unlink()
    else:
        shutil.rmtree(scratch.path)
    for number in (0, 1):
        assert not scratch.put(commits[number], ["m"])
        assert model.read_bytes() == content("a", number)


def test_what_a_killed_process_left_is_replaced(bench, repository, commits):
    where = repository.store_directory / "scratch"
    ScratchWorktree(repository, where).__enter__().put(commits[0], ["m"])
    (where / "leftover").write_bytes(b"")
    with ScratchWorktree(repository, where) as scratch:
        scratch.put(commits[1], ["m"])
        assert (scratch.path / "m/a.safetensors").read_bytes() == content("a", 1)
        assert not (where / "leftover").exists()
    assert len(bench.git("worktree", "list").splitlines()) == 1


def test_weights_that_are_not_here_are_reported(bench, repository, commits):
    for pack in (bench.root / ".git/lamella/packs").iterdir():
        pack.unlink()
    with ScratchWorktree(repository, repository.store_directory / "scratch") as scratch:
        ((path, error),) = scratch.put(commits[0], ["m/a.safetensors"])
    assert path == "m/a.safetensors"
    assert isinstance(error, NotFoundError)
    assert error.kind == "object-missing"


def test_a_version_without_the_patterns_is_filled_too(bench, repository, commits):
    bench.git("rm", "--quiet", "--cached", ".gitattributes")
    bench.git("commit", "--quiet", "--message", "without")
    with ScratchWorktree(repository, repository.store_directory / "scratch") as scratch:
        assert not scratch.put(bench.git("rev-parse", "HEAD"), ["m"])
        assert (scratch.path / "m/a.safetensors").read_bytes() == content("a", 2)


def test_hooks_and_sparse_checkouts_are_the_users_own_matter(bench, repository, commits):
    hook = bench.root / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\ntouch ran-here\nexit 1\n")
    hook.chmod(0o755)
    bench.git("sparse-checkout", "set", "--no-cone", "/text")
    with ScratchWorktree(repository, repository.store_directory / "scratch") as scratch:
        assert not scratch.put(commits[0], ["m"])
        assert (scratch.path / "m/a.safetensors").read_bytes() == content("a", 0)
        assert not (scratch.path / "ran-here").exists()


def test_a_repository_named_by_variables_is_not_taken_for_the_scratch(bench, commits):
    variables = {**os.environ, "GIT_DIR": str(bench.root / ".git")}
    where = bench.root / ".git/lamella/scratch"
    with (
        Repository.open(bench.root, environment=variables) as repository,
        ScratchWorktree(repository, where) as scratch,
    ):
        assert not scratch.put(commits[0], ["m"])
        assert (scratch.path / "m/a.safetensors").read_bytes() == content("a", 0)
        assert bench.git("symbolic-ref", "HEAD") == "refs/heads/main"
        assert bench.git("status", "--porcelain") == ""
    assert bench.read("m/a.safetensors") == content("a", 2)
