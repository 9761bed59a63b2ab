"""The lock that ends with its process."""

from __future__ import annotations

import os
import threading

import pytest

from lamella.core import locks
from lamella.core.errors import ConflictError


def test_a_lock_is_shared_or_held_alone(tmp_path):
    path = tmp_path / "lock"
    with locks.lock(path, exclusive=False), locks.lock(path, exclusive=False, blocking=False):
        with pytest.raises(ConflictError) as caught, locks.lock(path, exclusive=True, blocking=False):
            pass
        assert caught.value.kind == "lock-held"
    before = os.listdir("/dev/fd")
    with (
        locks.lock(path, exclusive=True),
        pytest.raises(ConflictError),
        locks.lock(path, exclusive=False, blocking=False),
    ):
        pass
    assert len(os.listdir("/dev/fd")) == len(before)


def test_a_lock_is_waited_for(tmp_path):
    path, order = tmp_path / "lock", []

    def wait() -> None:
        with locks.lock(path, exclusive=True):
            order.append("second")

    with locks.lock(path, exclusive=True):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_faults_of_the_block_under_a_lock_are_not_the_locks(tmp_path):
    with pytest.raises(FileNotFoundError), locks.lock(tmp_path / "lock", exclusive=True):
        raise FileNotFoundError


def test_a_lock_is_free_again_after_an_exception(tmp_path):
    with pytest.raises(ValueError, match="x"), locks.lock(tmp_path / "lock", exclusive=True):
        raise ValueError("x")
    with locks.lock(tmp_path / "lock", exclusive=True, blocking=False):
        pass
