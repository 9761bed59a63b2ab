"""The numbers of element types in TensorFlow, as `tensorflow/core/framework/types.proto` has them."""

from __future__ import annotations

from lamella.core.dtypes import DTYPES, DType

_TYPES = (
    *(None, "f32", "f64", "i32", "u8", "i16", "i8", None, "c64", "i64", "bool", "i8", "u8", "i32", "bf16", "i16"),
    *("u16", "u16", "c128", "f16", None, None, "u32", "u64", "f8_e5m2", "f8_e4m3", "f8_e4m3fnuz", None, "f8_e5m2fnuz"),
    *(None, None, None, None, None),
)
DTYPE_OF_TYPE: dict[int, DType | None] = {code: DTYPES[name] if name else None for code, name in enumerate(_TYPES)}
"""The dtypes of DataType as of TensorFlow 2.21, those of quantised integers as plain ones. None where elements are no
numbers (strings, resources, variants), for a float8 that only TensorFlow has, and for elements of less than 8 bits."""
