"""The groups of rows of a Parquet file, by their columns' bytes: what can be told of rows without decoding them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from lamella.core.errors import FormatError
from lamella.core.limits import IO_NBYTES, MAX_NAME_NBYTES, MAX_PARQUET_FOOTER_NBYTES
from lamella.formats.base import RandomAccess
from lamella.formats.data.parquet import footer_text
from lamella.formats.data.thrift_compact import BINARY, I32, I64, LIST, STRUCT, CompactReader, malformed

_TYPES = ("boolean", "int32", "int64", "int96", "float", "double", "bytes", "fixed bytes")
_CONVERTED = {0: "text", 5: "decimal", 6: "date", 9: "timestamp", 10: "timestamp", 17: "json", 19: "interval"}
"""Numbers of Type and ConvertedType in https://github.com/apache/parquet-format."""

_REPEATED = 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where the bytes of one column of one group lie."""

    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Group:
    """Some rows: their number, and where each column lies."""

    rows: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class ParquetGroups:
    """What the footer says: the type of each column by its dotted name, and the groups of rows."""

    rows: int
    columns: dict[str, str]
    groups: tuple[Group, ...]


def read_groups(file: RandomAccess) -> ParquetGroups:
    """Return the groups of a file; raise FormatError where the footer is not what it should be."""
    text = footer_text(file, MAX_PARQUET_FOOTER_NBYTES)
    reader = CompactReader(text)
    rows, columns, groups = 0, dict[str, str](), tuple[Group, ...]()
    for number, kind in reader.fields():
        if (number, kind) == (2, LIST):
            columns = dict(_columns(reader))
        elif (number, kind) == (3, I64):
            rows = reader.integer()
        elif (number, kind) == (4, LIST):
            groups = tuple(_groups(reader, file.nbytes))
        else:
            reader.skip(kind)
    if sum(group.rows for group in groups) != rows:
        raise malformed("its groups have other rows than the file")
    return ParquetGroups(rows, columns, groups)


def group_digests(file: RandomAccess, groups: ParquetGroups) -> Iterator[tuple[bytes, int]]:
    """Yield a digest of the columns' bytes of each group, and how many rows it has."""
    names = repr(tuple(groups.columns.items())).encode()
    for group in groups.groups:
        hasher = hashlib.blake2b(names, digest_size=16)
        for chunk in group.chunks:
            hasher.update(b"%d %d\n" % (group.rows, chunk.nbytes))
            for at in range(chunk.offset, chunk.offset + chunk.nbytes, IO_NBYTES):
                hasher.update(file.read_at(at, min(IO_NBYTES, chunk.offset + chunk.nbytes - at)))
        yield hasher.digest(), group.rows


def _columns(reader: CompactReader) -> Iterator[tuple[str, str]]:
    """Yield the leaves of the schema, a tree that is listed depth first, by their dotted names."""
    _, count = reader.items()
    path: list[tuple[str, int]] = []
    for _ in range(count):
        name, kind, children = _element(reader)
        if not children and path:
            steps = [*(step for step, _ in path[1:]), name]
            if sum(map(len, steps)) > MAX_NAME_NBYTES:
                raise malformed("a column has a name that is too long")
            yield ".".join(steps), kind
        path.append((name, children))
        while path and not path[-1][1]:
            path.pop()
            if path:
                path[-1] = (path[-1][0], path[-1][1] - 1)
        if len(path) > 64:
            raise malformed("its columns nest deeper than 64 levels", kind="header-too-deep")


def _element(reader: CompactReader) -> tuple[str, str, int]:
    name, kind, converted, repeated, children = "", "", None, False, 0
    for number, wire in reader.fields():
        if (number, wire) == (4, BINARY):
            name = reader.binary().decode(errors="replace")
        elif wire == I32 and number in (1, 3, 5, 6):
            value = reader.integer()
            if number == 1:
                kind = _TYPES[value] if 0 <= value < len(_TYPES) else f"type {value}"
            elif number == 3:
                repeated = value == _REPEATED
            elif number == 5:
                children = max(0, value)
            else:
                converted = _CONVERTED.get(value)
        else:
            reader.skip(wire)
    return name, f"{'list of ' if repeated else ''}{converted or kind}", children


def _groups(reader: CompactReader, file_nbytes: int) -> Iterator[Group]:
    kind, count = reader.items()
    if kind != STRUCT:
        raise malformed("its groups are no list of structures")
    read_nbytes = 0
    for _ in range(count):
        rows, chunks = 0, tuple[Chunk, ...]()
        for number, wire in reader.fields():
            if (number, wire) == (1, LIST):
                chunks = tuple(_chunks(reader))
            elif (number, wire) == (3, I64):
                rows = reader.integer()
            else:
                reader.skip(wire)
        read_nbytes += sum(chunk.nbytes for chunk in chunks)
        if rows < 0 or read_nbytes > file_nbytes:
            raise malformed("its columns take more bytes than the file has")
        if any(not 0 <= chunk.offset <= chunk.offset + chunk.nbytes <= file_nbytes for chunk in chunks):
            raise FormatError("a column lies outside of the file", kind="span-out-of-file", hint="copy the file again")
        yield Group(rows, chunks)


def _chunks(reader: CompactReader) -> Iterator[Chunk]:
    kind, count = reader.items()
    if kind != STRUCT:
        raise malformed("the columns of a group are no list of structures")
    for _ in range(count):
        found = Chunk(0, 0)
        for number, wire in reader.fields():
            if (number, wire) == (3, STRUCT):
                found = _chunk(reader)
            else:
                reader.skip(wire)
        yield found


def _chunk(reader: CompactReader) -> Chunk:
    """Return where a column lies, from its dictionary on where it has one."""
    found: dict[int, int] = {}
    for number, wire in reader.fields():
        if wire == I64 and number in (7, 9, 11):
            found[number] = reader.integer()
        else:
            reader.skip(wire)
    nbytes = found.get(7, 0)
    if nbytes < 0:
        raise malformed("a column has less than no bytes")
    dictionary, data = found.get(11, 0), found.get(9, 0)
    return Chunk(min(dictionary, data) if dictionary else data, nbytes)
