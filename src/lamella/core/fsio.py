"""The module that changes the disk, with `core/locks.py`: exclusive temporaries, fsync, rename, directory fsync.

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
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError, ConflictError, LamellaError, UsageError

Observer = Callable[[str, str], None]
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
TEMPORARY_PREFIX = ".lamella-tmp-"
_NOT_OURS_TO_SWEEP = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENXIO)

_observers: list[Observer] = []


@contextlib.contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Call `observer(operation, path)` before each mutating call made inside the block, in any thread."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def announce(operation: str, path: str | Path) -> None:
    """Tell the observers of a change that is about to be made."""
    for observer in _observers:
        observer(operation, os.fspath(path))


@contextlib.contextmanager
def translated(path: str | Path, *, reading: bool = False) -> Iterator[None]:
    """Turn the OSErrors of the block, which may be `reading` only, into BackendErrors that name `path`."""
    try:
        yield
    except LamellaError:
        raise
    except OSError as exc:
        raise backend_error(exc, path, reading=reading) from exc


@contextlib.contextmanager
def changing(operation: str, path: str | Path) -> Iterator[None]:
    """Announce a change before the block makes it; a fault that the observer raises is met as one of the system's."""
    with translated(path):
        announce(operation, path)
        yield


def backend_error(exc: OSError, path: str | Path, *, reading: bool = False) -> BackendError:
    """Return the BackendError that says what `exc` means for `path`, which was only read where `reading`."""
    reason = (exc.strerror or str(exc)).lower()
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "nothing was lost; free some space and run the command again"
        return BackendError(f"no space left to write {path}", kind="no-space", hint=hint)
    if reading and exc.errno in (errno.EACCES, errno.EPERM):
        return BackendError(f"cannot read {path}: {reason}", kind="io-failed", hint="check its owner and permissions")
    if exc.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        hint = "check the owner and the permissions, and that the file system is mounted for writing"
        return BackendError(f"cannot write {path}: {reason}", kind="read-only", hint=hint)
    return BackendError(f"{path}: {reason}", kind="io-failed", hint="check the disk, then run the command again")


