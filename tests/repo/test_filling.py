"""Manifests in the worktree are replaced by their files, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lamella.core.fsio import Temporary
from lamella.formats.file import BytesFile
from lamella.repo import checkin, filling
from lamella.repo.checkout import restore_file
from lamella.repo.filling import fill, sweep, unfilled
from lamella.repo.git import Git
from lamella.repo.manifest import Manifest, write_manifest
from lamella.repo.objects import IndexEntry, write_blob
from lamella.repo.repository import Repository
from lamella.repo.worktree import model_entries, put_entries
from lamella.testing.models import network

PATH = "deep/model.safetensors"


@pytest.fixture
def repository(git_repository: Git) -> Iterator[Repository]:
    (git_repository.root / ".gitattributes").write_text("*.safetensors filter=lamella -text\n")
    with Repository(git_repository) as repository:
        yield repository


def check_in(repository: Repository, content: bytes) -> bytes:
    """Store a file and return its manifest."""
    return write_manifest(checkin.check_in(repository.store, BytesFile(content), ()).manifest)


@pytest.fixture
def waiting(repository: Repository) -> bytes:
    """Put a manifest into index and worktree, and return it."""
    text = check_in(repository, network())
    stage(repository, text)
    return text


def stage(repository: Repository, text: bytes, *, mode: int = 0o100644) -> None:
    file = repository.worktree / PATH
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text)
    file.chmod(mode & 0o777)
    put_entries(repository, [IndexEntry(PATH, mode, write_blob(repository.git, text), 0)])


def test_a_manifest_is_replaced_by_its_file(repository, waiting):
    (item,) = unfilled(repository)
    assert (item.entry.path, item.indexed, item.executable) == (PATH, True, False)
    assert isinstance(item.manifest, Manifest)
    filled = fill(repository)
    assert (filled.paths, filled.nbytes, filled.failed) == ((PATH,), len(network()), ())
    assert (repository.worktree / PATH).read_bytes() == network()
    assert unfilled(repository) == []
    assert fill(repository).paths == ()


def test_an_executable_manifest_becomes_an_executable_file(repository):
    stage(repository, check_in(repository, network()), mode=0o100755)
    fill(repository)
    assert (repository.worktree / PATH).stat().st_mode & 0o111


def test_a_file_that_the_user_wrote_is_not_touched(repository, waiting):
    for content in (b"mine", network(layer_1_bias=1), b"", waiting.replace(b"format", b"<<<<<<< HEAD\nformat")):
        (repository.worktree / PATH).write_bytes(content)
        assert unfilled(repository) == []
        assert fill(repository).paths == ()
        assert (repository.worktree / PATH).read_bytes() == content


@pytest.mark.parametrize("harm", [lambda text: text[:-1], lambda text: text + b"".join(text.splitlines(True)[-2:])])
def test_a_malformed_manifest_is_told_and_stays(repository, waiting, harm):
    (repository.worktree / PATH).write_bytes(harm(waiting))
    assert [item.entry.path for item in unfilled(repository)] == [PATH]
    ((path, error),) = fill(repository).failed
    assert (path, error.kind) == (PATH, "manifest-malformed")
    assert (repository.worktree / PATH).read_bytes() == harm(waiting)


def test_a_manifest_of_another_version_of_the_file_is_filled_too(repository, waiting):
    (repository.worktree / PATH).write_bytes(check_in(repository, network(layer_1_bias=1)))
    assert [item.indexed for item in unfilled(repository)] == [False]
    fill(repository)
    assert (repository.worktree / PATH).read_bytes() == network(layer_1_bias=1)
    assert repository.git.run("diff-files", "--name-only").decode() == f"{PATH}\n"


def test_another_version_never_has_the_time_of_the_one_that_the_index_knows(repository, waiting):
    """Git takes two files of one length and one time for one; inodes are used again."""
    file = repository.worktree / PATH
    fill(repository)
    indexed = file.stat()
    file.write_bytes(check_in(repository, network(layer_1_bias=1)))
    fill(repository)
    assert file.stat().st_size == indexed.st_size
    assert int(file.stat().st_mtime) > int(indexed.st_mtime)


def test_a_manifest_that_is_not_tracked_is_not_touched(repository, waiting):
    (repository.worktree / "untracked.safetensors").write_bytes(waiting)
    fill(repository)
    assert (repository.worktree / "untracked.safetensors").read_bytes() == waiting


def test_files_that_are_gone_or_no_files_are_passed_over(repository, waiting):
    file = repository.worktree / PATH
    file.unlink()
    assert fill(repository).paths == ()
    file.mkdir()
    assert fill(repository).paths == ()
    file.rmdir()
    os.mkfifo(file)
    assert fill(repository).paths == ()
    file.unlink()
    file.parent.rmdir()
    assert fill(repository).paths == ()
    file.parent.write_text("a file where a folder was")
    assert fill(repository).paths == ()


def test_what_a_killed_process_left_is_swept_and_what_lives_is_not(repository, waiting):
    dead = repository.worktree / "deep" / ".lamella-tmp-dead"
    dead.write_bytes(b"half")
    with Temporary(repository.worktree / "deep") as alive:
        assert sweep(repository, model_entries(repository)) == 1
        assert alive.path.exists()
    assert not dead.exists()


def test_nothing_is_swept_through_a_link(repository, waiting, tmp_path):
    (tmp_path / ".lamella-tmp-other").write_bytes(b"not ours")
    (repository.worktree / PATH).unlink()
    (repository.worktree / "deep").rmdir()
    (repository.worktree / "deep").symlink_to(tmp_path)
    assert sweep(repository, model_entries(repository)) == 0
    assert (tmp_path / ".lamella-tmp-other").exists()


def test_what_somebody_writes_meanwhile_is_theirs(repository, waiting, monkeypatch):
    file, trained = repository.worktree / PATH, network(layer_1_bias=9)

    def restore_late(*args: object, **options: object) -> os.stat_result:
        (repository.worktree / "training").write_bytes(trained)
        (repository.worktree / "training").rename(file)
        return restore_file(*args, **options)

    monkeypatch.setattr(filling, "restore_file", restore_late)
    filled = fill(repository)
    ((path, error),) = filled.failed
    assert (filled.paths, path, error.kind) == ((), PATH, "file-changed")
    assert file.read_bytes() == trained
    assert repository.git.run("diff-files", "--name-only").decode() == f"{PATH}\n"
