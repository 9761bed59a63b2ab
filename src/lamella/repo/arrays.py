"""Between stored bytes and NumPy arrays; NumPy is imported when the first array is made."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES
from lamella.core.errors import UsageError
from lamella.core.numpy_dtypes import array_dtypes, numpy_dtype
from lamella.core.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy


@functools.cache
def _names_of_dtypes() -> dict[numpy.dtype[Any], str]:
    return {dtype: known for known, dtype in array_dtypes().items()}


def to_array(spec: TensorSpec, data: Buffer) -> numpy.ndarray[Any, Any]:
    """Return the tensor as an array of its shape that shares `data`."""
    import numpy

    return numpy.frombuffer(data, dtype=numpy_dtype(spec.dtype.name)).reshape(spec.shape)


def spec_of(name: str, array: Any) -> tuple[TensorSpec, numpy.ndarray[Any, Any]]:
    """Return an array's spec and the array itself, C-contiguous and little-endian, without a copy where it is so."""
    import numpy

    array = numpy.asarray(array)
    known = _names_of_dtypes().get(array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype)
    if known is None:
        raise UsageError(
            f"array {name!r} has dtype {array.dtype}, which cannot be stored",
            kind="dtype-unsupported",
            hint="convert it to a numeric dtype first",
        )
    shape = tuple(int(extent) for extent in array.shape)
    contiguous = numpy.ascontiguousarray(array, dtype=numpy_dtype(known)).reshape(shape)
    return TensorSpec(name, DTYPES[known], shape), contiguous