def flush(fd: int) -> None:
    """Bring a file to stable storage; on macOS that takes more than fsync, where the file system knows more."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
        except OSError as exc:
            if exc.errno not in (errno.ENOTSUP, errno.ENOTTY, errno.EINVAL):
                raise
    os.fsync(fd)


class Temporary:
    """A file under a temporary name, private to this process until it is published.

    Writes may come from several threads, each to its own range. Leaving the `with` block without `publish` removes it.
    """

    def __init__(self, directory: Path, directory_fd: int | None = None, mode: int = 0o666) -> None:
        self.directory = directory
        self._directory_fd = directory_fd
        self._published = False
        # A sweep that comes between the two calls takes the file for one that nobody holds, and removes it.
        while not self._create(mode):
            os.close(self.fd)

    def _create(self, mode: int) -> bool:
        """Open a new file, hold it until it is closed, and say whether it still has its name then."""
        self.name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with translated(self.directory):
            announce("create", self.path)
            self.fd = os.open(self._where(self.name), flags, mode, dir_fd=self._directory_fd)
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX)
                return os.fstat(self.fd).st_nlink > 0
            except BaseException:
                self.__exit__()
                raise

    @property
    def path(self) -> Path:
        """Where the temporary lies."""
        return self.directory / self.name

    def _where(self, name: str) -> str:
        return name if self._directory_fd is not None else os.fspath(self.directory / name)

    def write_at(self, data: Buffer, offset: int) -> None:
        """Write all of `data` at `offset`."""
        view = memoryview(data)
        with changing("write", self.path):
            while view:
                written = os.pwrite(self.fd, view, offset)
                view, offset = view[written:], offset + written

    def resize(self, nbytes: int) -> None:
        """Set the length to `nbytes`; new bytes read as zero."""
        with changing("resize", self.path):
            os.ftruncate(self.fd, nbytes)

    def set_modified(self, seconds: float) -> None:
        """Set the modification time, in seconds since the epoch."""
        with changing("touch", self.path):
            os.utime(self.fd, (seconds, seconds))

    def publish(self, name: str, *, durable: bool = True, replacing: os.stat_result | None = None) -> None:
        """Give the file its final `name` in the same directory, replacing what had it.

        With `durable`, bytes and name are on stable storage when this returns. A failed fsync raises and leaves the
        final name as it was: the kernel may have dropped the pages, so the write is never claimed.

        With `replacing`, only the file that this describes is replaced: where another has the name by now, or none,
        that stays as it is, and ConflictError (file-changed) is raised. Where names cannot be exchanged, and where
        `durable`, what comes between the last look and the rename goes unseen.
        """
        with translated(self.directory / name):
            if durable:
                announce("fsync", self.path)
                flush(self.fd)
            announce("rename", self.directory / name)
            if not durable and self._exchanged(name):
                if replacing is not None:
                    self._yield_to_others(name, replacing)
                return
            if replacing is not None and not same_file(self._look(name), replacing):
                raise changed_meanwhile(self.directory / name)
            os.rename(
                self._where(self.name), self._where(name), src_dir_fd=self._directory_fd, dst_dir_fd=self._directory_fd
            )
            self._published = True
            if durable:
                sync_directory(self.directory, self._directory_fd)

    def _exchanged(self, name: str) -> bool:
        """Exchange names with the regular file called `name`; say whether there is one and the system can do that.

        What has the temporary name then is the old file, and goes when the block ends. A rename onto a file makes ext4
        write out the new one before it returns, which takes longer than to write it did.
        """
        old = self._look(name)
        regular = old is not None and stat.S_ISREG(old.st_mode)
        return regular and exchange(self._where(self.name), self._where(name), self._directory_fd)

    def _look(self, name: str) -> os.stat_result | None:
        """Return the state of what is called `name`, None where nothing is."""
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self._where(name), dir_fd=self._directory_fd, follow_symlinks=False)
        return None

    def _yield_to_others(self, name: str, expected: os.stat_result) -> None:
        """Exchange the names back unless it was `expected` that was replaced.

        Somebody may take the name even then: the newest file has it in the end, and none is removed that had not been
        replaced by a newer one.
        """
        if same_file(self._look(self.name), expected):
            return
        replaced = [os.fstat(self.fd)]
        while not any(same_file(displaced := self._look(self.name), one) for one in replaced):
            announce("rename", self.directory / name)
            if displaced is None or not exchange(self._where(self.name), self._where(name), self._directory_fd):
                os.rename(
                    self._where(self.name),
                    self._where(name),
                    src_dir_fd=self._directory_fd,
                    dst_dir_fd=self._directory_fd,
                )
                self._published = True
                break
            replaced.append(displaced)
        raise changed_meanwhile(self.directory / name)

    def __enter__(self) -> Temporary:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self.fd)
        if not self._published:
            # What cannot be removed now is swept later; the reason for which the block ended matters more.
            with contextlib.suppress(BackendError), changing("remove", self.path):
                os.unlink(self._where(self.name), dir_fd=self._directory_fd)


def same_file(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Say whether both describe one file, and one content as far as length and time of change tell."""
    if one is None or other is None:
        return False
    return os.path.samestat(one, other) and (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def changed_meanwhile(path: Path) -> ConflictError:
    """Return the error for a file that is no longer the one that was looked at."""
    return ConflictError(f"{path} changed meanwhile", kind="file-changed", hint="run the command again")


def exchange(one: str, other: str, directory_fd: int | None = None) -> bool:
    """Let two files trade their names in one step; return False, with nothing done, where that is not possible.

    Relative names lie in `directory_fd`. Linux has this since 3.15 on most file systems (renameat2(2)).
    """
    from ctypes import CDLL

    call = getattr(CDLL(None), "renameat2", None)
    if call is None:
        return False
    at = _AT_FDCWD if directory_fd is None else directory_fd
    return bool(call(at, os.fsencode(one), at, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def sync_directory(directory: Path, directory_fd: int | None = None) -> None:
    """Flush the names in `directory` to stable storage."""
    with changing("fsync-directory", directory):
        if directory_fd is not None:
            flush(directory_fd)
            return
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flush(fd)
        finally:
            os.close(fd)


def write_file(path: Path, data: Buffer, *, durable: bool = True, executable: bool = False) -> None:
    """Replace the file at `path` by `data`, wholly or not at all."""
    with Temporary(path.parent, mode=0o777 if executable else 0o666) as temporary:
        temporary.write_at(data, 0)
        temporary.publish(path.name, durable=durable)


def make_directory(path: Path, *, durable: bool = True) -> None:
    """Create `path` and its parents where they are missing and, with `durable`, flush the names that were added."""
    if path.is_dir():
        return
    make_directory(path.parent, durable=durable)
    with changing("mkdir", path):
        path.mkdir(exist_ok=True)
    if durable:
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove the file at `path`, if it is there."""
    with changing("remove", path), contextlib.suppress(FileNotFoundError):
        path.unlink()


def remove_tree(path: Path) -> None:
    """Remove the directory at `path` with all that is in it, following no link, if it is there."""
    with changing("remove", path), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def rename(source: Path, target: Path) -> None:
    """Move `source` to `target` on one file system, durably."""
    with changing("rename", target):
        source.rename(target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def touch(path: Path, seconds: float | None = None) -> None:
    """Set the modification time of `path`, to now unless `seconds` since the epoch are given."""
    with changing("touch", path):
        os.utime(path, None if seconds is None else (seconds, seconds))


def sweep(directory: Path) -> int:
    """Remove the temporaries in `directory` whose process is gone, and return how many there were.

    What belongs to another user, or is no regular file and so none of ours, is left alone.
    """
    swept = 0
    with translated(directory):
        for name in os.listdir(directory):
            if name.startswith(TEMPORARY_PREFIX) and _sweep_one(directory / name):
                swept += 1
    return swept


def _sweep_one(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in _NOT_OURS_TO_SWEEP:
            return False
        raise
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        announce("remove", path)
        os.unlink(path)
    except (BlockingIOError, FileNotFoundError, PermissionError):
        return False
    finally:
        os.close(fd)
    return True


@contextlib.contextmanager
def spool(directory: Path) -> Iterator[IO[bytes]]:
    """Lend an unnamed file in `directory` that is gone when the block or the process ends."""
    with Temporary(directory, mode=0o600) as temporary:
        remove(temporary.path)
        temporary._published = True
        with os.fdopen(os.dup(temporary.fd), "r+b") as file:
            yield file


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
                announce("mkdir", shown)
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
