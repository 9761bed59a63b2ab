"""Where the tensors of a PyTorch file lie: views of storages, as spans and boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lamella.core.dtypes import DTYPES
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_TENSOR_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import row_major, strided
from lamella.formats.base import TensorSpan, TensorView
from lamella.formats.torch.pickle_values import Storage, Tensor, malformed

Locate = Callable[[Storage], tuple[int, int]]
"""Returns the first byte of a storage in the file and the byte behind its last."""

_DTYPES = {
    "float64": "f64",
    "double": "f64",
    "float32": "f32",
    "float": "f32",
    "float16": "f16",
    "half": "f16",
    "bfloat16": "bf16",
    "int64": "i64",
    "long": "i64",
    "int32": "i32",
    "int": "i32",
    "int16": "i16",
    "short": "i16",
    "int8": "i8",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "bool": "bool",
    "complex128": "c128",
    "cdouble": "c128",
    "complex64": "c64",
    "cfloat": "c64",
    "quint8": "u8",
    "qint8": "i8",
    "qint32": "i32",
    "float8_e4m3fn": "f8_e4m3",
    "float8_e4m3fnuz": "f8_e4m3fnuz",
    "float8_e5m2": "f8_e5m2",
    "float8_e5m2fnuz": "f8_e5m2fnuz",
    "float8_e8m0fnu": "f8_e8m0",
    "bits8": "u8",
    "bits16": "u16",
} | {f"{sign}int{bits}": f"{sign or 'i'}8" for sign in ("", "u") for bits in range(1, 8)}
"""The dtypes whose elements are whole bytes, by the names that torch has for them. Quantised elements are integers."""

_HALVES = {"complex32": "f16", "chalf": "f16"}
"""The dtypes of two elements of one that is known."""

_NIBBLES = {"float4_e2m1fn_x2": "f4_e2m1"}
"""The dtypes whose bytes are two elements each, which torch counts as one."""


def element_nbytes(dtype: str) -> int:
    """Return the bytes that an element of a torch dtype takes; packed ones are counted in bytes."""
    if dtype in _HALVES:
        return 4
    return DTYPES[_DTYPES[dtype]].bits // 8 if dtype in _DTYPES else 1


def place(tensors: Mapping[str, Tensor], locate: Locate, *, swapped: bool = False) -> Iterator[TensorSpan | TensorView]:
    """Yield where each tensor lies, in the order of their names' mapping; `swapped` says that items are big-endian.

    Raises FormatError: span-out-of-file for a tensor that leaves its storage; header-malformed.
    """
    for name, tensor in tensors.items():
        start, stop = locate(tensor.storage)
        dtype, shape, strides, nbytes = _elements(tensor)
        spec = TensorSpec(name, DTYPES[dtype], shape)
        if max(shape, default=0) > MAX_TENSOR_NBYTES or spec.nbytes > MAX_TENSOR_NBYTES:
            raise malformed("a shape holds more elements than a file can")
        if not spec.nbytes:
            yield TensorSpan(spec, start)
            continue
        offset = start + nbytes * (tensor.storage.offset + tensor.offset)
        extent = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)) + 1
        if offset + nbytes * extent > stop:
            raise FormatError(
                f"tensor {name[:80]!r} leaves its storage",
                kind="span-out-of-file",
                hint="the file was probably cut short; copy it again",
            )
        yield (
            TensorSpan(spec, offset) if dtype in _NIBBLES.values() else strided(spec, offset, strides, swapped=swapped)
        )


def _elements(tensor: Tensor) -> tuple[str, tuple[int, ...], tuple[int, ...], int]:
    """Return dtype, shape and strides of a tensor, strides in bytes, and the bytes of an element as torch counts."""
    nbytes = element_nbytes(tensor.dtype)
    steps = tuple(nbytes * step for step in tensor.strides)
    if tensor.dtype in _DTYPES:
        return _DTYPES[tensor.dtype], tensor.shape, steps, nbytes
    if tensor.dtype in _HALVES:
        return _HALVES[tensor.dtype], (*tensor.shape, 2), (*steps, nbytes // 2), nbytes
    packed = TensorSpec("", DTYPES["u8"], tensor.shape)
    if tensor.dtype in _NIBBLES and tensor.shape and row_major(packed) == tensor.strides:
        return _NIBBLES[tensor.dtype], (*tensor.shape[:-1], 2 * tensor.shape[-1]), steps, nbytes
    return "u8", tensor.shape, steps, nbytes
