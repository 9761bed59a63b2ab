"""The keys of an OCDBT database in order, and where the value of each lies: a walk through its B+tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lamella.core.buffers import Buffer
from lamella.core.limits import MAX_NAME_NBYTES, MAX_OCDBT_KEYS, MAX_OCDBT_NBYTES, MAX_OCDBT_NODES
from lamella.formats.ocdbt.envelope import Cursor, malformed, opened

MANIFEST = "manifest.ocdbt"

_MANIFEST_MAGIC = 0x0CDB3A2A
_NODE_MAGIC = 0x0CDB20DE
_UUID_NBYTES = 16
_COMMIT_TIME_NBYTES = 8
_MISSING = (1 << 64) - 1
_MAX_HEIGHT = 16
_MAX_PATH_NBYTES = 4096
_OUT_OF_LINE = 1


@dataclass(frozen=True, slots=True)
class Run:
    """The bytes of `path`, relative to the database, from `offset` on; `base` is before what they refer to in turn."""

    path: str
    offset: int
    nbytes: int
    base: str = ""


Value = bytes | Run
Read = Callable[[Run], Buffer]


def read_database(manifest: bytes, read: Read) -> dict[str, Value]:
    """Return every key of the newest version with its value, which lies in the tree or in a run of a file.

    `read` returns exactly the bytes of a run. Layout: TensorStore's documentation of the OCDBT driver, "Storage
    format", with the byte for the kind of manifest that its encoder writes behind the UUID. Raises FormatError
    (header-malformed, header-too-large) for what is not understood, for nodes that lie, and above MAX_OCDBT_NBYTES
    of nodes, MAX_OCDBT_KEYS keys and MAX_OCDBT_NODES nodes.
    """
    found: dict[str, Value] = {}
    last: bytes | None = None
    for key, value in _Walk(read).leaves(*_newest(manifest)):
        if last is not None and key <= last:
            raise malformed("its keys are not in order")
        last = key
        try:
            found[key.decode()] = value
        except UnicodeDecodeError as exc:
            raise malformed("a key is not text") from exc
    return found


def _newest(manifest: bytes) -> tuple[Run | None, int]:
    """Return the root of the newest version, None where that is empty, and its height."""
    cursor = opened(manifest, _MANIFEST_MAGIC, MANIFEST)
    cursor.take(_UUID_NBYTES)
    if cursor.byte():
        raise malformed("its manifest is in several files, which are not read")
    cursor.many(2)
    cursor.byte()
    if cursor.varint(1):
        cursor.take(4)
    paths = _paths(cursor, "")
    count = cursor.varint(MAX_OCDBT_KEYS)
    if not count:
        raise malformed("it has no version")
    cursor.many(count)
    heights = cursor.many(count, cursor.byte)
    runs = _runs(cursor, paths, count)
    cursor.many(3 * count)
    cursor.take(_COMMIT_TIME_NBYTES * count)
    root = runs[-1]
    return (None, 0) if root.offset == _MISSING else (root, heights[-1])


class _Walk:
    """Leaves from left to right; nodes and bytes are counted, as few that are shared can stand for any number."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._nodes = self._keys = 0
        self._nbytes = 0

    def leaves(self, root: Run | None, height: int) -> Iterator[tuple[bytes, Value]]:
        """Yield the keys and values below a node of this height; heights fall at every step."""
        if height > _MAX_HEIGHT:
            raise malformed(f"its tree has a height of {height}")
        waiting = [] if root is None else [(root, height, b"")]
        while waiting:
            run, height, prefix = waiting.pop()
            cursor = self._node(run, height)
            paths = _paths(cursor, run.base)
            count = cursor.varint()
            if not count:
                raise malformed("a node is empty")
            if height:
                keys, shared = self._keys_of(cursor, count, prefix, shared=True)
                runs = _runs(cursor, paths, count)
                cursor.many(3 * count)
                cursor.finish()
                below = [(one, height - 1, key[:n]) for one, key, n in zip(runs, keys, shared, strict=True)]
                waiting += reversed(below)
            else:
                keys, _ = self._keys_of(cursor, count, prefix, shared=False)
                yield from zip(keys, _values(cursor, paths, count), strict=True)
                cursor.finish()

    def _node(self, run: Run, height: int) -> Cursor:
        self._nodes += 1
        self._count(run.nbytes)
        if self._nodes > MAX_OCDBT_NODES:
            raise malformed(f"it has more than {MAX_OCDBT_NODES} nodes", kind="header-too-large")
        cursor = opened(bytes(self._read(run)), _NODE_MAGIC, "a node")
        self._count(cursor.nbytes)
        if cursor.byte() != height:
            raise malformed("a node has another height than its parent says")
        return cursor

    def _count(self, nbytes: int) -> None:
        self._nbytes += nbytes
        if self._nbytes > MAX_OCDBT_NBYTES:
            raise malformed(f"its tree takes more than {MAX_OCDBT_NBYTES} bytes", kind="header-too-large")

    def _keys_of(self, cursor: Cursor, count: int, prefix: bytes, *, shared: bool) -> tuple[list[bytes], list[int]]:
        """Return the keys of a node, and how much of each all keys below it begin with."""
        self._keys += count
        if self._keys > MAX_OCDBT_KEYS:
            raise malformed(f"it has more than {MAX_OCDBT_KEYS} keys", kind="header-too-large")
        prefixes = [0, *cursor.many(count - 1)]
        suffixes = cursor.many(count)
        below = cursor.many(count) if shared else [0] * count
        keys: list[bytes] = []
        last = b""
        for begin, length, common in zip(prefixes, suffixes, below, strict=True):
            if begin > len(last) or common > begin + length or len(prefix) + begin + length > MAX_NAME_NBYTES:
                raise malformed("a key has a length that cannot be")
            last = last[:begin] + cursor.take(length)
            self._count(len(prefix) + len(last))
            keys.append(prefix + last)
        return keys, [len(prefix) + common for common in below]


