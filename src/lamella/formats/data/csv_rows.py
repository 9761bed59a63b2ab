"""The rows of a table of separated values."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_COLUMNS, MAX_ROW_NBYTES
from lamella.formats.base import RandomAccess
from lamella.formats.data.csv_table import Table
from lamella.formats.data.lines import lines, sampled_text, too_long

_TYPED_ROWS = 10_000
"""Rows from whose fields the types of columns are told."""

_SEPARATOR, _ODD = "\x1f", "\x1e"
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}", re.ASCII)
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,9})?|[+-]?inf|nan", re.ASCII
)
_TRUTH = frozenset(("true", "false", "True", "False", "TRUE", "FALSE"))


class CsvRows:
    """The records below the names of columns; columns without names have their numbers, from 1 on.

    Blank lines are no rows. A record of another length than the first is a row that equals only its like.
    """

    def __init__(self, file: RandomAccess, table: Table) -> None:
        self._file = file
        self.table = table
        width = len(table.first)
        self._names = table.first if table.is_named else tuple(str(number + 1) for number in range(width))
        if width > MAX_COLUMNS:
            raise FormatError(f"the table has more than {MAX_COLUMNS:,} columns", kind="rows-malformed")
        self._types: list[set[str]] = [set() for _ in self._names]
        self._pending = 0

    @classmethod
    def like(cls, file: RandomAccess, model: CsvRows) -> CsvRows | None:
        """Return a table too short to be told for one, of which `model` is another version; None where it is none."""
        text = sampled_text(file)
        if text is None:
            return None
        try:
            first = next(csv.reader(text.splitlines(keepends=True)[:1], delimiter=model.table.delimiter), [])
        except csv.Error:
            return None
        names = tuple(field.strip() for field in first)
        if names and len(names) != len(model.table.first):
            return None
        return cls(file, replace(model.table, is_named=model.table.is_named and names in ((), model.table.first)))

    has_columns = True

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in their order."""
        return self._names

    def read(self, columns: Sequence[str] | None, label: str | None) -> Iterator[tuple[bytes, str | None]]:
        """Yield each row. See `Rows.read`."""
        chosen = [self._names.index(name) for name in sorted(self._names if columns is None else columns)]
        pick = (
            itemgetter(*chosen) if len(chosen) > 1 else itemgetter(slice(chosen[0], chosen[0] + 1)) if chosen else tuple
        )
        at = self._names.index(label) if label in self._names else None
        width, separators = len(self._names), max(0, len(chosen) - 1)
        for number, record in enumerate(self._records()):
            if len(record) != width:
                yield (_ODD + json.dumps(record)).encode(), None
                continue
            if number < _TYPED_ROWS:
                for seen, field in zip(self._types, record, strict=True):
                    seen.add(_type(field))
            text = _SEPARATOR.join(pick(record)) if chosen else ""
            if text.count(_SEPARATOR) != separators or text[:1] == _ODD:
                text = _ODD + json.dumps(pick(record))
            yield text.encode("utf-8", "surrogateescape"), None if at is None else record[at]

    def _records(self) -> Iterator[list[str]]:
        reader = csv.reader(self._lines(), delimiter=self.table.delimiter)
        is_name = self.table.is_named
        try:
            for record in reader:
                self._pending = 0
                if is_name:
                    is_name = not record
                elif record:
                    yield record
        except csv.Error as exc:
            raise FormatError(
                f"line {reader.line_num} cannot be read: {exc}",
                kind="rows-malformed",
                hint="see whether a quote is missing",
            ) from exc

    def _lines(self) -> Iterator[str]:
        """Yield the lines, unless more of them make one record than a row may take."""
        for line in lines(self._file):
            self._pending += len(line)
            if self._pending > MAX_ROW_NBYTES:
                raise too_long()
            yield line + "\n"

    def types(self) -> dict[str, str]:
        """Return the type of each column, told from the first rows."""
        return {name: _common(seen) for name, seen in zip(self._names, self._types, strict=True)}


def _type(field: str) -> str:
    field = field.strip()
    if not field:
        return ""
    if _INTEGER.fullmatch(field):
        return "integer"
    if _NUMBER.fullmatch(field.lower()):
        return "number"
    return "boolean" if field in _TRUTH else "text"


def _common(seen: set[str]) -> str:
    """Return the one type that fields of these types have together."""
    kinds = seen - {""}
    if len(kinds) < 2:
        return next(iter(kinds), "")
    return "number" if kinds == {"integer", "number"} else "text"
