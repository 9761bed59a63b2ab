"""Finding the records of a pack without its directory: from magic to magic, each believed for its checksum alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lamella.core.errors import IntegrityError
from lamella.core.limits import IO_NBYTES, KIB, MIB
from lamella.store import record
from lamella.store.pack import HEADER, Entry, PackReader, make_entry

PAGE_NBYTES = 4 * KIB
"""The first look ahead, and what is passed over where the disk cannot read."""

MAX_PASSES = 8
"""What is read in search of records may add up to so many times the pack: false ones must not cost more."""

ALLOWANCE_NBYTES = 16 * MIB
"""What may be read beyond that: enough for every false head of a pack that is small itself."""


def survey(pack: PackReader) -> tuple[list[Entry], IntegrityError | None]:
    """Return a pack's directory and None; where it is damaged, the records that a scan finds, and the damage."""
    try:
        return pack.entries(), None
    except IntegrityError as damage:
        return list(scan(pack)), damage


def scan(pack: PackReader) -> Iterator[Entry]:
    """Yield every record with an undamaged head, in file order, whatever lies between them.

    The next record is expected behind the payload of the last. Where none is there, the search goes on from the end of
    the last sound head, since the payload between may have lost bytes.
    """
    allowance = ALLOWANCE_NBYTES + MAX_PASSES * pack.nbytes
    position = unsearched = HEADER.size
    while unsearched < pack.nbytes and allowance > 0:
        entry = None
        with contextlib.suppress(IntegrityError):
            data = pack.read_at(position, record.head_nbytes_at(pack.read_at(position, record.HEAD_LENGTH_END)))
            allowance -= len(data)
            entry = make_entry(record.unpack_head(data), data, position)
        if entry is None:
            position = _next_magic(pack, unsearched)
            allowance -= max(PAGE_NBYTES, position - unsearched)
            unsearched = position + 1
        else:
            yield entry
            position, unsearched = entry.offset + entry.nbytes, entry.offset + entry.head_nbytes


def _next_magic(pack: PackReader, start: int) -> int:
    """Return the first position from `start` on where a record may begin, or the pack's length."""
    position, window_nbytes = start, PAGE_NBYTES
    while position < pack.nbytes:
        nbytes = min(window_nbytes, pack.nbytes - position)
        try:
            found = pack.read_at(position, nbytes).find(record.MAGIC)
        except IntegrityError:
            position += nbytes if nbytes <= PAGE_NBYTES else 0
            window_nbytes = PAGE_NBYTES
            continue
        if found >= 0:
            return position + found
        if position + nbytes == pack.nbytes:
            break
        position += nbytes - len(record.MAGIC) + 1
        window_nbytes = min(2 * window_nbytes, IO_NBYTES)
    return pack.nbytes
