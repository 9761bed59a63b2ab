"""The only module that changes the disk: exclusive temporaries, fsync, rename, directory fsync, locks.

Everything that must survive a lost power supply goes through `publish`: the file is written under a temporary name in
its own directory, flushed, renamed, and the directory flushed. `observe` installs a hook that hears of every mutating
call before it happens, so that a test can stop the world at each of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError, ConflictError, LamellaError, UsageError

Observer = Callable[[str, str], None]
TEMPORARY_PREFIX = ".lamella-tmp-"

_observers: list[Observer] = []


@contextlib.contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Call `observer(operation, path)` before each mutating call made inside the block, in any thread."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def _announce(operation: str, path: str | Path) -> None:
    for observer in _observers:
        observer(operation, os.fspath(path))


@contextlib.contextmanager
def translated(path: str | Path) -> Iterator[None]:
    """Turn the OSErrors of the block into BackendErrors that name `path`."""
    try:
        yield
    except LamellaError:
        raise
    except OSError as exc:
        raise backend_error(exc, path) from exc


def backend_error(exc: OSError, path: str | Path) -> BackendError:
    """Return the BackendError that says what `exc` means for `path`."""
    reason = (exc.strerror or str(exc)).lower()
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "nothing was lost; free some space and run the command again"
        return BackendError(f"no space left to write {path}", kind="no-space", hint=hint)
    if exc.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        hint = "check the owner and the permissions, and that the file system is mounted for writing"
        return BackendError(f"cannot write {path}: {reason}", kind="read-only", hint=hint)
    return BackendError(f"{path}: {reason}", kind="io-failed", hint="check the disk, then run the command again")


class Temporary:
    """A file under a temporary name, private to this process until it is published.

    Writes may come from several threads, each to its own range. Leaving the `with` block without `publish` removes it.
    """

    def __init__(self, directory: Path, directory_fd: int | None = None, mode: int = 0o666) -> None:
        self.directory = directory
        self._directory_fd = directory_fd
        self.name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        self._published = False
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        _announce("create", self.path)
        with translated(self.path):
            self.fd = os.open(self._where(self.name), flags, mode, dir_fd=directory_fd)
            # Held until the file is closed: `sweep` removes a temporary only when nobody holds it any more.
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def path(self) -> Path:
        """Where the temporary lies."""
        return self.directory / self.name

    def _where(self, name: str) -> str:
        return name if self._directory_fd is not None else os.fspath(self.directory / name)

    def write_at(self, data: Buffer, offset: int) -> None:
        """Write all of `data` at `offset`."""
        _announce("write", self.path)
        view = memoryview(data)
        with translated(self.path):
            while view:
                written = os.pwrite(self.fd, view, offset)
                view, offset = view[written:], offset + written

    def resize(self, nbytes: int) -> None:
        """Set the length to `nbytes`; new bytes read as zero."""
        _announce("resize", self.path)
        with translated(self.path):
            os.ftruncate(self.fd, nbytes)

    def set_modified(self, seconds: float) -> None:
        """Set the modification time, in seconds since the epoch."""
        _announce("touch", self.path)
        with translated(self.path):
            os.utime(self.fd, (seconds, seconds))

    def publish(self, name: str, *, durable: bool = True) -> None:
        """Give the file its final `name` in the same directory, replacing what had it.

        With `durable`, bytes and name are on stable storage when this returns. A failed fsync raises and leaves the
        final name as it was: the kernel may have dropped the pages, so the write is never claimed.
        """
        with translated(self.directory / name):
            if durable:
                _announce("fsync", self.path)
                os.fsync(self.fd)
            _announce("rename", self.directory / name)
            os.rename(
                self._where(self.name), self._where(name), src_dir_fd=self._directory_fd, dst_dir_fd=self._directory_fd
            )
            self._published = True
            if durable:
                sync_directory(self.directory, self._directory_fd)

    def __enter__(self) -> Temporary:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self.fd)
        if not self._published:
            _announce("remove", self.path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._where(self.name), dir_fd=self._directory_fd)


def sync_directory(directory: Path, directory_fd: int | None = None) -> None:
    """Flush the names in `directory` to stable storage."""
    _announce("fsync-directory", directory)
    with translated(directory):
        if directory_fd is not None:
            os.fsync(directory_fd)
            return
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_file(path: Path, data: Buffer, *, durable: bool = True, executable: bool = False) -> None:
    """Replace the file at `path` by `data`, wholly or not at all."""
    with Temporary(path.parent, mode=0o777 if executable else 0o666) as temporary:
        temporary.write_at(data, 0)
        temporary.publish(path.name, durable=durable)


def replace_locked(path: Path, data: Buffer, *, lock_name: str, seen: os.stat_result) -> None:
    """Replace the file at `path` by `data` under the lock that other programs take by creating `lock_name` beside it.

    The lock is the new content itself: it is written and flushed under a temporary name, linked to the lock's name,
    which fails where somebody holds the lock, and renamed. A process that dies between the last two steps leaves its
    lock behind, and the next call removes it: a lock of ours is still linked to a temporary, and the kernel has
    dropped the hold of a process that is gone (see docs/design/0003-git-index-stat.md).

    Raises ConflictError: lock-held where somebody else has the lock, file-changed where the file at `path` is no
    longer the one that `seen` describes. The caller keeps that one open, so that nothing else can be given its inode.
    """
    lock_path = path.with_name(lock_name)
    with Temporary(path.parent, mode=stat.S_IMODE(seen.st_mode)) as temporary, translated(lock_path):
        os.fchmod(temporary.fd, stat.S_IMODE(seen.st_mode))
        temporary.write_at(data, 0)
        _announce("fsync", temporary.path)
        os.fsync(temporary.fd)
        try:
            _link(temporary.path, lock_path)
        except FileExistsError:
            if not _abandoned(lock_path):
                raise ConflictError(
                    f"{lock_path} exists: another git process is at work",
                    kind="lock-held",
                    hint="wait for it to end, then run again; if it crashed, remove that file",
                ) from None
            _link(temporary.path, lock_path)
        try:
            if not _same_file(path.stat(follow_symlinks=False), seen):
                raise ConflictError(f"{path} changed meanwhile", kind="file-changed", hint="run the command again")
            _announce("rename", path)
            lock_path.rename(path)
        except BaseException:
            _announce("remove", lock_path)
            lock_path.unlink()
            raise
        sync_directory(path.parent)


def _link(source: Path, target: Path) -> None:
    _announce("link", target)
    target.hardlink_to(source)


def _same_file(one: os.stat_result, other: os.stat_result) -> bool:
    return os.path.samestat(one, other) and (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _abandoned(lock_path: Path) -> bool:
    """Remove a lock of ours whose process is gone, and the temporary it is linked to; say whether the way is free."""
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


def make_directory(path: Path) -> None:
    """Create `path` and its parents where they are missing, and flush the names that were added."""
    if path.is_dir():
        return
    make_directory(path.parent)
    _announce("mkdir", path)
    with translated(path):
        path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove the file at `path`, if it is there."""
    _announce("remove", path)
    with translated(path), contextlib.suppress(FileNotFoundError):
        path.unlink()


