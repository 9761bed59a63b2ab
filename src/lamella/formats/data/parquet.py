"""Parquet, a table by columns: recognised as data, without tensors; the footer says how many rows there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_METADATA_NBYTES, MIB
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.data.thrift_compact import BINARY, I32, I64, LIST, STRUCT, CompactReader, malformed

_MAGIC = b"PAR1"
_LEAST_NBYTES = 12
"""Magic, length of the footer, magic."""

_MAX_FOOTER_NBYTES = 2 * MIB
"""What is read of a footer. Schema and number of rows come first; what is said of each piece of data comes behind."""

_SCHEMA, _ROWS = 2, 3
_NAME, _CHILDREN = 4, 5
"""Numbers of fields of FileMetaData and SchemaElement."""


@dataclass(frozen=True, slots=True)
class _Footer:
    rows: int
    columns: str


class ParquetFormat:
    """Files whose footer is not encrypted, as https://github.com/apache/parquet-format describes them."""

    name = "parquet"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files that begin with the magic."""
        return nbytes >= _LEAST_NBYTES and head[: len(_MAGIC)] == _MAGIC

    def layout(self, file: RandomAccess) -> Layout:
        """Return a layout without tensors; raise FormatError where the footer does not say what a footer says."""
        _read_footer(file)
        return Layout(self.name, file.nbytes, ())

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the number of rows, and the names of the columns."""
        footer = _read_footer(file)
        return {"rows": str(footer.rows), "columns": footer.columns}


def footer_text(file: RandomAccess, limit_nbytes: int) -> bytes:
    """Return the first bytes of the footer, at most so many; raise FormatError where there is none."""
    if file.nbytes < _LEAST_NBYTES or bytes(file.read_at(0, len(_MAGIC))) != _MAGIC:
        raise malformed("it does not begin with PAR1")
    last = bytes(file.read_at(file.nbytes - 8, 8))
    nbytes = int.from_bytes(last[:4], "little")
    if last[4:] != _MAGIC or nbytes > file.nbytes - _LEAST_NBYTES:
        raise FormatError(
            "the footer is not where it should be",
            kind="file-truncated",
            hint="the file was probably cut short; copy it again",
        )
    return bytes(file.read_at(file.nbytes - 8 - nbytes, min(nbytes, limit_nbytes)))


def _read_footer(file: RandomAccess) -> _Footer:
    reader = CompactReader(footer_text(file, _MAX_FOOTER_NBYTES))
    rows, columns = None, None
    for number, kind in reader.fields():
        if (number, kind) == (_SCHEMA, LIST):
            columns = _read_columns(reader)
        elif (number, kind) == (_ROWS, I64):
            rows = reader.integer()
        else:
            reader.skip(kind)
        if rows is not None and columns is not None:
            return _Footer(rows, columns)
    raise malformed("the footer has no schema, or no number of rows")


def _read_columns(reader: CompactReader) -> str:
    """Return the names of the columns, less what is nested in them: the schema lists a tree, depth first."""
    kind, count = reader.items()
    if kind != STRUCT:
        raise malformed("the schema is no list of elements")
    names: list[str] = []
    shown_nbytes = 0
    missing: list[int] = []
    for _ in range(count):
        name, children = _read_element(reader)
        if len(missing) == 1 and shown_nbytes < MAX_METADATA_NBYTES:
            names.append(name)
            shown_nbytes += len(name) + 2
        if missing:
            missing[-1] -= 1
        missing.append(children)
        while missing and not missing[-1]:
            missing.pop()
    return ", ".join(names)[:MAX_METADATA_NBYTES]


def _read_element(reader: CompactReader) -> tuple[str, int]:
    """Return the name of an element of the schema, and how many of the following ones are its children."""
    name, children = "", 0
    for number, kind in reader.fields():
        if (number, kind) == (_NAME, BINARY):
            name = reader.binary().decode(errors="replace")
        elif (number, kind) == (_CHILDREN, I32):
            children = max(0, reader.integer())
        else:
            reader.skip(kind)
    return name, children
