"""Tables of separated values: recognised as data, without tensors; RFC 4180 describes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from lamella.core.limits import MAX_METADATA_NBYTES
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.data.lines import SAMPLE_NBYTES, first_text, layout_without_tensors, sampled_text, windows

_DELIMITERS = ",\t;|"
_SAMPLED_RECORDS = 1000
_LEAST_FIELDS_OF_A_LONG_LINE = 32
"""A line that is not seen as a whole may begin a table where so many fields of it are seen."""


@dataclass(frozen=True, slots=True)
class Table:
    """What the first records of a table tell."""

    delimiter: str
    first: tuple[str, ...]
    is_named: bool


class CsvFormat:
    """Text whose records have as many fields each, two or more, and of which there are two or more.

    Fields are separated by commas, tabs, semicolons or bars, and quoted where they contain these, or line breaks.
    """

    name = "csv"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim text whose whole records are of one width, or whose first line is long and seems to be one."""
        text = first_text(head, nbytes)
        if text is not None and nbytes > len(head) and text.count("\n") < 2:
            return any(_begins_long_record(head[: head.rfind(one) + 1], one) for one in _DELIMITERS.encode())
        return _table(text, nbytes == len(head)) is not None

    def layout(self, file: RandomAccess) -> Layout:
        """Return a layout without tensors; that of an opaque file where records of the first MiB differ in width."""
        return layout_without_tensors(self.name, file, sound=sampled_table(file) is not None)

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the number of rows below the names of columns, and these names, or else their number."""
        table = sampled_table(file)
        if table is None:
            return {}
        names = ", ".join(table.first) if table.is_named else f"{len(table.first)} without names"
        return {"rows": str(_count_records(file) - table.is_named), "columns": names[:MAX_METADATA_NBYTES]}


def _begins_long_record(seen: bytes, delimiter: int) -> bool:
    return seen.count(delimiter) >= _LEAST_FIELDS_OF_A_LONG_LINE and first_text(seen, len(seen)) is not None


def sampled_table(file: RandomAccess) -> Table | None:
    """Return what the first MiB of a file tells of it, None where it is no table."""
    return _table(sampled_text(file), file.nbytes <= SAMPLE_NBYTES)


def _table(text: str | None, is_whole: bool) -> Table | None:
    """Return what a text is the beginning of, or the whole; None where it is no table."""
    if not text:
        return None
    for delimiter in _DELIMITERS:
        records = _records(text, delimiter, is_whole)
        width = len(records[0]) if records else 0
        if len(records) >= 2 and width >= 2 and all(len(record) == width for record in records):
            first = tuple(field.strip() for field in records[0])
            return Table(delimiter, first, _are_names(first))
    return None


def _records(text: str, delimiter: str, is_whole: bool) -> list[list[str]]:
    """Return the first records, none where the text is malformed; blank lines are passed over."""
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    records: list[list[str]] = []
    try:
        records.extend(islice(reader, _SAMPLED_RECORDS))
    except csv.Error:
        # The end of the text may lie within quotes, and only there.
        if is_whole or source.read(1):
            return []
    return [record for record in records if record]


def _are_names(fields: tuple[str, ...]) -> bool:
    return len(set(fields)) == len(fields) and not any(not field or _is_number(field) for field in fields)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _count_records(file: RandomAccess) -> int:
    """Return how many lines end outside of quotes, and one more where something stands behind the last."""
    count, is_quoted, last = 0, False, b"\n"
    for window in windows(file):
        outside = window.split(b'"')
        count += sum(part.count(b"\n") for part in outside[is_quoted::2])
        is_quoted ^= not len(outside) % 2
        last = window[-1:]
    return count + (last != b"\n")
