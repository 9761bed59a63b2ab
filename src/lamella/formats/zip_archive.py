"""A strict reader of zip directories: what a member's name is and where its bytes lie, with one answer or none.

The format is that of PKWARE's APPNOTE 6.3.10. A file that two readers could take for two archives is refused: more than
one directory, bytes before the first member or behind the last record, members that overlap or come twice, headers
that contradict the directory. So is one with a comment: where the directory ends could not be told without reading what
members hold. Nothing is ever extracted.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_NAME_NBYTES, MAX_ZIP_DIRECTORY_NBYTES, MAX_ZIP_MEMBERS
from lamella.formats.base import RandomAccess

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LOCAL_MAGIC, _ENTRY_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_CHECKSUM, _ROW_CHECKSUM = 14, 16
"""Where in a member's header, and in its row of the directory, its checksum stands."""

_BEHIND_MAGIC = b"PK\x07\x08"
_END_64_MAGIC, _LOCATOR_MAGIC = b"PK\x06\x06", b"PK\x06\x07"
_ELSEWHERE_16, _ELSEWHERE_32 = 0xFFFF, 0xFFFFFFFF
"""What stands in a field whose number is in a 64-bit record."""

_ENCRYPTED = 0x2041
_LENGTHS_BEHIND = 0x0008
_UTF_8 = 0x0800
_STORED, _DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member: its bytes lie from `offset` on and take `nbytes` in the file, `decoded_nbytes` where it is decoded.

    `checksums` are the places in the file, of four bytes each, where the checksum of what it decodes to stands.
    """

    name: str
    offset: int
    nbytes: int
    decoded_nbytes: int
    method: int
    checksums: tuple[int, ...] = ()

    @property
    def stored(self) -> bool:
        """Whether the bytes in the file are the member's own, not compressed."""
        return self.method == _STORED


def first_name(head: bytes) -> str | None:
    """Return the name of the member that a file begins with, from its first bytes; None where it is no archive."""
    if len(head) < _LOCAL.size or head[:4] != _LOCAL_MAGIC:
        return None
    name_nbytes = _LOCAL.unpack_from(head)[9]
    return head[_LOCAL.size : _LOCAL.size + name_nbytes].decode("utf-8", "replace")


def read_members(file: RandomAccess) -> tuple[ZipMember, ...]:
    """Return the members in the order in which they lie in the file.

    Raises FormatError: header-malformed, header-too-large, too-many-tensors, name-duplicate, span-overlap,
    span-out-of-file, file-truncated.
    """
    start, stop, count = _find_directory(file)
    entries = _read_directory(bytes(file.read_at(start, stop - start)), count, start)
    entries.sort(key=lambda entry: entry.start)
    if entries and entries[0].start != 0:
        raise _malformed("it does not begin with a member")
    members = [_read_local(file, entry, start) for entry in entries]
    for (entry, member), (following, _) in pairwise(zip(entries, members, strict=True)):
        if member.offset + member.nbytes > following.start:
            both = f"{entry.name[:80]!r} and {following.name[:80]!r}"
            raise FormatError(f"archive members {both} overlap", kind="span-overlap")
    return tuple(members)


def read_member(file: RandomAccess, member: ZipMember, limit_nbytes: int) -> bytes:
    """Return the decoded bytes of a member; raise FormatError where they are more than `limit_nbytes` or damaged."""
    if max(member.nbytes, member.decoded_nbytes) > limit_nbytes:
        raise FormatError(f"archive member {member.name[:80]!r} is too large", kind="header-too-large")
    data = bytes(file.read_at(member.offset, member.nbytes))
    if member.stored:
        return data
    if member.method != _DEFLATED:
        raise _malformed(f"member {member.name[:80]!r} is compressed in a way that is not known")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        decoded = inflater.decompress(data, member.decoded_nbytes + 1)
    except zlib.error as exc:
        raise _malformed(f"member {member.name[:80]!r} cannot be inflated") from exc
    if len(decoded) != member.decoded_nbytes or not inflater.eof:
        raise _malformed(f"member {member.name[:80]!r} is not as long as the directory says")
    return decoded


