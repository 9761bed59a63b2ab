"""Git's index file, of which only the stat data of entries is changed: Git's gitformat-index(5), versions 2 to 4."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lamella.core import locks
from lamella.core.errors import ConflictError, FormatError
from lamella.core.limits import MAX_GIT_INDEX_NBYTES, MAX_GIT_PATH_NBYTES

_HEADER = struct.Struct(">4sLL")
_FIXED = struct.Struct(">8xL12xL12x")
"""An entry up to its object id, less what is not looked at: the seconds of mtime, and the mode."""

_TIMES = struct.Struct(">6L")
_OWNER_AND_SIZE = struct.Struct(">3L")
_OWNER_OFFSET = 28
_SIZE_OFFSET = 36
_SHORT = struct.Struct(">H")
_EXTENSION = struct.Struct(">4sL")

_EXTENDED = 0x4000
_STAGE_AND_VALID = 0xB000
_NAME_MASK = 0x0FFF
_SKIP_WORKTREE_AND_INTENT_TO_ADD = 0x6000

_REQUIRED_EXTENSIONS = frozenset({b"sdir"})
"""Extensions that a reader must know and that change nothing for us. `link`, a split index, is not among them."""

_MASK = 0xFFFFFFFF
_ATTEMPTS = 5

Expected = Mapping[bytes, tuple[bytes, os.stat_result]]
"""For each path the object id, as bytes, that its entry is expected to have, and the file's own stat."""


