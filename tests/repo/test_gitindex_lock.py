"""Writing Git's index beside other writers, and dying while doing so."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lamella
from lamella.core import fsio
from lamella.core.errors import BackendError, ConflictError
from lamella.repo.gitindex import refresh_stat
from tests.repo.committing import commit
from tests.repo.test_gitindex import refresh, settle, write_anew

DIES = """
import os, sys
from pathlib import Path
from lamella.core import fsio
from lamella.repo.gitindex import refresh_stat

index, path, oid, step = sys.argv[1:]
calls = iter(range(1000))

def observer(operation, where):
    if next(calls) == int(step):
        os._exit(42)

with fsio.observe(observer):
    refresh_stat(Path(index), {path.encode(): (bytes.fromhex(oid), os.stat(path))}, "sha1")
"""


def die_at(git, step):
    """Patch the index in a process that ends without a word before its `step`-th change of the disk."""
    args = [sys.executable, "-c", DIES, str(git.index_path), "a", git.resolve(":a"), str(step)]
    environment = {**os.environ, "PYTHONPATH": str(Path(lamella.__file__).parents[1])}
    return subprocess.run(args, cwd=git.root, env=environment, check=False).returncode


def strays(git):
    return sorted(path.name for path in git.git_dir.iterdir() if "lock" in path.name or "tmp" in path.name)


@pytest.fixture
def git(git_repository):
    commit(git_repository, {"a": b"1", "b": b"2"})
    settle(git_repository)
    return git_repository


def test_after_a_death_at_any_step_the_next_run_needs_no_unlocking_by_hand(git):
    left_locked = 0
    for step in range(100):
        status = die_at(git, step)
        assert status in (0, 42)
        left_locked += (git.git_dir / "index.lock").exists()
        git.run("ls-files", "--error-unmatch", "a", "b")
        git.run("fsck", "--strict")
        assert refresh(git, write_anew(git, ["a"])) == 1
        assert not (git.git_dir / "index.lock").exists()
        git.run("add", "a")
        fsio.sweep(git.git_dir)
        assert strays(git) == []
        if status == 0:
            break
    assert step > 5
    assert left_locked == 1, "there is one step at which the lock stands"


def test_a_lock_of_a_living_process_of_ours_is_respected(git):
    expected = write_anew(git, ["a"])
    seen = []

    def another(operation, path):
        if operation == "rename" and not seen:
            seen.append(path)
            with pytest.raises(ConflictError) as caught:
                refresh(git, expected)
            assert caught.value.kind == "lock-held"

    with fsio.observe(another):
        assert refresh(git, expected) == 1
    assert seen
    assert strays(git) == []


def test_a_lock_of_gits_that_is_empty_or_a_link_is_respected(git, tmp_path):
    expected = write_anew(git, ["a"])
    lock = git.git_dir / "index.lock"
    for make in (lock.touch, lambda: lock.symlink_to(tmp_path / "nowhere"), lambda: lock.hardlink_to(git.index_path)):
        make()
        with pytest.raises((ConflictError, BackendError)):
            refresh(git, expected)
        assert os.path.lexists(lock)
        lock.unlink()
    assert strays(git) == []


def test_a_change_between_reading_and_locking_is_not_lost(git):
    expected = write_anew(git, ["a"])
    blob = git.resolve(":a")
    added = iter(["x", "y"])

    def another(operation, path):
        if operation == "link" and (name := next(added, None)):
            git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")

    with fsio.observe(another):
        assert refresh(git, expected) == 1
    assert git.run("ls-files").split() == [b"a", b"b", b"x", b"y"]


def test_an_index_that_never_rests_is_given_up(git):
    expected = write_anew(git, ["a"])
    blob = git.resolve(":a")
    names = iter(range(100))

    def another(operation, path):
        if operation == "link":
            git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},x{next(names)}")

    with fsio.observe(another), pytest.raises(ConflictError) as caught:
        refresh(git, expected)
    assert caught.value.kind == "file-changed"
    assert strays(git) == []


@pytest.mark.parametrize("operation", ["create", "write", "fsync", "link", "rename", "fsync-directory"])
def test_an_error_of_the_disk_leaves_the_index_as_it_was_or_wholly_patched(operation, git):
    expected = write_anew(git, ["a"])
    before = git.index_path.read_bytes()

    def fail(what, path):
        if what == operation:
            raise OSError(28, "No space left on device")

    with fsio.observe(fail), pytest.raises((BackendError, OSError)):
        refresh(git, expected)
    assert (git.index_path.read_bytes() == before) == (operation != "fsync-directory")
    assert strays(git) == []
    git.run("add", "a")


def test_a_file_system_without_hard_links_is_a_backend_error(git, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(BackendError) as caught:
        refresh(git, write_anew(git, ["a"]))
    assert caught.value.kind == "links-unsupported"
    assert strays(git) == []


def test_many_writers_lose_nothing(git):
    blob = git.resolve(":a")
    expected = write_anew(git, ["a"])
    done = threading.Event()
    patched = []

    def patch():
        while not done.is_set():
            with contextlib.suppress(ConflictError):
                patched.append(refresh_stat(git.index_path, expected, "sha1"))

    def add(writer):
        for number in range(25):
            while True:
                with contextlib.suppress(ConflictError):
                    git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{writer}-{number}")
                    break

    patchers = [threading.Thread(target=patch) for _ in range(2)]
    adders = [threading.Thread(target=add, args=(writer,)) for writer in "xy"]
    for thread in (*patchers, *adders):
        thread.start()
    for thread in adders:
        thread.join()
    done.set()
    for thread in patchers:
        thread.join()
    names = {b"a", b"b"} | {f"{writer}-{number}".encode() for writer in "xy" for number in range(25)}
    assert set(git.run("ls-files").split()) == names
    assert set(patched) == {1}
    assert strays(git) == []
