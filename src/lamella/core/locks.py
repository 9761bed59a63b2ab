"""Locks: one that the kernel drops with its process, and the one that other programs take by creating a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError, ConflictError
from lamella.core.fsio import (
    TEMPORARY_PREFIX,
    Temporary,
    announce,
    changed_meanwhile,
    changing,
    flush,
    remove,
    same_file,
    sync_directory,
    translated,
)

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What link(2) ends with where there are no hard links, in a directory in which a file has just been made."""


@contextlib.contextmanager
def lock(path: Path, *, exclusive: bool, blocking: bool = True) -> Iterator[None]:
    """Hold the lock file at `path`; the kernel drops it when the process dies, however it dies.

    Raises ConflictError (lock-held) where `blocking` is false and somebody else holds it. Not re-entrant across the
    two modes: a process that holds it shared must not ask for it exclusively.
    """
    access, operation = (os.O_RDWR, fcntl.LOCK_EX) if exclusive else (os.O_RDONLY, fcntl.LOCK_SH)
    with changing("lock", path):
        fd = os.open(path, access | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with translated(path):
            try:
                fcntl.flock(fd, operation | (0 if blocking else fcntl.LOCK_NB))
            except BlockingIOError:
                raise ConflictError(
                    "another lamella process holds the store",
                    kind="lock-held",
                    hint="wait for it to end, then run again",
                ) from None
        yield
    finally:
        os.close(fd)


def replace_locked(path: Path, data: Buffer, *, lock_name: str, seen: os.stat_result) -> None:
    """Replace the file at `path` by `data` under the lock that other programs take by creating `lock_name` beside it.

    The lock is the new content itself: it is written and flushed under a temporary name, linked to the lock's name,
    which fails where somebody holds the lock, and renamed. A process that dies between the last two steps leaves its
    lock behind, and the next call removes it: a lock of ours is still linked to a temporary, and the kernel has
    dropped the hold of a process that is gone (see docs/design/0003-git-index-stat.md).

    Raises BackendError (links-unsupported) where the file system has no hard links, and ConflictError: lock-held where
    somebody else has the lock, file-changed where the file at `path` is no longer the one that `seen` describes. The
    caller keeps that one open, so that nothing else can be given its inode.
    """
    lock_path = path.with_name(lock_name)
    with Temporary(path.parent, mode=stat.S_IMODE(seen.st_mode)) as temporary, translated(lock_path):
        os.fchmod(temporary.fd, stat.S_IMODE(seen.st_mode))
        temporary.write_at(data, 0)
        announce("fsync", temporary.path)
        flush(temporary.fd)
        while not _linked(temporary.path, lock_path):
            if not release_abandoned(lock_path):
                raise ConflictError(
                    f"{lock_path} exists: another git process is at work",
                    kind="lock-held",
                    hint="wait for it to end, then run again; if it crashed, remove that file",
                )
        try:
            if not same_file(path.stat(follow_symlinks=False), seen):
                raise changed_meanwhile(path)
            announce("rename", path)
            lock_path.rename(path)
        except BaseException:
            remove(lock_path)
            raise
        sync_directory(path.parent)


def _linked(source: Path, target: Path) -> bool:
    """Give `source` the name `target` too, unless something has it; say whether that was done."""
    announce("link", target)
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        hint = "the file system of the repository keeps one name for a file"
        raise BackendError(f"cannot lock {target}: no hard links here", kind="links-unsupported", hint=hint) from exc
    return True


def release_abandoned(lock_path: Path) -> bool:
    """Remove a lock of `replace_locked` whose process is gone; say whether there is no lock now.

    To be called before `sweep`, which would take away the temporary by which such a lock is told from others.
    """
    try:
        fd = os.open(lock_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        held = os.fstat(fd)
        with os.scandir(lock_path.parent) as entries:
            twins = [one for one in entries if one.name.startswith(TEMPORARY_PREFIX) and one.inode() == held.st_ino]
        if not twins:
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever made it is gone, or has just finished; only in the first case does the lock still have its name.
        if os.path.samestat(lock_path.stat(follow_symlinks=False), held):
            remove(lock_path)
        for twin in twins:
            remove(Path(twin.path))
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
