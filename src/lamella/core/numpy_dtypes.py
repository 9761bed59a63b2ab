"""The NumPy dtype of each element type; NumPy is imported when the first one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamella.core.dtypes import DType
from lamella.core.errors import UsageError

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
