"""Between stored bytes and NumPy arrays; NumPy is imported when the first array is made."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES, DType
from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy

_NUMPY_NAMES = {
    "bool": "bool", "u8": "uint8", "i8": "int8", "u16": "uint16", "i16": "int16", "u32": "uint32", "i32": "int32",
    "u64": "uint64", "i64": "int64", "f16": "float16", "f32": "float32", "f64": "float64", "c64": "complex64",
    "c128": "complex128",
}  # fmt: skip
_ML_NAMES = {
    "bf16": "bfloat16", "f8_e4m3": "float8_e4m3fn", "f8_e5m2": "float8_e5m2", "f8_e8m0": "float8_e8m0fnu",
    "f8_e4m3fnuz": "float8_e4m3fnuz", "f8_e5m2fnuz": "float8_e5m2fnuz",
}  # fmt: skip


def is_array(dtype: DType) -> bool:
    """Say whether there are NumPy arrays of a dtype."""
    return dtype.name in _NUMPY_NAMES or dtype.name in _ML_NAMES


def numpy_dtype(name: str) -> numpy.dtype[Any]:
    """Return the little-endian NumPy dtype of a dtype's name.

    Raises UsageError (dtype-unsupported) for a dtype that NumPy and ml_dtypes have no array of, such as packed nibbles.
    """
    import numpy

    if name in _NUMPY_NAMES:
        return numpy.dtype(_NUMPY_NAMES[name]).newbyteorder("<")
    if name in _ML_NAMES:
        import ml_dtypes

        found: numpy.dtype[Any] = numpy.dtype(getattr(ml_dtypes, _ML_NAMES[name]))
        return found.newbyteorder("<")
    raise UsageError(
        f"dtype {name} has no NumPy array", kind="dtype-unsupported", hint="read the tensor's bytes with `read` instead"
    )


def array_dtypes() -> dict[str, numpy.dtype[Any]]:
    """Return every dtype that has arrays, under its name here."""
    return {known: numpy_dtype(known) for known in (*_NUMPY_NAMES, *_ML_NAMES)}


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
