"""Parquet row by row, where PyArrow is installed: `ops.data_diff.compare_data` takes what is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from lamella.core.errors import FormatError, LamellaError
from lamella.formats.base import RandomAccess
from lamella.formats.data.rows import Rows
from lamella.integrations.framework import framework

_ROWS_AT_ONCE = 4096


def parquet_rows() -> Callable[[RandomAccess], Rows] | None:
    """Return what opens a Parquet file to be read row by row, None where PyArrow is not installed."""
    return None if find_spec("pyarrow") is None else ParquetRows


class ParquetRows:
    """The rows of a Parquet file; values are the same where Python writes them in the same way.

    A group of rows is decoded some thousand rows at a time; what PyArrow takes of memory is up to the pages in the
    file. Raises FormatError (rows-malformed) for a file that it cannot read.
    """

    has_columns = True

    def __init__(self, file: RandomAccess) -> None:
        parquet = framework("pyarrow.parquet")
        with _translated():
            source = framework("pyarrow").PythonFile(_Readable(file), mode="r")
            self._file = parquet.ParquetFile(source, pre_buffer=False)
            self._schema = self._file.schema_arrow

    @property
    def names(self) -> tuple[str, ...]:
        """The outermost columns, in their order."""
        return tuple(self._schema.names)

    def read(self, columns: Sequence[str] | None, label: str | None) -> Iterator[tuple[bytes, str | None]]:
        """Yield each row. See `Rows.read`."""
        chosen = sorted(self.names if columns is None else columns)
        wanted = sorted({*chosen, label} & set(self.names)) if label is not None else chosen
        with _translated():
            for batch in self._file.iter_batches(_ROWS_AT_ONCE, columns=wanted, use_threads=False):
                values = [batch.column(name).to_pylist() for name in chosen]
                rows = zip(*values, strict=True) if values else iter([()] * batch.num_rows)
                labels = batch.column(label).to_pylist() if label in wanted else [None] * batch.num_rows
                for row, found in zip(rows, labels, strict=True):
                    text = repr(row).encode("utf-8", "surrogateescape")
                    yield text, None if found is None or isinstance(found, (list, dict)) else str(found)

    def types(self) -> dict[str, str]:
        """Return the type of each column, as Arrow calls it."""
        return {field.name: str(field.type) for field in self._schema}


class _Readable:
    """A file as Python has them, for PyArrow."""

    closed = False

    def __init__(self, file: RandomAccess) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._file.nbytes)[whence]
        return self._at

    def read(self, nbytes: int = -1) -> bytes:
        rest = max(0, self._file.nbytes - self._at)
        nbytes = rest if nbytes < 0 else min(nbytes, rest)
        data = bytes(self._file.read_at(self._at, nbytes))
        self._at += nbytes
        return data

    def close(self) -> None:
        """Leave the file open: it is its owner's."""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn PyArrow's errors into ours."""
    try:
        yield
    except (framework("pyarrow").ArrowException, OSError, ValueError, OverflowError, KeyError) as exc:
        if isinstance(exc, LamellaError):
            raise
        reason = str(exc).partition("\n")[0][:200]
        hint = "write the file again with its framework"
        raise FormatError(f"PyArrow cannot read it: {reason}", kind="rows-malformed", hint=hint) from exc
