"""The element types a tensor may have, under the one name that manifests and reports use."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.errors import FormatError


@dataclass(frozen=True, slots=True)
class DType:
    """An element type.

    `name` is written to manifests and never changes. `bits` is the size of one element, 4 for packed nibbles.
    `item_nbytes` is the width in bytes at which the codec splits the tensor into planes: the element's own width, or
    1 where elements share bytes.
    """

    name: str
    bits: int
    item_nbytes: int

    def nbytes(self, shape: tuple[int, ...]) -> int:
        """Return the bytes that a tensor of `shape` takes, rounded up to whole bytes."""
        elements = 1
        for extent in shape:
            elements *= extent
        return (elements * self.bits + 7) // 8


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
)

DTYPES: dict[str, DType] = {dtype.name: dtype for dtype in _ALL}


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