@dataclass(frozen=True, slots=True)
class _Entry:
    """A member as the directory has it; `start` is where its local header lies, `row` where its row there does."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    nbytes: int
    decoded_nbytes: int
    start: int
    row: int


def _find_directory(file: RandomAccess) -> tuple[int, int, int]:
    """Return where the directory starts and stops, and how many entries it claims."""
    end = file.nbytes - _END.size
    if end < 0:
        raise _cut_short()
    magic, disk, first_disk, here, count, nbytes, start, comment_nbytes = _END.unpack(file.read_at(end, _END.size))
    if magic != _END_MAGIC or comment_nbytes:
        raise _cut_short()
    has_locator = end >= _LOCATOR.size and bytes(file.read_at(end - _LOCATOR.size, 4)) == _LOCATOR_MAGIC
    if has_locator:
        end, here, count, nbytes, start = _read_end_64(file, end - _LOCATOR.size, (here, count, nbytes, start))
    elif _ELSEWHERE_16 in (here, count) or _ELSEWHERE_32 in (nbytes, start):
        raise _malformed("its 64-bit directory is missing")
    if (disk, first_disk) not in ((0, 0), (_ELSEWHERE_16, _ELSEWHERE_16)) or here != count:
        raise _malformed("it is one of several volumes")
    if start + nbytes != end:
        raise _malformed("its directory does not end where it should")
    if count > MAX_ZIP_MEMBERS or nbytes > MAX_ZIP_DIRECTORY_NBYTES:
        raise FormatError(
            f"archive claims {count} members", kind="header-too-large", hint="split it into several files"
        )
    return start, end, count


def _read_end_64(file: RandomAccess, locator: int, short: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Return where the 64-bit end record lies, and what it says; the short record may say the same or point at it."""
    _, disk, at, disks = _LOCATOR.unpack(file.read_at(locator, _LOCATOR.size))
    if disk != 0 or disks > 1 or at + _END_64.size != locator:
        raise _malformed("its 64-bit directory is not where it should be")
    magic, nbytes, _, _, disk, first_disk, *long = _END_64.unpack(file.read_at(at, _END_64.size))
    if magic != _END_64_MAGIC or nbytes != _END_64.size - 12 or (disk, first_disk) != (0, 0):
        raise _malformed("its 64-bit directory is malformed")
    elsewhere = (_ELSEWHERE_16, _ELSEWHERE_16, _ELSEWHERE_32, _ELSEWHERE_32)
    if any(one not in (other, mark) for one, other, mark in zip(short, long, elsewhere, strict=True)):
        raise _malformed("it has two directories that differ")
    here, count, directory_nbytes, start = long
    return at, here, count, directory_nbytes, start


def _read_directory(directory: bytes, count: int, begins: int) -> list[_Entry]:
    entries: list[_Entry] = []
    names: set[str] = set()
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(directory):
            raise _malformed("its directory is cut")
        fields = _ENTRY.unpack_from(directory, at)
        magic, _, _, flags, method, _, _, _, nbytes, decoded_nbytes, name_nbytes, extra_nbytes, note_nbytes = fields[
            :13
        ]
        disk, _, _, start = fields[13:]
        stop = at + _ENTRY.size + name_nbytes + extra_nbytes + note_nbytes
        if magic != _ENTRY_MAGIC or stop > len(directory) or name_nbytes > MAX_NAME_NBYTES:
            raise _malformed("its directory is malformed")
        raw_name = directory[at + _ENTRY.size : at + _ENTRY.size + name_nbytes]
        extra = directory[at + _ENTRY.size + name_nbytes : stop - note_nbytes]
        row = begins + at
        decoded_nbytes, nbytes, start = _wide(extra, decoded_nbytes, nbytes, start)
        entry = _Entry(_decoded(raw_name, flags), raw_name, flags, method, nbytes, decoded_nbytes, start, row)
        if flags & _ENCRYPTED or disk not in (0, _ELSEWHERE_16):
            raise _malformed(f"member {entry.name[:80]!r} is encrypted or elsewhere")
        if method == _STORED and nbytes != decoded_nbytes:
            raise _malformed(f"member {entry.name[:80]!r} has two lengths")
        if entry.name in names:
            raise FormatError(f"archive has member {entry.name[:80]!r} twice", kind="name-duplicate")
        names.add(entry.name)
        entries.append(entry)
        at = stop
    if at != len(directory):
        raise _malformed("its directory has more than it claims")
    return entries


