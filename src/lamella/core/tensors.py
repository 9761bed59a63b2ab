"""What a tensor is, and the protocol of everything that lists and reads tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DType


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor without its bytes. `shape` is outermost first, as NumPy and PyTorch print it; () is a scalar."""

    name: str
    dtype: DType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The number of bytes the tensor's elements take."""
        return self.dtype.nbytes(self.shape)

    @property
    def grid(self) -> tuple[int, ...]:
        """The shape counted in blocks of the dtype, which for most are single elements."""
        return self.dtype.grid(self.shape)


class TensorSource(Protocol):
    """Something that lists and reads tensors: a file, a revision, a mapping of arrays.

    Sources are read-only and may be read from several threads at once. Elements are in row-major order, little-endian.
    """

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors in file order, each name once."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        """Return the bytes from `start` to `stop` of one tensor.

        Raises NotFoundError (tensor-unknown) for a name not listed and IntegrityError where the bytes kept are not
        the bytes stored.
        """
        ...
