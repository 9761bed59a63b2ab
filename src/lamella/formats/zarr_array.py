"""A whole array of Zarr version 2: its dtype and shape, and the boxes of it that its chunks hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from lamella.core.dtypes import dtype_named
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_TENSOR_NBYTES, MAX_ZARR_CHUNKS
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import row_major
from lamella.formats.base import Box
from lamella.formats.zarr import malformed, numpy_dtype, read_description

ARRAY = ".zarray"

_ZEROS = ("None", "0", "0.0", "False")
"""Values of elements that nobody wrote, as Python prints them, that are bytes of zeros; TensorStore takes null so."""


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """An array in chunks of one shape, which at its edges are padded. `zeros` are what a chunk that is not there has.

    `chunk` is the tensor that a chunk is, in C order, compressed with zstd or not at all.
    """

    spec: TensorSpec
    chunk: TensorSpec
    separator: str
    compressed: bool
    swapped: bool
    zeros: bool

    @property
    def chunk_count(self) -> int:
        """How many chunks it has."""
        return prod(self._grid)

    @property
    def _grid(self) -> tuple[int, ...]:
        return tuple(-(-n // step) for n, step in zip(self.spec.shape, self.chunk.shape, strict=True))

    def chunks(self) -> Iterator[tuple[str, Box]]:
        """Yield the key of each chunk and what of the array it holds, as if all lay one behind the other."""
        strides = row_major(self.chunk)
        for number, indices in enumerate(product(*map(range, self._grid))):
            origin = tuple(index * step for index, step in zip(indices, self.chunk.shape, strict=True))
            shape = tuple(
                min(step, n - at) for at, n, step in zip(origin, self.spec.shape, self.chunk.shape, strict=True)
            )
            key = self.separator.join(map(str, indices)) or "0"
            yield key, Box(origin, shape, number * self.chunk.nbytes, strides)


def read_array(name: str, text: bytes) -> ZarrArray:
    """Return the array that its `.zarray` describes; raise FormatError (header-malformed, dtype-unknown).

    What would need anything but zstd to be read is refused, and so is Fortran order, in which rows lie all over a
    chunk. Layout: the Zarr version 2 specification, "Arrays".
    """
    held = read_description(text)
    shape, chunk = _sizes(held, "shape", 0), _sizes(held, "chunks", 1)
    if len(shape) != len(chunk):
        raise malformed("its chunks have other axes than it")
    code, swapped = numpy_dtype(held.get("dtype"))
    if code is None:
        raise FormatError(f"{name[:80]!r} has elements of a dtype that is not known", kind="dtype-unknown")
    if (held.get("order") != "C" and len(shape) > 1) or held.get("filters"):
        raise malformed("it is in Fortran order, or filtered, which is not read")
    separator = held.get("dimension_separator", ".")
    if separator not in (".", "/"):
        raise malformed("its chunks have names that are not known")
    dtype = dtype_named(code)
    made = ZarrArray(
        TensorSpec(name, dtype, shape),
        TensorSpec(name, dtype, chunk),
        separator,
        _is_compressed(held.get("compressor")),
        swapped,
        repr(held.get("fill_value")) in _ZEROS,
    )
    if max(made.spec.nbytes, made.chunk.nbytes) > MAX_TENSOR_NBYTES or made.chunk_count > MAX_ZARR_CHUNKS:
        raise malformed(f"it has {made.chunk_count} chunks", kind="header-too-large")
    return made


def _sizes(held: dict[str, Any], key: str, least: int) -> tuple[int, ...]:
    sizes = held.get(key)
    if not isinstance(sizes, list) or len(sizes) > MAX_DIMENSIONS:
        raise malformed(f"its {key} is none")
    if not all(type(n) is int and least <= n <= MAX_TENSOR_NBYTES for n in sizes):
        raise malformed(f"its {key} is not of sizes")
    return tuple(sizes)


def _is_compressed(compressor: object) -> bool:
    if compressor is None:
        return False
    if isinstance(compressor, dict) and compressor.get("id") == "zstd":
        return True
    raise malformed("it is compressed with something other than zstd, which is not read")