def refresh_stat(index_path: Path, entries: Expected, hash_name: str) -> int:
    """Make Git believe that the files of `entries` are what its index says, and return how many it believes.

    Afterwards `git status` runs no filter for them, unless a file's mtime lies in the very second in which the index
    was written. Entries that have another object id by now, that are in conflict or that carry a flag are left alone.
    `hash_name` is the repository's, "sha1" or "sha256".

    Raises ConflictError (lock-held) where another process is writing the index, and FormatError (index-format) for an
    index that is split, damaged or newer than this code, BackendError where the disk refuses, links-unsupported where
    there are no hard links: `git update-index --refresh` then does the same, slowly. The index is as it was after every
    error.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _refresh_once(index_path, entries, hash_name)
        except ConflictError as error:
            if error.kind != "file-changed" or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _refresh_once(index_path: Path, entries: Expected, hash_name: str) -> int:
    try:
        fd = os.open(index_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    except OSError as exc:
        raise _malformed("it cannot be opened as a file") from exc
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > MAX_GIT_INDEX_NBYTES:
            raise _malformed("it is not a file, or too large")
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(seen.st_size + 1)
        if len(data) != seen.st_size:
            raise _malformed("it is being written")
        patched, count = _patched(data, entries, hash_name, seen.st_mtime_ns // 10**9)
        if count:
            locks.replace_locked(index_path, patched, lock_name=f"{index_path.name}.lock", seen=seen)
    finally:
        os.close(fd)
    return count


def _patched(data: bytes, entries: Expected, hash_name: str, written_seconds: int) -> tuple[bytearray, int]:
    """Return the index with fresh stat data, and how many entries got it.

    `written_seconds` is the old index's mtime. An entry that is not younger may be of a file that changed in the second
    in which the index was written. Git compares such files; the new index's mtime would hide them from it, so they
    get the size 0, which Git itself gives them to say "compare".
    """
    trailer_nbytes = hashlib.new(hash_name, usedforsecurity=False).digest_size
    content = data[: max(len(data) - trailer_nbytes, 0)]
    stored = data[len(content) :]
    if any(stored) and stored != _checksum(content, hash_name):  # zeros: index.skipHash
        raise _malformed("its checksum is wrong")
    patched = bytearray(content)
    count = 0
    for entry in _entries(content, trailer_nbytes):
        wanted = entries.get(entry.path)
        if wanted is not None and entry.patchable and wanted[0] == entry.oid:
            _put(patched, entry.offset, wanted[1])
            count += 1
        elif entry.has_content and entry.mtime_seconds >= written_seconds & _MASK:
            patched[entry.offset + _SIZE_OFFSET : entry.offset + _SIZE_OFFSET + 4] = bytes(4)
    patched += _checksum(patched, hash_name) if any(stored) else stored
    return patched, count


def _checksum(content: bytes | bytearray, hash_name: str) -> bytes:
    return hashlib.new(hash_name, content, usedforsecurity=False).digest()


def _put(index: bytearray, offset: int, state: os.stat_result) -> None:
    seconds = (state.st_ctime_ns, state.st_mtime_ns)
    times = [part & _MASK for nanoseconds in seconds for part in divmod(nanoseconds, 10**9)]
    size = state.st_size & _MASK
    if state.st_size and not size:
        size = 0x80000000  # 0 would say "compare"; newer versions of Git write this for multiples of 4 GiB
    _TIMES.pack_into(index, offset, *times, state.st_dev & _MASK, state.st_ino & _MASK)
    _OWNER_AND_SIZE.pack_into(index, offset + _OWNER_OFFSET, state.st_uid & _MASK, state.st_gid & _MASK, size)


@dataclass(slots=True)
class _Entry:
    offset: int
    mtime_seconds: int
    mode: int
    oid: bytes
    flags: int
    extended: int
    path: bytes

    @property
    def has_content(self) -> bool:
        """Whether it is a file or a link, not a submodule or a folded directory."""
        return stat.S_IFMT(self.mode) in (stat.S_IFREG, stat.S_IFLNK)

    @property
    def patchable(self) -> bool:
        """Whether it is a plain file, not in conflict, that Git looks at in the worktree."""
        return stat.S_ISREG(self.mode) and not self.flags & _STAGE_AND_VALID and not self.extended


def _entries(content: bytes, oid_nbytes: int) -> Iterator[_Entry]:
    """Yield every entry; check, before the iterator ends, that extensions fill the rest."""
    if len(content) < _HEADER.size:
        raise _malformed("it is cut")
    signature, version, count = _HEADER.unpack_from(content)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise _malformed(f"version {version} is not known")
    offset, path = _HEADER.size, b""
    for _ in range(count):
        fixed_end = offset + _FIXED.size + oid_nbytes + _SHORT.size
        if fixed_end + _SHORT.size > len(content):
            raise _malformed("an entry is cut")
        mtime_seconds, mode = _FIXED.unpack_from(content, offset)
        oid = content[offset + _FIXED.size : offset + _FIXED.size + oid_nbytes]
        flags = _SHORT.unpack_from(content, fixed_end - _SHORT.size)[0]
        extended = 0
        name = fixed_end
        if flags & _EXTENDED:
            extended = _SHORT.unpack_from(content, fixed_end)[0] & _SKIP_WORKTREE_AND_INTENT_TO_ADD
            name += _SHORT.size
        if version == 4:
            path, following = _compressed_path(content, name, path)
        else:
            path, following = _padded_path(content, offset, name, flags & _NAME_MASK)
        yield _Entry(offset, mtime_seconds, mode, oid, flags, extended, path)
        offset = following
    _check_extensions(content, offset)


def _padded_path(content: bytes, offset: int, name: int, nbytes: int) -> tuple[bytes, int]:
    """Return a path that is followed by 1 to 8 zeros, and the offset behind them."""
    end = _zero(content, name) if nbytes == _NAME_MASK else name + nbytes
    following = offset + ((end - offset + 8) & ~7)
    if following > len(content) or any(content[end:following]):
        raise _malformed("a path is not where it should be")
    return content[name:end], following


def _compressed_path(content: bytes, name: int, previous: bytes) -> tuple[bytes, int]:
    """Return a path that is given by how much of the previous one to drop and what to add, and the offset behind."""
    dropped = content[name] & 0x7F
    while content[name] & 0x80:
        name += 1
        if name >= len(content) or dropped > MAX_GIT_PATH_NBYTES:
            raise _malformed("a path is cut")
        dropped = ((dropped + 1) << 7) + (content[name] & 0x7F)
    end = _zero(content, name + 1)
    if dropped > len(previous):
        raise _malformed("a path drops more than there is")
    return previous[: len(previous) - dropped] + content[name + 1 : end], end + 1


def _zero(content: bytes, start: int) -> int:
    """Return the offset of the first zero byte from `start`, within what a path may take."""
    found = content.find(0, start, start + MAX_GIT_PATH_NBYTES)
    if found < 0:
        raise _malformed("a path has no end")
    return found


def _check_extensions(content: bytes, offset: int) -> None:
    while offset < len(content):
        if offset + _EXTENSION.size > len(content):
            raise _malformed("an extension is cut")
        signature, nbytes = _EXTENSION.unpack_from(content, offset)
        if not signature[:1].isupper() and signature not in _REQUIRED_EXTENSIONS:
            raise _malformed(f"the extension {signature.decode('latin-1')!r} is not known")
        offset += _EXTENSION.size + nbytes
    if offset != len(content):
        raise _malformed("an extension is longer than the file")


def _malformed(what: str) -> FormatError:
    return FormatError(f"git's index is not one that can be patched: {what}", kind="index-format")
