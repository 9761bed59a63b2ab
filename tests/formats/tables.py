"""A tiny writer of FlatBuffers, and TensorFlow Lite models made with it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TYPES = {
    "f32": 0, "f16": 1, "i32": 2, "u8": 3, "i64": 4, "bool": 6, "i16": 7, "c64": 8, "i8": 9, "f64": 10, "c128": 11,
    "u64": 12, "u32": 15, "u16": 16, "i4": 17, "bf16": 18, "i2": 19, "u4": 20,
}  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number of a field, of the type that `struct` calls `code`."""

    code: str
    value: int


@dataclass(frozen=True)
class Numbers:
    """A vector of numbers of 32 bits."""

    values: Sequence[int]


Value = Number | Numbers | bytes | str | list | Mapping
"""A number, a vector of numbers or of bytes, a string, a vector of tables, a table by its slots."""


def flatbuffer(table: Mapping[int, Value], identifier: bytes = b"TFL3") -> bytes:
    """Encode a table and all that it holds, each behind what points to it."""
    made = bytearray(4) + identifier
    made[:4] = struct.pack("<I", _table(made, table))
    return bytes(made)


def _table(made: bytearray, table: Mapping[int, Value]) -> int:
    slots, inline = [0] * (max(table, default=-1) + 1), bytearray(4)
    for slot, value in sorted(table.items()):
        code = value.code if isinstance(value, Number) else "I"
        inline += bytes(-len(inline) % struct.calcsize(code))
        slots[slot] = len(inline)
        inline += struct.pack(f"<{code}", value.value if isinstance(value, Number) else 0)
    made += bytes(-len(made) % 8)
    vtable = struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), len(inline), *slots)
    made += vtable + bytes(-len(vtable) % 8)
    at = len(made)
    made += inline
    made[at : at + 4] = struct.pack("<i", len(vtable) + -len(vtable) % 8)
    for slot, value in sorted(table.items()):
        if not isinstance(value, Number):
            _point(made, at + slots[slot], _place(made, value))
    return at


def _place(made: bytearray, value: Value) -> int:
    """Put a value behind everything; return where it lies."""
    if isinstance(value, Mapping):
        return _table(made, value)
    data = value.encode() + b"\0" if isinstance(value, str) else value
    made += bytes(-(len(made) + 4) % 16 if isinstance(data, bytes) else -len(made) % 4)
    at = len(made)
    if isinstance(data, bytes):
        made += struct.pack("<I", len(data) - isinstance(value, str)) + data
    elif isinstance(data, Numbers):
        made += struct.pack(f"<I{len(data.values)}i", len(data.values), *data.values)
    else:
        made += struct.pack("<I", len(data)) + bytes(4 * len(data))
        for index, one in enumerate(data):
            _point(made, at + 4 + 4 * index, _table(made, one))
    return at


def _point(made: bytearray, at: int, target: int) -> None:
    made[at : at + 4] = struct.pack("<I", target - at)


def tensor(name: str, dtype: str | int, shape: Sequence[int] | None, buffer: int, **extra: Value) -> dict[int, Value]:
    """A Tensor; `extra` are fields by their slot, as in `_6`."""
    code = TYPES[dtype] if isinstance(dtype, str) else dtype
    fields: dict[int, Value] = {1: Number("b", code), 2: Number("I", buffer), 3: name}
    if shape is not None:
        fields[0] = Numbers(shape)
    return fields | {int(slot[1:]): value for slot, value in extra.items()}


def model(
    graphs: Sequence[tuple[str, list]], buffers: Sequence[bytes | Mapping[int, Value]], **extra: Value
) -> dict[int, Value]:
    """A Model of subgraphs, each a name and its tensors; the first buffer is empty."""
    return {
        0: Number("I", 3),
        2: [{0: tensors, 1: Numbers([]), 4: name} for name, tensors in graphs],
        3: "by hand",
        4: [{}, *({0: data} if isinstance(data, bytes) else data for data in buffers)],
    } | {int(slot[1:]): value for slot, value in extra.items()}