def remove_directory(path: Path) -> None:
    """Remove the empty directory at `path`, if it is there."""
    _announce("rmdir", path)
    with translated(path), contextlib.suppress(FileNotFoundError):
        path.rmdir()


def rename(source: Path, target: Path) -> None:
    """Move `source` to `target` on one file system, durably."""
    _announce("rename", target)
    with translated(target):
        source.rename(target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def touch(path: Path, seconds: float | None = None) -> None:
    """Set the modification time of `path`, to now unless `seconds` since the epoch are given."""
    _announce("touch", path)
    with translated(path):
        os.utime(path, None if seconds is None else (seconds, seconds))


def sweep(directory: Path) -> int:
    """Remove the temporaries in `directory` whose process is gone, and return how many there were."""
    swept = 0
    with translated(directory):
        for name in os.listdir(directory):
            if name.startswith(TEMPORARY_PREFIX) and _sweep_one(directory / name):
                swept += 1
    return swept


def _sweep_one(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _announce("remove", path)
        os.unlink(path)
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(fd)
    return True


@contextlib.contextmanager
def spool(directory: Path) -> Iterator[IO[bytes]]:
    """Lend an unnamed file in `directory` that is gone when the block or the process ends."""
    with Temporary(directory, mode=0o600) as temporary:
        with translated(temporary.path):
            temporary.path.unlink()
        temporary._published = True
        with os.fdopen(os.dup(temporary.fd), "r+b") as file:
            yield file


@contextlib.contextmanager
def lock(path: Path, *, exclusive: bool, blocking: bool = True) -> Iterator[None]:
    """Hold the lock file at `path`; the kernel drops it when the process dies, however it dies.

    Raises ConflictError (lock-held) where `blocking` is false and somebody else holds it. Not re-entrant across the
    two modes: a process that holds it shared must not ask for it exclusively.
    """
    _announce("lock", path)
    with translated(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if blocking else fcntl.LOCK_NB)
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            raise ConflictError(
                "another lamella process holds the store", kind="lock-held", hint="wait for it to end, then run again"
            ) from None
        yield
    finally:
        os.close(fd)


def open_directory_beneath(root: Path, parts: tuple[str, ...], *, create: bool = False) -> int:
    """Return a descriptor of `root`/`parts`, following no symbolic link below `root`; the caller closes it.

    Raises UsageError (path-unsafe) where a part is a link, is not a directory, or would leave `root`.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    shown = root.joinpath(*parts)
    with translated(shown):
        fd = os.open(root, flags)
    for part in parts:
        if part in ("", ".", "..") or "/" in part or "\0" in part:
            os.close(fd)
            raise UsageError(f"path {os.fspath(shown)!r} leaves the worktree", kind="path-unsafe")
        try:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
            deeper = os.open(part, flags | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.ENOTDIR):
                raise UsageError(
                    f"path {os.fspath(shown)!r} passes through a symbolic link or a file", kind="path-unsafe"
                ) from exc
            raise backend_error(exc, shown) from exc
        finally:
            os.close(fd)
        fd = deeper
    return fd
