"""The rows of a file of lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_COLUMNS
from lamella.formats.base import RandomAccess
from lamella.formats.data.lines import SAMPLE_NBYTES, first_text, lines

_TYPES = {str: "text", bool: "boolean", int: "integer", float: "number", list: "list", dict: "object", type(None): ""}
_MOST_SIGNATURES, _LONGEST_SIGNATURE = 1000, 1000
"""Different rows, by their keys and types, of which is remembered that they were seen; and their keys."""

_Known = tuple[str, Callable[[dict[str, Any]], Any] | None]
"""Of an object with certain keys and types: the keys in one order, and what takes the values, None where some nest."""

_LABELS = (str, bool, int, float)


class JsonRows:
    """The lines, each a value whose keys may stand in any order; blank lines are no rows."""

    def __init__(self, file: RandomAccess) -> None:
        self._file = file
        self._types: dict[str, set[str]] = {}
        self._signatures: dict[tuple[object, ...], _Known] = {}
        self._encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

    @staticmethod
    def is_short(file: RandomAccess) -> bool:
        """Say whether a file is nothing, or a single line that may be a row."""
        if file.nbytes > SAMPLE_NBYTES:
            return False
        text = first_text(bytes(file.read_at(0, file.nbytes)), file.nbytes)
        return text is not None and (not text.strip() or text[:1] in "{[")

    has_columns = False

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of the first row, none where it is a list."""
        line = next((line for line in lines(self._file) if line.strip()), "")
        try:
            first = json.loads(line)
        except (ValueError, RecursionError):
            return ()
        return tuple(first) if isinstance(first, dict) else ()

    def read(self, columns: Sequence[str] | None, label: str | None) -> Iterator[tuple[bytes, str | None]]:
        """Yield each row, all of it, since every one has its own keys. See `Rows.read`."""
        assert columns is None
        for number, line in enumerate(lines(self._file), start=1):
            if not line or line.isspace():
                continue
            found = None
            try:
                row: Any = json.loads(line)
                if isinstance(row, dict):
                    text = self._text(row)
                    found = row.get(label) if label is not None else None
                else:
                    text = self._encode(row)
            except (ValueError, RecursionError) as exc:
                raise FormatError(
                    f"line {number} is no row of JSON", kind="rows-malformed", hint="compare such files as bytes"
                ) from exc
            yield text.encode(), str(found) if isinstance(found, _LABELS) else None

    def _text(self, row: dict[str, Any]) -> str:
        """Return what is the same for the same object, and remember the types of its values.

        Of an object that holds no others it is the sorted keys and the values in their order, as Python writes them,
        which takes half the time; no JSON begins as that does.
        """
        signature = (*row, *map(type, row.values()))
        known = self._signatures.get(signature)
        if known is None:
            known = self._see(row)
            if len(self._signatures) < _MOST_SIGNATURES and len(row) <= _LONGEST_SIGNATURE:
                self._signatures[signature] = known
        keys, pick = known
        return self._encode(row) if pick is None else f"{keys}{pick(row)!r}"

    def _see(self, row: dict[str, Any]) -> _Known:
        for key, value in row.items():
            if key in self._types or len(self._types) < MAX_COLUMNS:
                self._types.setdefault(key, set()).add(_TYPES[type(value)])
        is_flat = bool(row) and not any(isinstance(value, (dict, list)) for value in row.values())
        keys = sorted(row)
        return f"({keys!r}", itemgetter(*keys) if is_flat else None

    def types(self) -> dict[str, str]:
        """Return the type of each key that was seen, of several the one that has them all, or their names."""
        return {key: _common(seen - {""}) for key, seen in self._types.items()}


def _common(kinds: set[str]) -> str:
    return "number" if kinds == {"integer", "number"} else " or ".join(sorted(kinds))
