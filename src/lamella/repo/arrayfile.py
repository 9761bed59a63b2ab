"""Arrays as the safetensors file that they would make, which is never written as a whole."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError, UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.safetensors.header import METADATA, build_header
from lamella.formats.safetensors.reader import SafetensorsFormat
from lamella.repo.arrays import spec_of


class ArrayFile:
    """A safetensors file that was never written: a header, and arrays whose bytes are lent as they are asked for.

    Raises UsageError for what no reader of the format could load: dtype-unsupported for an array, bad-argument for
    names and metadata that are no text, or longer, or more, than the format can hold.
    """

    def __init__(self, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
        _check_texts(arrays, metadata or {})
        found: list[tuple[TensorSpec, Any]] = [spec_of(name, array) for name, array in arrays.items()]
        # The reference library sorts so too: widest elements first keeps every tensor aligned.
        found.sort(key=lambda item: (-item[0].dtype.item_nbytes, item[0].name))
        header = build_header([spec for spec, _ in found], metadata)
        self._pieces = [memoryview(header)]
        self._starts = [0]
        self._nbytes = len(header)
        for spec, array in found:
            self._pieces.append(memoryview(array.reshape(-1).view("u1")) if spec.nbytes else memoryview(b""))
            self._starts.append(self._nbytes)
            self._nbytes += spec.nbytes
        try:
            SafetensorsFormat().layout(self)
        except FormatError as error:
            hint = "a name is one line of text"
            raise UsageError(f"nobody could load the file: {error.message}", kind="bad-argument", hint=hint) from error

    @property
    def nbytes(self) -> int:
        """The length that the file would have."""
        return self._nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes, a view where they lie in one array."""
        stop = offset + nbytes
        number = bisect_right(self._starts, offset) - 1
        parts = []
        while number < len(self._pieces) and self._starts[number] < stop:
            start = self._starts[number]
            parts.append(self._pieces[number][max(0, offset - start) : stop - start])
            number += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _check_texts(names: Iterable[Any], metadata: Mapping[Any, Any]) -> None:
    """Refuse what JSON would take and turn into something else."""
    for name in names:
        if not isinstance(name, str) or name == METADATA:
            raise UsageError(f"{name!r} cannot name an array", kind="bad-argument", hint="take another name")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            hint = "write numbers as `str(number)`"
            raise UsageError(f"metadata {key!r}: {value!r} is not text", kind="bad-argument", hint=hint)
