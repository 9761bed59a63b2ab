"""The files of the worktree: which are models, opening them safely, and what Git's index learns of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.repo.git import Git
from lamella.repo.objects import IndexEntry, write_blob
from lamella.repo.repository import Repository
from lamella.repo.worktree import model_entries, open_file, put_entries, record_stat

PATH = "deep/model.safetensors"


@pytest.fixture
def repository(git_repository: Git) -> Iterator[Repository]:
    (git_repository.root / ".gitattributes").write_text("*.safetensors filter=lamella -text\n")
    with Repository(git_repository) as repository:
        yield repository


def stage(repository: Repository, path: str, mode: int = 0o100644) -> None:
    put_entries(repository, [IndexEntry(path, mode, write_blob(repository.git, b"content"), 0)])


def test_only_tracked_files_that_carry_the_attribute_are_models(repository):
    stage(repository, PATH)
    stage(repository, "notes.txt")
    stage(repository, "link.safetensors", 0o120000)
    assert [entry.path for entry in model_entries(repository)] == [PATH]
    assert [entry.path for entry in model_entries(repository, ["deep"])] == [PATH]
    assert model_entries(repository, ["notes.txt"]) == []


@pytest.mark.parametrize("unsafe", ["../outside", "/etc/hostname", "a/../../b", ".git/config", "x/.GIT/y", ""])
def test_a_path_that_leads_outside_is_not_opened(repository, unsafe):
    with pytest.raises(UsageError) as caught:
        open_file(repository.worktree, unsafe)
    assert caught.value.kind == "path-unsafe"


def test_links_are_not_followed(repository, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (repository.worktree / "link").symlink_to(tmp_path / "secret")
    (repository.worktree / "folder").symlink_to(tmp_path)
    for path in ("link", "folder/secret"):
        with pytest.raises(UsageError) as caught:
            open_file(repository.worktree, path)
        assert caught.value.kind == "path-unsafe"


@pytest.mark.parametrize("path", ["gone", "gone/deeper/still"])
def test_a_file_that_is_not_there_is_told(repository, path):
    with pytest.raises(NotFoundError) as caught:
        open_file(repository.worktree, path)
    assert caught.value.kind == "path-unknown"


def test_a_change_while_it_was_open_is_noticed(repository):
    (repository.worktree / "a").write_bytes(b"one")
    with open_file(repository.worktree, "a") as opened:
        opened.ensure_unchanged()
        (repository.worktree / "a").write_bytes(b"three")
        with pytest.raises(ConflictError) as caught:
            opened.ensure_unchanged()
    assert caught.value.kind == "file-changed"


@pytest.mark.parametrize("setting", ["--split-index", "--index-version=4", "--index-version=2"])
def test_any_form_of_the_index_keeps_its_entries_when_it_learns_of_files(repository, setting):
    (repository.worktree / "deep").mkdir()
    (repository.worktree / PATH).write_bytes(b"content")
    stage(repository, PATH)
    repository.git.run("update-index", setting)
    before = model_entries(repository)
    record_stat(repository, [(before[0], (repository.worktree / PATH).stat())])
    assert model_entries(repository) == before
    repository.git.run("fsck", "--strict")


def test_a_lock_that_somebody_else_holds_on_the_index_is_told(repository):
    stage(repository, PATH)
    lock = repository.git.index_path.with_name("index.lock")
    lock.touch()
    with pytest.raises(ConflictError) as caught:
        stage(repository, PATH)
    assert caught.value.kind == "lock-held"
    assert lock.exists()