def _paths(cursor: Cursor, base: str) -> list[tuple[str, str]]:
    """Return the paths of the files that a node refers to, each with what of it is before what that refers to."""
    count = cursor.varint()
    prefixes = [0, *cursor.many(count - 1)] if count else []
    suffixes, bases = cursor.many(count), cursor.many(count)
    found: list[tuple[str, str]] = []
    last, total = b"", 0
    for begin, length, based in zip(prefixes, suffixes, bases, strict=True):
        total += begin + length + len(base)
        if begin > len(last) or based > begin + length or total > MAX_OCDBT_NBYTES or begin + length > _MAX_PATH_NBYTES:
            raise malformed("the path of a file has a length that cannot be")
        last = last[:begin] + cursor.take(length)
        try:
            found.append((base + last.decode(), base + last[:based].decode()))
        except UnicodeDecodeError as exc:
            raise malformed("the path of a file is not text") from exc
        if len(found[-1][0]) > _MAX_PATH_NBYTES:
            raise malformed("the path of a file is too long")
    return found


def _runs(cursor: Cursor, paths: Sequence[tuple[str, str]], count: int) -> list[Run]:
    numbers, offsets, lengths = cursor.many(count), cursor.many(count), cursor.many(count)
    return [_run(paths, *one) for one in zip(numbers, offsets, lengths, strict=True)]


def _run(paths: Sequence[tuple[str, str]], number: int, offset: int, nbytes: int) -> Run:
    if number >= len(paths):
        raise malformed("it refers to a file that it does not name")
    path, base = paths[number]
    return Run(path, offset, nbytes, base)


def _values(cursor: Cursor, paths: Sequence[tuple[str, str]], count: int) -> Iterator[Value]:
    lengths, kinds = cursor.many(count), cursor.many(count, cursor.byte)
    if any(kind > _OUT_OF_LINE for kind in kinds):
        raise malformed("a value is of a kind that is not known")
    apart = sum(kinds)
    places = iter(zip(cursor.many(apart), cursor.many(apart), strict=True))
    for length, kind in zip(lengths, kinds, strict=True):
        yield _run(paths, *next(places), length) if kind == _OUT_OF_LINE else cursor.take(length)
