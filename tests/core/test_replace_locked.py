"""A file is replaced under another program's lock, whatever happens on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lamella.core import fsio, locks
from lamella.core.errors import BackendError, ConflictError
from lamella.testing.faults import changes_of, power_cut, refused

LOCK = "index.lock"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "index"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


def replace(index: Path, data: bytes = b"new") -> None:
    with index.open("rb") as opened:
        locks.replace_locked(index, data, lock_name=LOCK, seen=os.fstat(opened.fileno()))


def names(index: Path) -> list[str]:
    return sorted(path.name for path in index.parent.iterdir())


def test_the_file_is_replaced_and_keeps_its_permissions(index):
    replace(index)
    assert index.read_bytes() == b"new"
    assert stat.S_IMODE(index.stat().st_mode) == 0o640
    assert names(index) == ["index"]


def test_a_lock_that_somebody_holds_is_respected(index):
    (index.parent / LOCK).write_bytes(b"git's")
    with pytest.raises(ConflictError) as caught:
        replace(index)
    assert caught.value.kind == "lock-held"
    assert index.read_bytes() == b"old"
    assert (index.parent / LOCK).read_bytes() == b"git's"
    assert names(index) == ["index", LOCK]


def test_a_file_that_changed_meanwhile_is_left_alone(index):
    with index.open("rb") as opened:
        seen = os.fstat(opened.fileno())
        (index.parent / "other").write_bytes(b"theirs")
        (index.parent / "other").rename(index)
        with pytest.raises(ConflictError) as caught:
            locks.replace_locked(index, b"new", lock_name=LOCK, seen=seen)
    assert caught.value.kind == "file-changed"
    assert index.read_bytes() == b"theirs"
    assert names(index) == ["index"]


def test_at_any_power_cut_the_file_is_old_or_new_and_the_next_call_goes_through(index):
    for number in range(len(changes_of(lambda: replace(index)))):
        index.write_bytes(b"old")
        with power_cut(number):
            replace(index)
        assert index.read_bytes() in (b"old", b"new")
        replace(index, b"next")
        assert index.read_bytes() == b"next"
        assert LOCK not in names(index)
        fsio.sweep(index.parent)
        assert names(index) == ["index"]


def test_a_refusal_leaves_the_old_file_and_no_lock(index):
    count = len(changes_of(lambda: replace(index)))
    for number in range(count - 2):
        index.write_bytes(b"old")
        with refused(number, 28), pytest.raises(BackendError):
            replace(index)
        assert index.read_bytes() == b"old"
        assert names(index) == ["index"]
