"""What a table is that is read row by row, and how one is told by its content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from lamella.core.errors import FormatError
from lamella.formats.base import RandomAccess
from lamella.formats.sniff import claimed_by

LABEL_NAMES = ("label", "labels", "target", "class", "y")
"""Columns that are labels by their name, the first of these that there is, in letters of either case."""


class Rows(Protocol):
    """A table that is read from front to back, in memory that its length does not change.

    Raises FormatError (rows-malformed) while it is read, at the first row that is none.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in their order; where every row has its own keys, those of the first."""
        ...

    @property
    def has_columns(self) -> bool:
        """Whether every row has the columns in `names`, and no others."""
        ...

    def read(self, columns: Sequence[str] | None, label: str | None) -> Iterator[tuple[bytes, str | None]]:
        """Yield each row as bytes that are the same for the same values, and its label, None where it has none.

        Of a row only `columns` are in the bytes, None for all of them. Rows of two tables are the same whatever the
        order of their columns, the quoting, the separators and the ends of lines.
        """
        ...

    def types(self) -> dict[str, str]:
        """Return the type of each column that was seen by `read`, in their order, "" where all is empty."""
        ...


def label_of(names: Sequence[str]) -> str | None:
    """Return the column that is called as labels are, None where there is none."""
    lowered = {name.lower(): name for name in reversed(names)}
    return next((lowered[name] for name in LABEL_NAMES if name in lowered), None)


def rows_of(file: RandomAccess, beside: RandomAccess | None = None) -> Rows | None:
    """Return the rows of a file of values or of lines of JSON, None where it is neither.

    A file with too little in it to be told, an empty one or one with nothing but names, is what `beside` is, the other
    version of it. Raises FormatError (rows-malformed) for a file that only begins as a table.
    """
    from lamella.formats.data.csv_rows import CsvRows
    from lamella.formats.data.csv_table import CsvFormat, sampled_table
    from lamella.formats.data.json_lines import JsonLinesFormat
    from lamella.formats.data.json_rows import JsonRows

    claimed = claimed_by(file)
    if isinstance(claimed, JsonLinesFormat):
        return JsonRows(file)
    if isinstance(claimed, CsvFormat):
        table = sampled_table(file)
        if table is None:
            reason = "its first records are not of one width, or not to be read"
            raise FormatError(reason, kind="rows-malformed", hint="see whether a quote is missing")
        return CsvRows(file, table)
    if claimed is not None or beside is None:
        return None
    model = rows_of(beside)
    if isinstance(model, CsvRows):
        return CsvRows.like(file, model)
    return JsonRows(file) if isinstance(model, JsonRows) and JsonRows.is_short(file) else None
