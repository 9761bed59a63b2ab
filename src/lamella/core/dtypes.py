"""The element types a tensor may have, under the one name that manifests and reports use."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from lamella.core.errors import FormatError


@dataclass(frozen=True, slots=True)
class DType:
    """An element type.

    `name` is written to manifests and never changes. `bits` is the size of one element, less than 8 for packed ones.
    `item_nbytes` is the width in bytes at which the codec splits the tensor into planes: the element's own width, or
    1 where elements share bytes.

    Where `block_elements` is not 1, the dtype is quantised by blocks: so many neighbours on the last axis share scales,
    and `bits`, whole bytes, is the size of their block. A block is never divided; what is said of elements elsewhere,
    of their strides and boxes, then holds for blocks.
    """

    name: str
    bits: int
    item_nbytes: int
    block_elements: int = 1

    def grid(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return `shape` counted in blocks: itself, or with its last extent divided, rounded up."""
        return (*shape[:-1], -(-shape[-1] // self.block_elements)) if shape else ()

    def nbytes(self, shape: tuple[int, ...]) -> int:
        """Return the bytes that a tensor of `shape` takes, rounded up to whole bytes, or blocks."""
        units = prod(shape if self.block_elements == 1 else self.grid(shape))
        return (units * self.bits + 7) // 8


_ALL = (
    DType("bool", 8, 1),
    DType("u8", 8, 1),
    DType("i8", 8, 1),
    DType("u16", 16, 2),
    DType("i16", 16, 2),
    DType("u32", 32, 4),
    DType("i32", 32, 4),
    DType("u64", 64, 8),
    DType("i64", 64, 8),
    DType("f4_e2m1", 4, 1),
    DType("f6_e2m3", 6, 1),
    DType("f6_e3m2", 6, 1),
    DType("f8_e4m3", 8, 1),
    DType("f8_e5m2", 8, 1),
    DType("f8_e8m0", 8, 1),
    DType("f8_e4m3fnuz", 8, 1),
    DType("f8_e5m2fnuz", 8, 1),
    DType("f16", 16, 2),
    DType("bf16", 16, 2),
    DType("f32", 32, 4),
    DType("f64", 64, 8),
    DType("c64", 64, 4),
    DType("c128", 128, 8),
    DType("u4", 4, 1),
    DType("i4", 4, 1),
    DType("u2", 2, 1),
    DType("i2", 2, 1),
)

_BLOCKS = (
    DType("q4_0", 8 * 18, 1, 32),
    DType("q4_1", 8 * 20, 1, 32),
    DType("q5_0", 8 * 22, 1, 32),
    DType("q5_1", 8 * 24, 1, 32),
    DType("q8_0", 8 * 34, 1, 32),
    DType("q8_1", 8 * 40, 1, 32),
    DType("q2_k", 8 * 84, 1, 256),
    DType("q3_k", 8 * 110, 1, 256),
    DType("q4_k", 8 * 144, 1, 256),
    DType("q5_k", 8 * 176, 1, 256),
    DType("q6_k", 8 * 210, 1, 256),
    DType("q8_k", 8 * 292, 1, 256),
    DType("iq2_xxs", 8 * 66, 1, 256),
    DType("iq2_xs", 8 * 74, 1, 256),
    DType("iq3_xxs", 8 * 98, 1, 256),
    DType("iq1_s", 8 * 50, 1, 256),
    DType("iq4_nl", 8 * 18, 1, 32),
    DType("iq3_s", 8 * 110, 1, 256),
    DType("iq2_s", 8 * 82, 1, 256),
    DType("iq4_xs", 8 * 136, 1, 256),
    DType("iq1_m", 8 * 56, 1, 256),
    DType("tq1_0", 8 * 54, 1, 256),
    DType("tq2_0", 8 * 66, 1, 256),
    DType("mxfp4", 8 * 17, 1, 32),
    DType("nvfp4", 8 * 36, 1, 64),
    DType("q1_0", 8 * 18, 1, 128),
)
"""The quantised types of GGML, under its own names, with the sizes that its Python package `gguf` states."""

DTYPES: dict[str, DType] = {dtype.name: dtype for dtype in (*_ALL, *_BLOCKS)}


def dtype_named(name: str) -> DType:
    """Return the dtype called `name`; raise FormatError (dtype-unknown) where there is none."""
    try:
        return DTYPES[name]
    except KeyError:
        raise FormatError(
            f"dtype {name[:40]!r} is not known to this version",
            kind="dtype-unknown",
            hint="upgrade lamella if the file was made by a newer framework",
        ) from None
