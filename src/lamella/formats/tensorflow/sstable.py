"""Sorted tables of keys and values, as LevelDB lays them out: blocks of entries, and a block that lists the blocks."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.core.errors import FormatError
from lamella.core.limits import KIB, MIB
from lamella.formats.base import RandomAccess

_FOOTER_NBYTES = 48
"""Two handles, filled up, then the magic number."""

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")

_TRAILER_NBYTES = 5
"""Behind each block, one byte for its compression and four for its checksum."""

_MAX_BLOCK_NBYTES = 32 * MIB
"""A writer ends a block at some hundred KiB; longer ones are not read into memory."""

_MEMORY_NBYTES = 48 * MIB
_ENTRY_NBYTES = 400
"""What the keys may take that are read, beside as much as the table is long, and what each takes beside its text: a
key of some thousand bytes is written in four where it is the one before it and a letter."""

_MAX_KEY_NBYTES = 16 * KIB
"""Names of variables, and what is told of slices behind them. A key may be that of the block before it and a letter."""

_MAX_VARINT_NBYTES = 10


def read_table(table: RandomAccess) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table, keys strictly ascending.

    The source is LevelDB's `doc/table_format.md`. Checksums are not verified. Raises FormatError: header-malformed,
    for compressed blocks too; too-many-tensors for keys beyond what a reader may hold; file-truncated.
    """
    if table.nbytes < _FOOTER_NBYTES:
        raise malformed("it is shorter than a footer")
    footer = bytes(table.read_at(table.nbytes - _FOOTER_NBYTES, _FOOTER_NBYTES))
    if not footer.endswith(_MAGIC):
        raise malformed("it does not end as a table does")
    budget = _Budget(_MEMORY_NBYTES + table.nbytes)
    _, at = _read_handle(footer, 0)
    handle, _ = _read_handle(footer, at)
    end = 0
    last: bytes | None = None
    for _, where in _entries(_read_block(table, *handle), budget):
        (offset, nbytes), _ = _read_handle(where, 0)
        if offset < end:
            raise malformed("its blocks are not one behind the other")
        end = offset + nbytes
        for key, value in _entries(_read_block(table, offset, nbytes), budget):
            if last is not None and key <= last:
                raise malformed("its keys are not in order")
            yield key, value
            last = key


class _Budget:
    """What the keys of a table may still take."""

    def __init__(self, nbytes: int) -> None:
        self._left_nbytes = nbytes

    def charge(self, key_nbytes: int) -> None:
        """Take off what a key takes, before it is made."""
        if key_nbytes > _MAX_KEY_NBYTES:
            raise malformed(f"a key has {key_nbytes} bytes")
        self._left_nbytes -= _ENTRY_NBYTES + key_nbytes
        if self._left_nbytes < 0:
            raise FormatError(
                "index lists more than a reader may hold in memory",
                kind="too-many-tensors",
                hint="split the checkpoint into several",
            )


def _read_block(table: RandomAccess, offset: int, nbytes: int) -> bytes:
    if nbytes > _MAX_BLOCK_NBYTES:
        raise malformed(f"a block claims {nbytes} bytes")
    block = bytes(table.read_at(offset, nbytes + _TRAILER_NBYTES))
    if block[nbytes]:
        raise malformed("its blocks are compressed")
    return block[:nbytes]


def _entries(block: bytes, budget: _Budget) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of a block; of each key, only what differs from the key before is written."""
    restarts = int.from_bytes(block[-4:], "little")
    stop = len(block) - 4 - 4 * restarts
    if stop < 0:
        raise malformed("a block is cut")
    at = 0
    key = b""
    while at < stop:
        shared, at = read_varint(block, at)
        added, at = read_varint(block, at)
        nbytes, at = read_varint(block, at)
        if shared > len(key) or nbytes > stop - at or added > stop - at - nbytes:
            raise malformed("an entry leaves its block")
        budget.charge(shared + added)
        key = key[:shared] + block[at : at + added]
        at += added
        yield key, block[at : at + nbytes]
        at += nbytes


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = read_varint(data, at)
    nbytes, at = read_varint(data, at)
    return (offset, nbytes), at


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, seven bits a byte, and the position behind it; raise FormatError where it is cut."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    number = 0
    for index, byte in enumerate(data[at : at + _MAX_VARINT_NBYTES]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, at + index + 1
    raise malformed("a number is cut")


def malformed(reason: str) -> FormatError:
    """Return the error of an index for which `reason` holds."""
    return FormatError(
        f"index is malformed: {reason}", kind="header-malformed", hint="save the checkpoint again, or copy it again"
    )