def _wide(extra: bytes, *numbers: int) -> list[int]:
    """Return the numbers of an entry, those that stand in its 64-bit field taken from there."""
    found = list(numbers)
    if _ELSEWHERE_32 not in numbers:
        return found
    at = 0
    while at + 4 <= len(extra):
        kind, nbytes = struct.unpack_from("<2H", extra, at)
        if kind == 1 and at + 4 + nbytes <= len(extra):
            wanted = [index for index, number in enumerate(numbers) if number == _ELSEWHERE_32]
            if nbytes < 8 * len(wanted):
                break
            for order, index in enumerate(wanted):
                (found[index],) = struct.unpack_from("<Q", extra, at + 4 + 8 * order)
            return found
        at += 4 + nbytes
    raise _malformed("a member's 64-bit field is missing")


def _decoded(raw_name: bytes, flags: int) -> str:
    try:
        return raw_name.decode("utf-8" if flags & _UTF_8 or raw_name.isascii() else "cp437")
    except UnicodeDecodeError as exc:
        raise _malformed("the name of a member is not text") from exc


def _read_local(file: RandomAccess, entry: _Entry, directory_start: int) -> ZipMember:
    """Return where the bytes of a member lie, held against what stands before them."""
    header = bytes(file.read_at(entry.start, _LOCAL.size + len(entry.raw_name)))
    magic, _, flags, method, _, _, _, nbytes, decoded_nbytes, name_nbytes, extra_nbytes = _LOCAL.unpack_from(header)
    offset = entry.start + _LOCAL.size + name_nbytes + extra_nbytes
    lengths_agree = flags & _LENGTHS_BEHIND or (
        nbytes in (entry.nbytes, _ELSEWHERE_32) and decoded_nbytes in (entry.decoded_nbytes, _ELSEWHERE_32)
    )
    same = ((flags ^ entry.flags) & (_ENCRYPTED | _LENGTHS_BEHIND), method) == (0, entry.method)
    if magic != _LOCAL_MAGIC or header[_LOCAL.size :] != entry.raw_name or name_nbytes != len(entry.raw_name):
        raise _malformed(f"member {entry.name[:80]!r} is not where the directory says")
    if not same or not lengths_agree:
        raise _malformed(f"member {entry.name[:80]!r} is not what the directory says")
    if offset + entry.nbytes > directory_start:
        raise FormatError(f"archive member {entry.name[:80]!r} runs into the directory", kind="span-out-of-file")
    checksum = entry.start + _CHECKSUM
    if flags & _LENGTHS_BEHIND:
        behind = offset + entry.nbytes
        is_marked = bytes(file.read_at(behind, min(4, file.nbytes - behind))) == _BEHIND_MAGIC
        checksum = behind + (4 if is_marked else 0)
    checksums = (checksum, entry.row + _ROW_CHECKSUM)
    return ZipMember(entry.name, offset, entry.nbytes, entry.decoded_nbytes, entry.method, checksums)


def _cut_short() -> FormatError:
    return FormatError(
        "the directory at the end of the archive is missing",
        kind="header-malformed",
        hint="the file was probably cut short; copy it again",
    )


def _malformed(reason: str) -> FormatError:
    return FormatError(
        f"archive is malformed: {reason}", kind="header-malformed", hint="write the file again with its framework"
    )
