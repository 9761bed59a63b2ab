"""The disk changes wholly or not at all, in an order that survives the loss of power, and faults are told as ours."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from lamella.core import fsio, locks
from lamella.core.errors import BackendError, ConflictError, UsageError
from lamella.core.fsio import TEMPORARY_PREFIX, Temporary
from lamella.testing.faults import PowerCut, changes_of, power_cut, refused


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def operations(*args: object) -> list[str]:
    return [operation for operation, _ in changes_of(*args)]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_a_file_is_written_flushed_named_and_its_name_flushed(tmp_path):
    path = tmp_path / "file"
    assert operations(lambda: fsio.write_file(path, b"new")) == [
        "create",
        "write",
        "fsync",
        "rename",
        "fsync-directory",
    ]
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_file_that_need_not_last_takes_the_name_of_another_at_once(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(fsio, "exchange", lambda *_: False)
    path, target = tmp_path / "file", tmp_path / "target"
    target.write_bytes(b"target")
    for old in (lambda: None, lambda: path.write_bytes(b"old"), lambda: path.symlink_to(target)):
        old()
        fsio.write_file(path, b"new", durable=False)
        assert not path.is_symlink()
        assert path.read_bytes() == b"new"
        assert set(os.listdir(tmp_path)) == {"file", "target"}
        path.unlink()
    assert target.read_bytes() == b"target"
    path.mkdir()
    with pytest.raises(BackendError):
        fsio.write_file(path, b"new", durable=False)
    assert path.is_dir()


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_file_takes_the_name_only_of_the_one_that_was_meant(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(fsio, "exchange", lambda *_: False)
    file = tmp_path / "file"
    file.write_bytes(b"old")
    seen = file.stat()
    for theirs in (b"newer", None):
        file.unlink()
        if theirs is not None:
            file.write_bytes(theirs)
        with pytest.raises(ConflictError) as caught, fsio.Temporary(tmp_path) as temporary:
            temporary.publish("file", durable=False, replacing=seen)
        assert caught.value.kind == "file-changed"
        assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if theirs is None else [theirs])
    file.write_bytes(b"old")
    with fsio.Temporary(tmp_path) as temporary:
        temporary.write_at(b"ours", 0)
        temporary.publish("file", durable=False, replacing=file.stat())
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"ours"]


def test_the_newest_file_keeps_the_name_however_often_it_is_taken(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"meant")
    seen, writes = file.stat(), [b"first", b"second", b"third"]
    exchange = fsio.exchange

    def race(*args: object) -> bool:
        if writes:
            (tmp_path / "theirs").write_bytes(writes.pop(0))
            (tmp_path / "theirs").rename(file)
        return exchange(*args)

    monkeypatch.setattr(fsio, "exchange", race)
    with pytest.raises(ConflictError), fsio.Temporary(tmp_path) as temporary:
        temporary.write_at(b"ours", 0)
        temporary.publish("file", durable=False, replacing=seen)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"third"]


def test_names_are_exchanged_in_one_step_or_not_at_all(tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    assert not fsio.exchange(str(tmp_path / "one"), str(tmp_path / "none"))
    (tmp_path / "other").write_bytes(b"2")
    done = fsio.exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    assert done or sys.platform != "linux"
    assert (tmp_path / "one").read_bytes() == (b"2" if done else b"1")
    assert (tmp_path / "other").read_bytes() == (b"1" if done else b"2")


@pytest.mark.parametrize("executable", [False, True])
def test_a_file_gets_the_permissions_that_the_mask_leaves(tmp_path, executable):
    mask = os.umask(0o027)
    try:
        fsio.write_file(tmp_path / "file", b"", executable=executable)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == (0o750 if executable else 0o640)


def test_at_any_power_cut_the_old_file_or_the_new_one_is_there(tmp_path):
    path = tmp_path / "file"
    for number in range(5):
        fsio.write_file(path, b"old")
        with power_cut(number):
            fsio.write_file(path, b"new")
        assert path.read_bytes() == (b"new" if number > 3 else b"old")
    assert fsio.sweep(tmp_path) == 3
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_refused_write_leaves_the_old_file_and_no_temporary(tmp_path, error):
    path = tmp_path / "file"
    before = open_files()
    for number in range(4):
        fsio.write_file(path, b"old")
        with refused(number, error), pytest.raises(BackendError):
            fsio.write_file(path, b"new")
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["file"]
    assert open_files() == before


def test_a_failed_flush_is_never_claimed(tmp_path, monkeypatch):
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    fsio.write_file(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BackendError) as caught:
        fsio.write_file(tmp_path / "file", b"new")
    assert caught.value.kind == "io-failed"
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(("answer", "falls_back"), [(0, False), (errno.ENOTSUP, True), (errno.ENOTTY, True)])
def test_where_a_full_flush_exists_it_is_asked_for(tmp_path, monkeypatch, answer, falls_back):
    asked, flushed = [], []

    def control(fd: int, command: int) -> None:
        asked.append(command)
        if answer:
            raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", flushed.append)
    fsio.write_file(tmp_path / "file", b"x")
    assert asked == [51, 51]
    assert len(flushed) == (2 if falls_back else 0)


def test_a_full_flush_that_fails_is_a_failure(tmp_path, monkeypatch):
    def control(fd: int, command: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    with pytest.raises(BackendError):
        fsio.write_file(tmp_path / "file", b"x")
    assert names(tmp_path) == []


def test_a_temporary_that_cannot_be_removed_does_not_hide_why(tmp_path):
    with refused(1, errno.ENOSPC, lasting=True), pytest.raises(BackendError) as caught:
        fsio.write_file(tmp_path / "file", b"new")
    assert caught.value.kind == "no-space"
    assert len(names(tmp_path)) == 1
    assert fsio.sweep(tmp_path) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errno.ENOSPC, "no-space"),
        (errno.EDQUOT, "no-space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "read-only"),
        (errno.EPERM, "read-only"),
        (errno.EIO, "io-failed"),
        (errno.EMFILE, "io-failed"),
    ],
)
def test_faults_of_the_system_have_kinds_hints_and_causes(error, kind):
    with pytest.raises(BackendError) as caught, fsio.translated("some/file"):
        raise OSError(error, os.strerror(error))
    assert caught.value.kind == kind
    assert "some/file" in caught.value.message
    assert caught.value.hint
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM])
def test_what_may_not_be_read_is_told_so(error):
    with pytest.raises(BackendError) as caught, fsio.translated("some/file", reading=True):
        raise OSError(error, os.strerror(error))
    assert caught.value.kind == "io-failed"
    assert caught.value.message.startswith("cannot read some/file: ")


def test_our_own_faults_are_not_translated_again():
    error = BackendError("once", kind="io-failed")
    with pytest.raises(BackendError) as caught, fsio.translated("file"):
        raise error
    assert caught.value is error


def test_writes_go_where_they_are_told_whole(tmp_path, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: whole(fd, data[:3], offset))
    with Temporary(tmp_path) as temporary:
        temporary.write_at(b"0123456789", 5)
        temporary.write_at(b"", 100)
        temporary.write_at(b"ab", 0)
        temporary.resize(17)
        temporary.set_modified(1_000_000)
        temporary.publish("file")
    assert (tmp_path / "file").read_bytes() == b"ab\0\0\0" + b"0123456789\0\0"
    assert (tmp_path / "file").stat().st_mtime == 1_000_000


def test_a_temporary_lies_where_its_directory_is_open_whatever_that_is_called_now(tmp_path):
    (tmp_path / "here").mkdir()
    fd = os.open(tmp_path / "here", os.O_RDONLY)
    try:
        (tmp_path / "here").rename(tmp_path / "there")
        with Temporary(tmp_path / "here", fd) as temporary:
            temporary.write_at(b"x", 0)
            temporary.publish("file")
        with Temporary(tmp_path / "here", fd):
            pass
    finally:
        os.close(fd)
    assert names(tmp_path / "there") == ["file"]


def test_a_temporary_that_is_not_published_is_gone(tmp_path):
    with pytest.raises(KeyboardInterrupt), Temporary(tmp_path) as temporary:
        temporary.write_at(b"x", 0)
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_sweep_takes_what_the_dead_left_and_nothing_else(tmp_path):
    (tmp_path / f"{TEMPORARY_PREFIX}dead").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    with Temporary(tmp_path) as alive:
        assert fsio.sweep(tmp_path) == 1
        assert names(tmp_path) == sorted([alive.name, "file"])
    assert fsio.sweep(tmp_path) == 0
    with pytest.raises(BackendError):
        fsio.sweep(tmp_path / "nowhere")


def test_a_sweep_leaves_alone_what_is_not_a_file_of_ours(tmp_path, monkeypatch):
    (tmp_path / f"{TEMPORARY_PREFIX}directory").mkdir()
    (tmp_path / f"{TEMPORARY_PREFIX}link").symlink_to("nowhere")
    (tmp_path / f"{TEMPORARY_PREFIX}kept").write_bytes(b"")
    (tmp_path / f"{TEMPORARY_PREFIX}locked").write_bytes(b"")
    (tmp_path / f"{TEMPORARY_PREFIX}orphan").write_bytes(b"")
    whole = os.open

    def refuse_to_open(path: Path, *args: int) -> int:
        if path.name.endswith("locked"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return whole(path, *args)

    def refuse_to_remove(operation: str, path: str) -> None:
        if path.endswith("kept"):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    monkeypatch.setattr(os, "open", refuse_to_open)
    with fsio.observe(refuse_to_remove):
        assert fsio.sweep(tmp_path) == 1
    assert f"{TEMPORARY_PREFIX}orphan" not in names(tmp_path)
    assert len(names(tmp_path)) == 4


def test_a_sweep_tells_what_else_goes_wrong(tmp_path, monkeypatch):
    (tmp_path / f"{TEMPORARY_PREFIX}0").write_bytes(b"")

    def fail(path: Path, *args: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(BackendError):
        fsio.sweep(tmp_path)


def test_a_sweep_between_creating_and_holding_costs_nothing(tmp_path, monkeypatch):
    """The sweeper takes the new file for an orphan, before its maker holds it."""
    flock, swept = fcntl.flock, []

    def late(fd: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not swept:
            swept.append(True)
            assert fsio.sweep(tmp_path) == 1
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    before = open_files()
    with Temporary(tmp_path) as temporary:
        temporary.write_at(b"x", 0)
        temporary.publish("file")
    assert names(tmp_path) == ["file"]
    assert open_files() == before


def test_a_file_system_without_locks_leaks_nothing(tmp_path, monkeypatch):
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    before = open_files()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BackendError):
        Temporary(tmp_path)
    with pytest.raises(BackendError), locks.lock(tmp_path / "lock", exclusive=True):
        pass
    assert names(tmp_path) == ["lock"]
    assert open_files() == before


def test_a_directory_is_made_with_its_parents_and_their_names_are_flushed(tmp_path):
    deep = tmp_path / "a" / "b"
    changes = changes_of(lambda: fsio.make_directory(deep))
    assert changes == [
        ("mkdir", os.fspath(tmp_path / "a")),
        ("fsync-directory", os.fspath(tmp_path)),
        ("mkdir", os.fspath(deep)),
        ("fsync-directory", os.fspath(tmp_path / "a")),
    ]
    assert changes_of(lambda: fsio.make_directory(deep)) == []
    assert operations(lambda: fsio.make_directory(deep / "c", durable=False)) == ["mkdir"]


def test_two_may_make_the_same_directory(tmp_path):
    threads = [threading.Thread(target=fsio.make_directory, args=(tmp_path / "a" / "b" / "c",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_file_in_the_way_of_a_directory_is_told(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(BackendError):
        fsio.make_directory(tmp_path / "a")


def test_what_is_not_there_is_removed_without_a_word(tmp_path):
    fsio.remove(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    fsio.remove(tmp_path / "file")
    assert names(tmp_path) == []


def test_a_move_flushes_where_the_file_came_to_before_where_it_went_from(tmp_path):
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "file").write_bytes(b"x")
    changes = changes_of(lambda: fsio.rename(tmp_path / "from" / "file", tmp_path / "to" / "other"))
    assert changes == [
        ("rename", os.fspath(tmp_path / "to" / "other")),
        ("fsync-directory", os.fspath(tmp_path / "to")),
        ("fsync-directory", os.fspath(tmp_path / "from")),
    ]
    assert operations(lambda: fsio.rename(tmp_path / "to" / "other", tmp_path / "to" / "again")) == [
        "rename",
        "fsync-directory",
    ]


def test_a_time_is_set(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    fsio.touch(tmp_path / "file", 5)
    assert (tmp_path / "file").stat().st_mtime == 5
    fsio.touch(tmp_path / "file")
    assert (tmp_path / "file").stat().st_mtime > 1_000_000_000
    with pytest.raises(BackendError):
        fsio.touch(tmp_path / "none")


def test_a_folder_is_removed_with_all_that_is_in_it_and_nothing_else(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"kept")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_bytes(b"")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "outside")
    assert operations(lambda: fsio.remove_tree(tmp_path / "folder")) == ["remove"]
    assert names(tmp_path) == ["outside"]
    assert names(tmp_path / "outside") == ["file"]
    fsio.remove_tree(tmp_path / "folder")
    with pytest.raises(BackendError):
        fsio.remove_tree(tmp_path / "outside" / "file")


def test_a_spool_has_no_name_and_leaves_nothing(tmp_path):
    before = open_files()
    with fsio.spool(tmp_path) as file:
        assert names(tmp_path) == []
        file.write(b"spooled")
        file.seek(0)
        assert file.read() == b"spooled"
    assert names(tmp_path) == []
    assert open_files() == before


def test_a_directory_beneath_is_opened_and_made(tmp_path):
    fd = fsio.open_directory_beneath(tmp_path, ("a", "b"), create=True)
    try:
        assert os.path.samestat(os.fstat(fd), (tmp_path / "a" / "b").stat())
    finally:
        os.close(fd)
    with pytest.raises(BackendError):
        fsio.open_directory_beneath(tmp_path, ("a", "none"))


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "/", "\0", "link", "file"])
def test_no_way_leads_out_of_a_directory(tmp_path, part):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (root / "file").write_bytes(b"")
    before = open_files()
    for create in (False, True):
        with pytest.raises(UsageError) as caught:
            fsio.open_directory_beneath(root, (part, "deeper"), create=create)
        assert caught.value.kind == "path-unsafe"
    assert open_files() == before
    assert names(tmp_path) == ["root"]


def test_observers_hear_of_a_change_before_it_is_made(tmp_path):
    path = tmp_path / "file"
    heard = []
    with fsio.observe(lambda operation, where: heard.append((operation, where, path.exists()))):
        fsio.write_file(path, b"x")
    fsio.write_file(path, b"y")
    assert heard[-2:] == [("rename", os.fspath(path), False), ("fsync-directory", os.fspath(tmp_path), True)]
    assert len(heard) == 5


def test_a_power_cut_stops_every_change_after_it(tmp_path):
    with power_cut(1):
        for name in ("one", "two"):
            try:
                fsio.remove(tmp_path / name)
            except PowerCut:
                (tmp_path / "noticed").write_bytes(b"")
                fsio.make_directory(tmp_path / "late")
    assert names(tmp_path) == ["noticed"]
