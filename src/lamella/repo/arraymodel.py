"""Arrays in memory as a model that can go out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from lamella.core.buffers import Buffer
from lamella.core.errors import NotFoundError, UsageError
from lamella.core.ids import digest
from lamella.core.limits import IO_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.repo.arrays import spec_of
from lamella.repo.manifest import Manifest, Row


class ArrayModel:
    """A ModelSource of arrays, which are lent and not copied where they are contiguous.

    Raises UsageError (dtype-unsupported) for an array that is not of numbers.
    """

    format = "arrays"
    files = 0

    def __init__(self, arrays: Mapping[str, Any], label: str = "the arrays") -> None:
        self.label = label
        self._tensors: dict[str, tuple[TensorSpec, memoryview]] = {}
        for name, array in arrays.items():
            spec, contiguous = spec_of(name, array)
            data = contiguous.reshape(-1).view("u1").data if spec.nbytes else memoryview(b"")
            self._tensors[name] = spec, data

    @cached_property
    def model_id(self) -> str:
        """The id that the same weights have in any container."""
        rows = (Row(spec, digest(data)) for spec, data in self._tensors.values())
        return Manifest(self.format, None, tuple(rows)).model_id()

    def metadata(self) -> Mapping[str, str]:
        """Return nothing: arrays say nothing beside themselves."""
        return {}

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors in the order of the mapping."""
        return [spec for spec, _ in self._tensors.values()]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        """Return the bytes from `start` to `stop` of one tensor, without a copy."""
        if name not in self._tensors:
            raise NotFoundError(f"there is no array {name!r}", kind="tensor-unknown")
        return self._tensors[name][1][start:stop]

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces."""
        for name in names:
            data = memoryview(self.read(name))
            yield (data[start : start + IO_NBYTES] for start in range(0, len(data), IO_NBYTES))

    @property
    def data_files(self) -> Mapping[str, int]:
        """Nothing: there is no file."""
        return {}

    def file_pieces(self, data_file: str | None = None) -> Iterator[Buffer]:  # noqa: ARG002 -- there is none either
        """Raise UsageError (bad-argument): there is no file."""
        raise UsageError(f"{self.label} are in no file", kind="bad-argument")
