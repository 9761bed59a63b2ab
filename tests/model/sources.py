"""A source of tensors in memory, that yields them in pieces of any length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.model.alignment import NAME, Pair

DTYPE_OF = {"f4": "f32", "f8": "f64", "f2": "f16", "i8": "i64", "i4": "i32", "u1": "u8", "c8": "c64", "c16": "c128"}


@dataclass
class MemorySource:
    """Tensors by name, each a spec and bytes; `read_names` are those that were streamed, once they ended."""

    tensors: dict[str, tuple[TensorSpec, bytes]]
    piece_nbytes: int = 1000
    read_names: list[str] = field(default_factory=list)

    def specs(self) -> Sequence[TensorSpec]:
        return [spec for spec, _ in self.tensors.values()]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        return self.tensors[name][1][start:stop]

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        for number, name in enumerate(names):
            assert len(self.read_names) % max(1, len(names)) == number, "a tensor was not gone through to its end"
            yield self._pieces(name)

    def _pieces(self, name: str) -> Iterator[Buffer]:
        data = self.tensors[name][1]
        for at in range(0, len(data), self.piece_nbytes):
            yield data[at : at + self.piece_nbytes]
        self.read_names.append(name)


def source(piece_nbytes: int = 1000, **arrays: np.ndarray) -> MemorySource:
    """Return arrays as a source; underscores in names stand for dots."""
    found = {}
    for given, array in arrays.items():
        name = given.replace("_", ".")
        dtype = DTYPES[DTYPE_OF.get(array.dtype.str[1:], array.dtype.name.replace("bfloat16", "bf16"))]
        found[name] = TensorSpec(name, dtype, array.shape), array.tobytes()
    return MemorySource(found, piece_nbytes)


def raw(dtype: str, shape: tuple[int, ...], data: bytes) -> MemorySource:
    """Return one tensor, `w`, of any dtype."""
    return MemorySource({"w": (TensorSpec("w", DTYPES[dtype], shape), data)})


def by_name(*names: str) -> list[Pair]:
    """Return pairs of tensors of the same names."""
    return [Pair(name, name, NAME, 1.0) for name in names]
