"""Weights in memory, as a model that can be put beside another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from lamella.core.tensors import TensorSpec
from lamella.model.sketch import FLOATS, take_sketch
from lamella.repo.arrays import spec_of

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


class Weights:
    """An AlignmentSource of arrays."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._specs: dict[str, TensorSpec] = {}
        self._bytes: dict[str, bytes] = {}
        for name, array in arrays.items():
            spec, contiguous = spec_of(name, array)
            self._specs[name], self._bytes[name] = spec, contiguous.tobytes()

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors in the order of the mapping."""
        return list(self._specs.values())

    def contents(self) -> Sequence[bytes]:
        """Return the digests of their bytes."""
        return [blake3(data).digest() for data in self._bytes.values()]

    def sketches(self, names: Sequence[str]) -> Array:
        """Return their sketches, made anew."""
        import numpy

        made = numpy.zeros((len(names), FLOATS), numpy.float32)
        for row, name in enumerate(names):
            data = memoryview(self._bytes[name])
            made[row] = take_sketch(self._specs[name], lambda start, stop, data=data: data[start:stop])  # type: ignore[misc]
        return made

    def read(self, name: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes of one tensor."""
        return memoryview(self._bytes[name])[start:stop]
