"""Zarr arrays that are not compressed: each chunk is a file of plain elements, and `.zarray` beside it says of what."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

from lamella.core.dtypes import dtype_named
from lamella.core.errors import FormatError
from lamella.core.limits import KIB, MAX_DIMENSIONS, MAX_TENSOR_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import arrange, row_major, strided
from lamella.formats.base import Beside, Layout, RandomAccess

MAX_ZARRAY_NBYTES = 64 * KIB
"""Such a file takes some hundred bytes, and more only where elements have named fields."""

_DTYPE = re.compile(r"([<>|])([biufc][0-9]{1,2})")
_NUMPY = {"b1": "bool", "c8": "c64", "c16": "c128"}
_NUMPY |= {f"{kind}{n}": f"{kind}{8 * n}" for kind in "iu" for n in (1, 2, 4, 8)}
_NUMPY |= {f"f{n}": f"f{8 * n}" for n in (2, 4, 8)}
_NAMED = {"bfloat16": "bf16", "float8_e4m3fn": "f8_e4m3", "float8_e5m2": "f8_e5m2"}
"""The dtypes of NumPy by their codes, and those by name that TensorStore adds."""


class ZarrFormat:
    """The chunks of an array of Zarr version 2 that has neither compressor nor filters.

    A chunk is a tensor of the chunk's shape, padding included, and has its file's name: `0.3`.
    """

    name = "zarr"

    def layout(self, file: RandomAccess, beside: Beside) -> Layout | None:
        """Return a chunk as a tensor, None where no `.zarray` stands beside it or the array is compressed."""
        indices = beside.name.split(".")
        if not all(index.isascii() and index.isdecimal() for index in indices):
            return None
        description = beside.neighbours.open(".zarray")
        held = None if description is None else _read(description)
        if held is None or held.get("compressor") is not None or held.get("filters"):
            return None
        shape = _chunk_shape(held, len(indices))
        name, swapped = numpy_dtype(held.get("dtype"))
        if name is None:
            return None
        spec = TensorSpec(beside.name, dtype_named(name), shape)
        if spec.nbytes != file.nbytes:
            raise malformed(f"a chunk takes {spec.nbytes} bytes, and this file has {file.nbytes}")
        strides = row_major(spec)
        if held.get("order") == "F":
            strides = tuple(accumulate(shape[:-1], mul, initial=spec.dtype.bits // 8)) if shape else ()
        return arrange(self.name, file.nbytes, [strided(spec, 0, strides, swapped=swapped)])


def _read(description: RandomAccess) -> dict[str, Any]:
    if description.nbytes > MAX_ZARRAY_NBYTES:
        raise malformed(f"it has {description.nbytes} bytes", kind="header-too-large")
    return read_description(bytes(description.read_at(0, description.nbytes)))


def read_description(text: bytes) -> dict[str, Any]:
    """Return what a `.zarray` says; raise FormatError (header-malformed) where it is none of version 2."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise malformed("it is not JSON") from exc
    if not isinstance(held, dict) or held.get("zarr_format") != 2:
        raise malformed("it describes no array of version 2")
    return held


def _chunk_shape(held: dict[str, Any], dimensions: int) -> tuple[int, ...]:
    """Return the shape of a chunk whose name has so many numbers; that of a scalar is `0`."""
    chunks = held.get("chunks")
    if not isinstance(chunks, list) or not all(type(n) is int and n > 0 for n in chunks):
        raise malformed("its chunks have no shape")
    if max(1, len(chunks)) != dimensions or len(chunks) > MAX_DIMENSIONS or prod(chunks) > MAX_TENSOR_NBYTES:
        raise malformed(f"its chunks have {len(chunks)} axes, and the file's name has {dimensions}")
    return tuple(chunks)


def numpy_dtype(code: object) -> tuple[str | None, bool]:
    """Return our name of a dtype, None where it has none, and whether its most significant byte comes first."""
    if isinstance(code, str):
        if match := _DTYPE.fullmatch(code):
            return _NUMPY.get(match[2]), match[1] == ">"
        return _NAMED.get(code), False
    return None, False


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a `.zarray` for which `reason` holds."""
    return FormatError(f".zarray is malformed: {reason}", kind=kind, hint="write the array again")
